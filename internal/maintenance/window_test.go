package maintenance_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/maintenance"
)

// newWindow returns a valid window, with changes.
func newWindow(service string, change ...func(*maintenance.Window)) maintenance.Window {
	c := maintenance.Window{Service: service, Since: time.Unix(1e9, 0).UTC(), RetryAfter: maintenance.Duration(time.Minute)}
	for _, f := range change {
		f(&c)
	}
	return c
}

func TestOnlyAllowedClientsPass(t *testing.T) {
	allow, err := maintenance.ParseAllowed([]string{"192.0.2.7", "10.1.2.3/8", "2001:db8::/32", "::ffff:198.51.100.0/120", "::ffff:203.0.113.9"})
	if err != nil {
		t.Fatal(err)
	}
	c := newWindow("api:80", func(c *maintenance.Window) { c.Allow = allow })
	for client, want := range map[string]bool{
		"192.0.2.7": true, "192.0.2.8": false, "10.255.0.1": true, "11.0.0.1": false,
		"::ffff:10.0.0.1": true, "2001:db8::1": true, "2001:db8::1%eth0": true, "2001:db9::1": false,
		"198.51.100.77": true, "203.0.113.9": true, "203.0.113.8": false,
	} {
		if got := c.Allows(netip.MustParseAddr(client)); got != want {
			t.Errorf("%s passes: %t, want %t", client, got, want)
		}
	}
	everybody := newWindow("api:80", func(c *maintenance.Window) {
		c.Allow = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	})
	if c.Allows(netip.Addr{}) || everybody.Allows(netip.Addr{}) {
		t.Error("a client without an address passes")
	}
}

func TestParseAllowedRejectsInvalidAddresses(t *testing.T) {
	for _, text := range []string{"", "everyone", "10.0.0.0/33", "10.0.0", "10.0.0.1/8/8", "fe80::1%eth0/64"} {
		if got, err := maintenance.ParseAllowed([]string{"10.0.0.1", text}); err == nil || !strings.Contains(err.Error(), "want an address or a range") {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
}

func TestCheckRejectsInvalidWindows(t *testing.T) {
	for want, change := range map[string]func(*maintenance.Window){
		"":                         func(c *maintenance.Window) { c.Message = "Back at noon.\n\tTruly – ☕" },
		"names no service":         func(c *maintenance.Window) { c.Service = "" },
		"from 1s to 720h":          func(c *maintenance.Window) { c.RetryAfter = 0 },
		"retry_after 721h0m0s":     func(c *maintenance.Window) { c.RetryAfter = maintenance.Duration(721 * time.Hour) },
		"more than 1000 chara":     func(c *maintenance.Window) { c.Message = strings.Repeat("ü", 1001) },
		"not UTF-8":                func(c *maintenance.Window) { c.Message = "\xff" },
		`control character '\x1b'`: func(c *maintenance.Window) { c.Message = "\x1b[31m" },
		"at most 100 are allowed":  func(c *maintenance.Window) { c.Allow = make([]netip.Prefix, 101) },
		"allow: an empty range":    func(c *maintenance.Window) { c.Allow = make([]netip.Prefix, 1) },
	} {
		c := newWindow("api:80", change)
		if err := c.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestErrorCarriesTheOperatorsMessage(t *testing.T) {
	c := newWindow("api:80", func(c *maintenance.Window) { c.Message = "Back at noon." })
	r := c.Err()
	if r.Error() != "api:80: in maintenance" || r.Message != "Back at noon." || r.RetryAfter != time.Minute {
		t.Errorf("%+v", r)
	}
}
