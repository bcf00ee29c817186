package edge

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestIPv4GatewaysAreRead(t *testing.T) {
	const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	for name, c := range map[string]struct{ text, want string }{
		"a container's": {
			head + "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
				"eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n" +
				"eth1\t000013AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n",
			"172.18.0.1",
		},
		"two":                       {head + "eth0\t00000000\t0101A8C0\t0003\neth1\t00000000\tFE01000A\t0003\n", "192.168.1.1 10.0.1.254"},
		"a gateway to elsewhere":    {head + "eth0\t000013AC\t010012AC\t0003\n", ""},
		"none":                      {head, ""},
		"nothing":                   {"", ""},
		"no numbers":                {head + "eth0\t00000000\tGATEWAY!\t0003\n", ""},
		"too short":                 {head + "eth0\t00000000\t0100\t0003\neth0\t00000000\n\n", ""},
		"too long":                  {head + "eth0\t00000000\t010012AC00\t0003\n", ""},
		"one good among bad":        {"\x00\xff\neth0\t00000000\t010012AC\t0003\nrubbish", "172.18.0.1"},
		"a line of many characters": {strings.Repeat("x", 100_000), ""},
	} {
		var got []string
		for _, g := range parseRoutes(strings.NewReader(c.text)) {
			got = append(got, g.String())
		}
		if !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s: got %v, want %s", name, got, c.want)
		}
	}
}

func TestIPv6GatewaysAreRead(t *testing.T) {
	const table = `fd880000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd880000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
00000000000000000000000000000000 00 short
zz 00 zz 00 zz
`
	if got, want := parseRoutes6(strings.NewReader(table)), []netip.Addr{netip.MustParseAddr("fd88::1")}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzRoutes(f *testing.F) {
	f.Add("eth0\t00000000\t010012AC\t0003\n")
	f.Fuzz(func(t *testing.T, text string) {
		gateways := parseRoutes(strings.NewReader(text))
		if lines := strings.Count(text, "\n") + 1; len(gateways) > lines {
			t.Errorf("%d gateways in %d lines", len(gateways), lines)
		}
	})
}

func TestDetectorWarnsWhenGatewayMasksClients(t *testing.T) {
	gateway, client := netip.MustParseAddr("172.18.0.1"), netip.MustParseAddr("203.0.113.9")
	for _, c := range []struct {
		name     string
		gateways []netip.Addr
		of200    int
		warns    bool
	}{
		{"all", []netip.Addr{gateway}, 200, true},
		{"95 %", []netip.Addr{gateway}, 190, true},
		{"less", []netip.Addr{gateway}, 189, false},
		{"none", []netip.Addr{gateway}, 0, false},
		{"one of two gateways", []netip.Addr{netip.MustParseAddr("10.0.0.1"), gateway}, 190, true},
		{"half, named by two routes", []netip.Addr{gateway, gateway}, 100, false},
	} {
		w := &maskedClientDetector{gateways: c.gateways}
		for round := range 3 {
			for i := range 200 {
				peer := client
				if i < c.of200 {
					peer = gateway
				}
				if warned, want := w.observe(peer), c.warns && i == 199; warned != want {
					t.Errorf("%s: client %d of round %d: warned: %v, want %v", c.name, i+1, round+1, warned, want)
				}
			}
		}
	}
}

func TestDetectorWarnsOnce(t *testing.T) {
	clientDetector.once.Do(func() {}) // so that the gateways of this machine are not read
	clientDetector.gateways = []netip.Addr{netip.MustParseAddr("172.18.0.1")}
	t.Cleanup(func() {
		clientDetector.gateways = nil
		clientDetector.warned.Store(false)
	})
	core, logs := observer.New(zap.InfoLevel)
	first, second := &App{log: zap.New(core)}, &App{log: zap.New(core)}
	for range 199 {
		first.ObservePeer("[::ffff:172.18.0.1]:54321")
		first.ObservePeer("no address")
	}
	if logs.Len() > 0 {
		t.Errorf("warned after 199 requests: %v", logs.All())
	}
	second.ObservePeer("172.18.0.1:54321") // after a reload
	if logs.Len() != 1 {
		t.Errorf("%d warnings after 200 requests, want one", logs.Len())
	}
	for range 1000 {
		second.ObservePeer("172.18.0.1:54321")
	}
	if all := logs.FilterLevelExact(zap.WarnLevel).All(); len(all) != 1 || !strings.Contains(all[0].Message, "docs/client-addresses.md") {
		t.Errorf("the log says %v, want one warning that names the page to read", logs.All())
	}
}
