package listeners

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
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

// maxClientMemory is how many clients are remembered at most.
const maxClientMemory = 100_000

// clientTable has the addresses of the clients that have connections of HTTP/3. The zero clientTable is ready to use.
type clientTable struct {
	mu     sync.Mutex
	seenAt map[netip.AddrPort]time.Time
	sweep  time.Time // when the old ones were removed last
}

// quicClients are those of this process. They are remembered only if a successor could take over their packets.
var quicClients clientTable

// NoteClient remembers the client of a request over HTTP/3.
func NoteClient(r *http.Request) {
	if r.ProtoMajor != 3 || !handed.remembersClients.Load() {
		return
	}
	if client, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		quicClients.note(client)
	}
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
		quicClients.note(udp.AddrPort())
	}
	return true
}

// note remembers a client.
func (t *clientTable) note(client netip.AddrPort) {
	now := time.Now()
	client = netip.AddrPortFrom(client.Addr().Unmap().WithZone(""), client.Port())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seenAt == nil {
		t.seenAt = make(map[netip.AddrPort]time.Time)
	}
	if now.Sub(t.sweep) > clientMemory || len(t.seenAt) >= maxClientMemory {
		t.sweep = now
		for c, at := range t.seenAt {
			if now.Sub(at) > clientMemory {
				delete(t.seenAt, c)
			}
		}
	}
	if len(t.seenAt) < maxClientMemory {
		t.seenAt[client] = now
	}
}

// addresses returns the clients, those that were seen last first.
func (t *clientTable) addresses() []netip.AddrPort {
	t.mu.Lock()
	defer t.mu.Unlock()
	type client struct {
		addr netip.AddrPort
		at   time.Time
	}
	all := make([]client, 0, len(t.seenAt))
	for addr, at := range t.seenAt {
		if time.Since(at) <= clientMemory {
			all = append(all, client{addr, at})
		}
	}
	slices.SortFunc(all, func(a, b client) int { return cmp.Compare(b.at.UnixNano(), a.at.UnixNano()) })
	addresses := make([]netip.AddrPort, len(all))
	for i, c := range all {
		addresses[i] = c.addr
	}
	return addresses
}

var _ caddytls.ConnectionMatcher = (*clientNoter)(nil)
