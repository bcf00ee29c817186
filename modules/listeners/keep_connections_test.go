package listeners

import (
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestOnlyTCPSocketsAreShared(t *testing.T) {
	server := &caddyhttp.Server{Listen: []string{
		":80", "127.0.0.1:8000-8010", "[::1]:443", "tcp/localhost:443", "edge/:444",
		":0", "unix//run/edge.sock", "unix/@edge|0600", "fd/3", "tcp4/:80", "udp/:443", "[::1",
	}}
	shareSockets(server)
	want := []string{
		"edge/:80", "edge/127.0.0.1:8000-8010", "edge/[::1]:443", "edge/localhost:443", "edge/:444",
		":0", "unix//run/edge.sock", "unix/@edge|0600", "fd/3", "tcp4/:80", "udp/:443", "[::1",
	}
	if !slices.Equal(server.Listen, want) {
		t.Errorf("got  %q\nwant %q", server.Listen, want)
	}
}
