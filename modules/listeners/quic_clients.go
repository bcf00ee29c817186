package listeners

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

func init() {
	caddy.RegisterModule(clientNoter{})
}

// clientMemory is how long a client of HTTP/3 is remembered after it was seen last: longer than its connection can be idle.
const clientMemory = 5 * time.Minute

// maxClientMemory is how many clients with requests are remembered at most, and maxHandshakeMemory how many of which only a handshake was
// seen. The address of such a one may be false.
const (
	maxClientMemory    = 100_000
	maxHandshakeMemory = 4096
)

// sweepInterval is how often clients are forgotten that were not seen for long.
const sweepInterval = 10 * time.Second

// clientTable has the addresses of the clients that have connections of HTTP/3. The zero clientTable is ready to use.
type clientTable struct {
	mu         sync.Mutex
	clients    map[netip.AddrPort]quicClient // that have sent a request
	handshakes map[netip.AddrPort]time.Time  // of others: when it was
	sweepAt    time.Time
}

// quicClient is a client that has sent a request.
type quicClient struct {
	seenAt time.Time
	active int // requests under way
}

// quicClients are those of this process. They are remembered only if a successor could take over their packets.
var quicClients clientTable

// NoteClient remembers the client of a request over HTTP/3, until some time after the request has ended.
func NoteClient(r *http.Request) {
	if r.ProtoMajor != 3 || !handed.remembersClients.Load() {
		return
	}
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return
	}
	quicClients.begin(client)
	context.AfterFunc(r.Context(), func() { quicClients.end(client) })
}

// noteClients has the clients of a server's TLS handshakes over QUIC remembered: packets may follow before the first request does.
func noteClients(server *caddyhttp.Server) {
	for _, policy := range server.TLSConnPolicies {
		if policy.MatchersRaw == nil {
			policy.MatchersRaw = make(caddy.ModuleMap)
		}
		policy.MatchersRaw[clientNoter{}.CaddyModule().ID.Name()] = json.RawMessage("{}")
	}
}

// clientNoter is a matcher of TLS handshakes that matches all of them. It is a matcher because Caddy has no other way to see them.
type clientNoter struct{}

// CaddyModule returns the Caddy module information.
func (clientNoter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.handshake_match.edge_note_client", New: func() caddy.Module { return new(clientNoter) }}
}

// Match implements caddytls.ConnectionMatcher.
func (clientNoter) Match(hello *tls.ClientHelloInfo) bool {
	if udp, ok := hello.Conn.RemoteAddr().(*net.UDPAddr); ok {
		quicClients.shakeHands(udp.AddrPort())
	}
	return true
}

// canonical returns the form of an address that is a key of the table.
func canonical(client netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(client.Addr().Unmap().WithZone(""), client.Port())
}

// begin remembers a client that sends a request.
func (t *clientTable) begin(client netip.AddrPort) {
	client = canonical(client)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
	delete(t.handshakes, client)
	c, isKnown := t.clients[client]
	if !isKnown && len(t.clients) >= maxClientMemory {
		return
	}
	if t.clients == nil {
		t.clients = make(map[netip.AddrPort]quicClient)
	}
	c.seenAt = now
	c.active++
	t.clients[client] = c
}

// end remembers that a request has ended.
func (t *clientTable) end(client netip.AddrPort) {
	client = canonical(client)
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, isKnown := t.clients[client]; isKnown {
		c.seenAt, c.active = time.Now(), max(c.active-1, 0)
		t.clients[client] = c
	}
}

// shakeHands remembers a client that begins a connection. If there are too many, it forgets another one.
func (t *clientTable) shakeHands(client netip.AddrPort) {
	client = canonical(client)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
	if _, isKnown := t.clients[client]; isKnown {
		return
	}
	if t.handshakes == nil {
		t.handshakes = make(map[netip.AddrPort]time.Time)
	}
	if len(t.handshakes) >= maxHandshakeMemory {
		for other := range t.handshakes {
			delete(t.handshakes, other)
			break
		}
	}
	t.handshakes[client] = now
}

// sweep forgets the clients that were not seen for long. The caller holds t.mu.
func (t *clientTable) sweep(now time.Time) {
	if now.Before(t.sweepAt) {
		return
	}
	t.sweepAt = now.Add(sweepInterval)
	maps.DeleteFunc(t.clients, func(_ netip.AddrPort, c quicClient) bool { return c.active == 0 && now.Sub(c.seenAt) > clientMemory })
	maps.DeleteFunc(t.handshakes, func(_ netip.AddrPort, at time.Time) bool { return now.Sub(at) > clientMemory })
}

// countActive returns how many clients have requests under way.
func (t *clientTable) countActive() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.clients {
		if c.active > 0 {
			n++
		}
	}
	return n
}

// addresses returns the clients by importance: those with requests under way, then those that were seen last, then those of which only a
// handshake was seen.
func (t *clientTable) addresses() []netip.AddrPort {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(time.Now())
	byTime := func(a, b time.Time) int { return b.Compare(a) }
	all := slices.SortedFunc(maps.Keys(t.clients), func(a, b netip.AddrPort) int {
		x, y := t.clients[a], t.clients[b]
		return cmp.Or(cmp.Compare(min(y.active, 1), min(x.active, 1)), byTime(x.seenAt, y.seenAt))
	})
	return append(all, slices.SortedFunc(maps.Keys(t.handshakes), func(a, b netip.AddrPort) int { return byTime(t.handshakes[a], t.handshakes[b]) })...)
}

var _ caddytls.ConnectionMatcher = (*clientNoter)(nil)
