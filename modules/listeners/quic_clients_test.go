package listeners

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func client(n uint32) netip.AddrPort {
	var addr [4]byte
	binary.BigEndian.PutUint32(addr[:], 10<<24+n)
	return netip.AddrPortFrom(netip.AddrFrom4(addr), 4433)
}

func TestClientsWithRequestsAreRememberedLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table clientTable
		table.begin(client(1)) // a download that takes ten minutes
		table.shakeHands(client(2))
		time.Sleep(time.Minute)
		table.begin(client(3))
		table.end(client(3))
		table.begin(netip.AddrPortFrom(netip.MustParseAddr("::ffff:10.0.0.1"), 4433)) // the first one, on another socket
		table.end(client(1))
		if got, want := table.addresses(), []netip.AddrPort{client(1), client(3), client(2)}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		time.Sleep(9 * time.Minute)
		if got, want := table.addresses(), []netip.AddrPort{client(1)}; !slices.Equal(got, want) || table.countActive() != 1 {
			t.Errorf("after ten minutes: %v, want %v", got, want)
		}
		table.end(client(1))
		time.Sleep(clientMemory + sweepInterval + time.Second)
		if got := table.addresses(); len(got) != 0 || table.countActive() != 0 {
			t.Errorf("at last: %v", got)
		}
	})
}

// TestFalseHandshakesDisplaceNoClient: anybody can send the first packet of a handshake, from any address.
func TestFalseHandshakesDisplaceNoClient(t *testing.T) {
	var table clientTable
	table.begin(client(1))
	table.end(client(1))
	for n := range uint32(200_000) {
		table.shakeHands(client(2 + n))
	}
	got := table.addresses()
	if got[0] != client(1) || len(got) != maxHandshakeMemory+1 {
		t.Errorf("%d clients are remembered, the first is %s", len(got), got[0])
	}
	table.begin(client(5)) // one of them was real
	if got := table.addresses(); got[0] != client(5) || got[1] != client(1) {
		t.Errorf("the first clients are %s", got[:2])
	}
}
