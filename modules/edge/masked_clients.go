package edge

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// maskedClientDetector notices when nearly every client has the address of the container's own gateway: then Docker's userland
// proxy, or IPv6 to a network without it, hides who they are, and limits and logs by address are worth nothing.
type maskedClientDetector struct {
	once        sync.Once
	gateways    []netip.Addr
	observed    atomic.Uint32
	fromGateway atomic.Uint32
	warned      atomic.Bool
}

// clientDetector lives as long as the process: a reload is no reason to warn again.
var clientDetector maskedClientDetector

const (
	gatewaySampleSize  = 200 // clients' requests to look at before judging
	gatewayWarnPercent = 95  // percent
)

// ObservePeer counts a request from a peer's address, "172.18.0.1:54321". It is cheap: two counters.
func (a *App) ObservePeer(remote string) {
	if clientDetector.warned.Load() {
		return
	}
	clientDetector.once.Do(func() { clientDetector.gateways = defaultGateways() })
	if len(clientDetector.gateways) == 0 {
		return
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return
	}
	if clientDetector.observe(peer.Addr().Unmap()) && clientDetector.warned.CompareAndSwap(false, true) {
		a.log.Warn("nearly every client seems to be the container's own gateway: Docker hides their addresses; see docs/client-addresses.md",
			zap.Stringer("gateway", peer.Addr()))
	}
}

// ClientKey returns whom a request of a client counts for in a service's queue, given the client's address, and that of the
// peer that its connection comes from: an IPv6 client with the others of its /64, which one customer has, and nobody where many
// clients may be behind the address.
func (a *App) ClientKey(client, peer netip.Addr, peerIsProxy bool) netip.Addr {
	client, peer = client.Unmap(), peer.Unmap()
	clientDetector.once.Do(func() { clientDetector.gateways = defaultGateways() })
	if !client.IsValid() || peerIsProxy && client == peer || slices.Contains(clientDetector.gateways, client) {
		return netip.Addr{}
	}
	if client.Is6() {
		prefix, err := client.WithZone("").Prefix(64)
		if err != nil {
			return client
		}
		return prefix.Addr()
	}
	return client
}

// observe counts a peer and reports whether it is time to warn.
func (w *maskedClientDetector) observe(peer netip.Addr) bool {
	met := w.observed.Add(1)
	if slices.Contains(w.gateways, peer) {
		w.fromGateway.Add(1)
	}
	if met < gatewaySampleSize {
		return false
	}
	warn := w.fromGateway.Load()*100 >= met*gatewayWarnPercent
	w.observed.Store(0)
	w.fromGateway.Store(0)
	return warn
}

// defaultGateways returns the gateways of this container; none outside of one, where a gateway is a real router.
func defaultGateways() []netip.Addr {
	if _, err := os.Stat("/.dockerenv"); err != nil {
		return nil
	}
	var gateways []netip.Addr
	for _, table := range []struct {
		path  string
		parse func(io.Reader) []netip.Addr
	}{{"/proc/net/route", parseRoutes}, {"/proc/net/ipv6_route", parseRoutes6}} {
		f, err := os.Open(table.path)
		if err != nil {
			continue // a kernel without it
		}
		gateways = append(gateways, table.parse(f)...)
		_ = f.Close() // it was only read
	}
	return gateways
}

// parseRoutes6 reads the gateways from Linux's /proc/net/ipv6_route: destination, its prefix length, source, its prefix
// length, next hop and more, in hexadecimal digits.
func parseRoutes6(r io.Reader) []netip.Addr {
	var gateways []netip.Addr
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 || fields[1] != "00" {
			continue
		}
		raw, err := hex.DecodeString(fields[4])
		if err != nil {
			continue
		}
		if addr, ok := netip.AddrFromSlice(raw); ok && addr.Is6() && !addr.IsUnspecified() {
			gateways = append(gateways, addr)
		}
	}
	return gateways
}

// parseRoutes reads the gateways from Linux's /proc/net/route: columns of hexadecimal numbers in host byte order.
func parseRoutes(r io.Reader) []netip.Addr {
	var gateways []netip.Addr
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || fields[1] != "00000000" {
			continue
		}
		raw, err := hex.DecodeString(fields[2])
		if err != nil || len(raw) != 4 {
			continue
		}
		var addr [4]byte
		binary.LittleEndian.PutUint32(addr[:], binary.BigEndian.Uint32(raw))
		gateways = append(gateways, netip.AddrFrom4(addr))
	}
	return gateways
}
