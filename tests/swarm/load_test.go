package swarm

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// load sends requests to one kind of proxy, on several nodes in turn, and counts those that are lost.
type load struct {
	proxy   string
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu      sync.Mutex
	methods map[string]*tally
}

// tally counts the requests of one method.
type tally struct {
	sent, lost int
	longest    time.Duration
	errors     []string
}

// clients is how many clients send requests at once, and pause how long each waits between two: about 40 requests a second.
const (
	clients = 4
	pause   = 100 * time.Millisecond
)

// methods are what the clients send in turn. Only POST is not idempotent.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut}

// startLoad starts clients of a proxy that listens on a port of these nodes.
func startLoad(t *testing.T, proxy, port string, nodes ...*harness.SwarmNode) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{proxy: proxy, cancel: cancel, methods: make(map[string]*tally)}
	for n := range clients {
		l.workers.Go(func() {
			client := &http.Client{Timeout: 70 * time.Second, Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}}
			defer client.CloseIdleConnections()
			for i := n; ctx.Err() == nil; i++ {
				l.send(client, methods[i%len(methods)], "http://"+net.JoinHostPort(nodes[i%len(nodes)].Address, port)+"/_test/echo")
				time.Sleep(pause)
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

// send sends a request and counts it. The end of the load does not end it.
func (l *load) send(client *http.Client, method, url string) {
	start := time.Now()
	err := exchange(client, method, url)
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	count := l.methods[method]
	if count == nil {
		count = new(tally)
		l.methods[method] = count
	}
	count.sent++
	count.longest = max(count.longest, took)
	if err != nil {
		count.lost++
		count.errors = append(count.errors, fmt.Sprintf("%s, %s after %s: %v", start.Format("05.000"), method, took.Round(time.Millisecond), err))
	}
}

func exchange(client *http.Client, method, url string) error {
	var body io.Reader
	if method != http.MethodGet {
		body = strings.NewReader("some text")
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", resp.Status, text)
	}
	return err
}

// stop ends the load, after the requests that are under way.
func (l *load) stop() {
	l.cancel()
	l.workers.Wait()
}

// report ends the load and logs its figures.
func (l *load) report(t *testing.T, what string) (lostIdempotent, lostPOST int, longest time.Duration) {
	t.Helper()
	l.stop()
	var errs []string
	sent := 0
	for method, count := range l.methods {
		sent += count.sent
		errs = append(errs, count.errors...)
		if method == http.MethodPost {
			lostPOST = count.lost
		} else {
			lostIdempotent += count.lost
			longest = max(longest, count.longest)
		}
	}
	t.Logf("%-6s %s: %d requests; lost %d idempotent and %d POST; the longest idempotent one took %s", l.proxy, what, sent, lostIdempotent, lostPOST, longest.Round(10*time.Millisecond))
	for _, err := range errs[:min(len(errs), 5)] {
		t.Logf("       %s", err)
	}
	if sent < 30 {
		t.Errorf("%s: only %d requests were sent", l.proxy, sent)
	}
	return lostIdempotent, lostPOST, longest
}

// pair is the same load on the edge and on Caddy.
type pair struct{ edge, caddy *load }

// startPair starts both, after both serve.
func startPair(t *testing.T, nodes ...*harness.SwarmNode) pair {
	t.Helper()
	for _, n := range nodes {
		for _, port := range []string{edgePort, caddyPort} {
			harness.Eventually(t, "the proxy on port "+port+" of "+n.Address+" serves", func() bool {
				return exchange(http.DefaultClient, http.MethodGet, "http://"+net.JoinHostPort(n.Address, port)+"/_test/echo") == nil
			})
		}
	}
	return pair{startLoad(t, "edge", edgePort, nodes...), startLoad(t, "Caddy", caddyPort, nodes...)}
}

// wantLost reports both, and fails the test if the edge has lost more than this.
func (p pair) wantLost(t *testing.T, what string, maxPOST int) (longest time.Duration) {
	t.Helper()
	idempotent, post, longest := p.edge.report(t, what)
	p.caddy.report(t, what)
	if idempotent > 0 || post > maxPOST {
		t.Errorf("%s: the edge lost %d idempotent requests and %d POSTs, want 0 and at most %d", what, idempotent, post, maxPOST)
	}
	return longest
}
