package swarm

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// startLoad starts clients of a proxy that listens on a port of these nodes.
func startLoad(t *testing.T, proxy, port string, nodes ...*harness.SwarmNode) *harness.Load {
	return harness.StartLoad(t, proxy, func(int) *http.Client {
		return &http.Client{Timeout: 70 * time.Second, Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}}
	}, func(i int) string { return url(nodes[i%len(nodes)], port) })
}

func url(node *harness.SwarmNode, port string) string {
	return "http://" + net.JoinHostPort(node.Address, port) + "/_test/echo"
}

// pair is the same load on the edge and on Caddy.
type pair struct{ edge, caddy *harness.Load }

// startPair starts both, after both serve.
func startPair(t *testing.T, nodes ...*harness.SwarmNode) pair {
	t.Helper()
	for _, n := range nodes {
		for _, port := range []string{edgePort, caddyPort} {
			harness.Eventually(t, "the proxy on port "+port+" of "+n.Address+" serves", func() bool {
				return harness.Exchange(http.DefaultClient, http.MethodGet, url(n, port)) == nil
			})
		}
	}
	return pair{startLoad(t, "edge", edgePort, nodes...), startLoad(t, "Caddy", caddyPort, nodes...)}
}

// wantLost reports both, and fails the test if the edge has lost more than this.
func (p pair) wantLost(t *testing.T, what string, maxPOST int) (longest time.Duration) {
	t.Helper()
	idempotent, post, longest := p.edge.Report(t, what)
	p.caddy.Report(t, what)
	if idempotent > 0 || post > maxPOST {
		t.Errorf("%s: the edge lost %d idempotent requests and %d POSTs, want 0 and at most %d", what, idempotent, post, maxPOST)
	}
	return longest
}

// wantSentElsewhere is wantLost after containers could not be reached any more: of each client, one POST may have been on its way there, and
// other requests are sent elsewhere after 5 s.
func (p pair) wantSentElsewhere(t *testing.T, what string) {
	t.Helper()
	if longest := p.wantLost(t, what, harness.LoadClients); longest > 7*time.Second {
		t.Errorf("%s: a request took %s, want it sent elsewhere after 5 s", what, longest)
	}
}
