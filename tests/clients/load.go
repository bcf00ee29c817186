package clients

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Load sends requests of all kinds of clients, and counts those that are lost.
type Load struct {
	mu      sync.Mutex
	tallies map[string]*tally // by kind and method
	workers sync.WaitGroup
	cancel  context.CancelFunc
}

// tally counts the requests of one kind of client.
type tally struct {
	sent, lost int
	longest    time.Duration
	errors     []string
}

// StartLoad starts 5 clients of each kind, except of some, each of which sends about 7 requests a second, GET and POST in turn: 200 a second.
// url returns where clients of a kind send them; each request has an id of its own in the query.
func StartLoad(t testing.TB, serverName string, url func(Kind) string, except ...string) *Load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &Load{tallies: make(map[string]*tally), cancel: cancel}
	for _, kind := range All(serverName) {
		if slices.Contains(except, kind.Name) {
			continue
		}
		for n := range 5 {
			l.workers.Go(func() { l.work(ctx, kind, url(kind), n) })
		}
	}
	return l
}

// work is one client.
func (l *Load) work(ctx context.Context, kind Kind, url string, n int) {
	client := kind.New(30 * time.Second)
	defer client.CloseIdleConnections()
	for i := 0; ctx.Err() == nil; i++ {
		method := []string{http.MethodGet, http.MethodPost}[i%2]
		start := time.Now()
		_, err := Send(client, method, fmt.Sprintf("%s?id=%s-%d-%d", url, strings.ReplaceAll(kind.Name, " ", ""), n, i))
		l.note(kind.Name+" "+method, time.Since(start), err)
		time.Sleep(time.Until(start.Add(150 * time.Millisecond)))
	}
}

func (l *Load) note(name string, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tallies[name]
	if t == nil {
		t = new(tally)
		l.tallies[name] = t
	}
	t.sent++
	t.longest = max(t.longest, took)
	if err != nil {
		t.lost++
		t.errors = append(t.errors, fmt.Sprintf("at %s: %v", time.Now().Format("05.000"), err))
	}
}

// Stop ends the load, and reports it. No request may be lost.
func (l *Load) Stop(t testing.TB) {
	t.Helper()
	l.Finish(t)
	for name, got := range l.tallies {
		if got.lost > 0 {
			t.Errorf("%s: lost %d of %d: %s", name, got.lost, got.sent, strings.Join(got.errors[:min(5, len(got.errors))], "; "))
		}
	}
}

// Finish ends the load, reports it, and returns the errors.
func (l *Load) Finish(t testing.TB) (errs []string) {
	t.Helper()
	l.cancel()
	l.workers.Wait()
	sent := 0
	for _, name := range slices.Sorted(maps.Keys(l.tallies)) {
		got := l.tallies[name]
		sent += got.sent
		errs = append(errs, got.errors...)
		t.Logf("%-55s %5d sent, %3d lost, the longest took %s", name, got.sent, got.lost, got.longest.Round(time.Millisecond))
	}
	t.Logf("%d of %d requests lost", len(errs), sent)
	if sent < 100 {
		t.Errorf("only %d requests were sent", sent)
	}
	return errs
}

// FinishKills ends the load as Finish does, after its server was killed some times: each time, each client may lose the request that the server had
// got, and no other one.
func (l *Load) FinishKills(t testing.TB, kills int) {
	t.Helper()
	errs := l.Finish(t)
	if limit := 25 * kills; len(errs) > limit {
		t.Errorf("%d requests are lost, more than there are clients", len(errs))
	}
	for _, err := range errs {
		if strings.Contains(err, "refused") || strings.Contains(err, "timeout") || strings.Contains(err, "Timeout") {
			t.Errorf("a request that had not been sent is lost: %s", err)
		}
	}
}
