package edge

import (
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

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
