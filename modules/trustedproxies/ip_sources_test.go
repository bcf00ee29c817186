package trustedproxies_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/modules/trustedproxies"
)

// startServer runs a server that responds to each request with the client's address. It accepts PROXY headers from loopback, so
// that a test can send requests from any address.
func startServer(t *testing.T, trusted string) (addr string) {
	t.Helper()
	addr = testport.Address(t)
	config, err := adapt(fmt.Sprintf(`{
	admin off
	persist_config off
	servers {
		trusted_proxies %s
		trusted_proxies_strict
		listener_wrappers {
			proxy_protocol {
				allow 127.0.0.0/8
				fallback_policy skip
			}
			tls
		}
	}
}
http://%s {
	respond {client_ip}
}`, trusted, addr))
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return addr
}

func adapt(caddyfile string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	return config, err
}

// requestClientIP returns the client address that the server finds in a request from an address with an X-Forwarded-For header.
func requestClientIP(t *testing.T, addr, from, forwarded string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	family, to := "TCP4", "192.0.2.1"
	if strings.Contains(from, ":") {
		family, to = "TCP6", "2001:db8::1"
	}
	fmt.Fprintf(conn, "PROXY %s %s %s 40000 80\r\nGET / HTTP/1.1\r\nHost: %s\r\n", family, from, to, addr)
	if forwarded != "" {
		fmt.Fprintf(conn, "X-Forwarded-For: %s\r\n", forwarded)
	}
	fmt.Fprint(conn, "\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestOnlyTrustedProxiesSetTheClientIP: the server reads X-Forwarded-For from proxies on the list only, and uses only the address
// that the proxy itself added.
func TestOnlyTrustedProxiesSetTheClientIP(t *testing.T) {
	const untrusted, claimed = "203.0.113.9", "198.51.100.7"
	for _, c := range []struct{ trusted, from, forwarded, want string }{
		{"static", untrusted, claimed, untrusted},
		{"static", "10.0.0.5", claimed, "10.0.0.5"},

		{"private", "10.0.0.5", claimed, claimed},
		{"private", "172.18.0.1", claimed, claimed},
		{"private", "fd00::5", claimed, claimed},
		{"private", "10.0.0.5", "", "10.0.0.5"},
		{"private", "10.0.0.5", "not an address", "10.0.0.5"},
		{"private", untrusted, claimed, untrusted},
		{"private", "173.245.48.7", claimed, "173.245.48.7"},
		// The client sends a header, and the proxy adds the client's real address.
		{"private", "10.0.0.5", claimed + ", " + untrusted, untrusted},

		{"cloudflare", "173.245.48.7", claimed, claimed},
		{"cloudflare", "2606:4700::7", claimed, claimed},
		{"cloudflare", "10.0.0.5", claimed, "10.0.0.5"},
		{"cloudflare", untrusted, claimed, untrusted},
		{"cloudflare " + untrusted, untrusted, claimed, claimed},
		{"private 203.0.113.0/24", untrusted, claimed, claimed},
	} {
		t.Run(c.trusted+" from "+c.from+" for "+c.forwarded, func(t *testing.T) {
			if got := requestClientIP(t, startServer(t, c.trusted), c.from, c.forwarded); got != c.want {
				t.Errorf("got the client address %q, want %q", got, c.want)
			}
		})
	}
}

func TestInvalidAddressIsErrorWithFileAndLine(t *testing.T) {
	_, err := adapt("{\n\tservers {\n\t\ttrusted_proxies cloudflare everyone\n\t}\n}\nhttp://a.example {\n}")
	if err == nil || !strings.Contains(err.Error(), `"everyone" is not an address or a range`) || !strings.Contains(err.Error(), "Caddyfile:3") {
		t.Errorf("got %v", err)
	}
	l := trustedproxies.Cloudflare{}
	l.Extra = []string{"everyone"}
	if err := l.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), `trusted proxy "everyone"`) {
		t.Errorf("JSON: got %v", err)
	}
}

// TestCloudflareListIsComplete: 15 IPv4 ranges and 7 IPv6 ranges; none overlaps another, none is private.
func TestCloudflareListIsComplete(t *testing.T) {
	l := trustedproxies.CurrentCloudflareList()
	if l.Date != trustedproxies.CloudflareListDate {
		t.Errorf("the date is %s", l.Date)
	}
	if err := l.Validate(); err != nil {
		t.Error(err)
	}
	var four, six int
	ranges := l.Ranges
	for i, p := range ranges {
		if p.Addr().Is4() {
			four++
		} else {
			six++
		}
		if p != p.Masked() || p.Addr().IsPrivate() {
			t.Errorf("%s is not a public range", p)
		}
		for _, other := range append(append([]netip.Prefix(nil), ranges[:i]...), ranges[i+1:]...) {
			if p.Overlaps(other) {
				t.Errorf("%s overlaps %s", p, other)
			}
		}
	}
	if four != 15 || six != 7 {
		t.Errorf("got %d IPv4 ranges and %d IPv6 ranges, want 15 and 7", four, six)
	}
}
