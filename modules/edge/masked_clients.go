package edge

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/modules/listeners"
)

// maskedClientDetector detects that nearly all clients have the address of the gateway of the container that publishes the ports. Then Docker's userland proxy, or
// IPv6 to a network without IPv6, hides their addresses, and limits and logs by address are useless.
type maskedClientDetector struct {
	once        sync.Once
	gateways    []netip.Addr
	observed    atomic.Uint32
	fromGateway atomic.Uint32
	warned      atomic.Bool
}

// clientDetector lives as long as the process, so that a reload does not repeat the warning.
var clientDetector maskedClientDetector

const (
	gatewaySampleSize  = 200 // requests to count before the detector decides
	gatewayWarnPercent = 95  // percent
)

// ObservePeer counts a request from the address of a peer, such as "172.18.0.1:54321". It only increments two counters.
func (a *App) ObservePeer(remote string) {
	if clientDetector.warned.Load() {
		return
	}
	clientDetector.once.Do(func() { clientDetector.gateways = listeners.Gateways() })
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

// ClientKey returns the address that a request counts for in the queue of a service: the address of an IPv4 client, or the /64 of an
// IPv6 client, which belongs to one customer. It returns the zero address if many clients may share the address. peer is the other end
// of the connection, and peerIsProxy says that it is a trusted proxy.
func (a *App) ClientKey(client, peer netip.Addr, peerIsProxy bool) netip.Addr {
	client, peer = client.Unmap(), peer.Unmap()
	clientDetector.once.Do(func() { clientDetector.gateways = listeners.Gateways() })
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

// observe counts a peer, and reports whether the caller should warn.
func (w *maskedClientDetector) observe(peer netip.Addr) bool {
	observed := w.observed.Add(1)
	if slices.Contains(w.gateways, peer) {
		w.fromGateway.Add(1)
	}
	if observed < gatewaySampleSize {
		return false
	}
	warn := w.fromGateway.Load()*100 >= observed*gatewayWarnPercent
	w.observed.Store(0)
	w.fromGateway.Store(0)
	return warn
}
