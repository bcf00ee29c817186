package tests

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// loadRate is how many requests a second tests send to a stack that they change. `make test` has two such stacks at a time, and little time: 150 a second
// for each took half of two processors.
func loadRate() int {
	if harness.IsLong() {
		return 150
	}
	return 50
}

// loadResult has the outcomes of requests at a steady rate.
type loadResult struct {
	mu        sync.Mutex
	outcomes  map[string]map[string]int // method → outcome → count
	latencies []time.Duration
	errors    []string
}

// runLoad sends requests to url at loadRate until ctx ends, and waits for all responses. Every fourth request is a POST.
func runLoad(ctx context.Context, p *project, url string) *loadResult {
	l := &loadResult{outcomes: map[string]map[string]int{http.MethodGet: {}, http.MethodPost: {}}}
	client := p.Client(true, nil)
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(time.Second / time.Duration(loadRate()))
	defer ticker.Stop()
	var all sync.WaitGroup
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			all.Wait()
			return l
		case <-ticker.C:
		}
		method, body := http.MethodGet, ""
		if i%4 == 0 {
			method, body = http.MethodPost, fmt.Sprintf(`{"order": %d}`, i)
		}
		all.Go(func() { l.send(p, client, method, url, body) })
	}
}

func (l *loadResult) send(p *project, client *http.Client, method, url, body string) {
	began := time.Now()
	a, err := harness.Do(client, method, url, strings.NewReader(body))
	took := time.Since(began)
	outcome := "answered"
	switch {
	case err != nil:
		outcome = "no answer"
	case a.Status == http.StatusBadGateway:
		outcome = "unknown" // the edge has sent it, and the connection was closed before the response
	case a.Status != http.StatusOK:
		outcome = fmt.Sprintf("status %d", a.Status)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes[method][outcome]++
	l.latencies = append(l.latencies, took)
	if err != nil {
		l.errors = append(l.errors, err.Error())
	}
}

// count returns how many requests of a method there were.
func (l *loadResult) count(method string) int {
	n := 0
	for _, count := range l.outcomes[method] {
		n += count
	}
	return n
}

// lost returns how many requests of a method the application has not answered.
func (l *loadResult) lost(method string) int { return l.count(method) - l.outcomes[method]["answered"] }

func (l *loadResult) percentile(p float64) time.Duration {
	if len(l.latencies) == 0 {
		return 0
	}
	slices.Sort(l.latencies)
	return l.latencies[min(int(p*float64(len(l.latencies))), len(l.latencies)-1)]
}

// logOutcomes logs the outcomes, with the bound that n requests without a loss prove at 95 % (the rule of three).
func (l *loadResult) logOutcomes(t *testing.T, what string) {
	t.Helper()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		n := l.count(method)
		t.Logf("%s: %s n=%d %v; lost %d; with 0 lost of n, the 95 %% bound is 3/n = %.3f %%",
			what, method, n, l.outcomes[method], l.lost(method), 300/float64(max(n, 1)))
	}
	t.Logf("%s: p50 %s p99 %s max %s", what, l.percentile(0.5), l.percentile(0.99), l.percentile(1))
	if err := errors.Join(firstErrors(l.errors)...); err != nil {
		t.Logf("%s: errors: %v", what, err)
	}
}

func firstErrors(texts []string) []error {
	all := make([]error, 0, min(len(texts), 5))
	for _, text := range texts[:cap(all)] {
		all = append(all, errors.New(text))
	}
	return all
}
