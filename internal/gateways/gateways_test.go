package gateways

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
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
