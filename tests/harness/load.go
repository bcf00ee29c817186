package harness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Load is clients that send requests, and count those that are lost.
type Load struct {
	name    string
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

const (
	// LoadClients is how many clients of a [Load] send requests at once.
	LoadClients = 4
	// loadPause is how long each waits between two: they send up to 80 requests a second.
	loadPause = 50 * time.Millisecond
)

// loadMethods are what the clients send in turn. Only POST is not idempotent.
var loadMethods = []string{http.MethodGet, http.MethodPost, http.MethodPut}

// StartLoad starts clients, which have numbers from 0, and send their requests to the URLs in turn. The end of the test ends it.
func StartLoad(t testing.TB, name string, newClient func(n int) *http.Client, url func(i int) string) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{name: name, cancel: cancel, methods: make(map[string]*tally)}
	for n := range LoadClients {
		l.workers.Go(func() {
			client := newClient(n)
			defer client.CloseIdleConnections()
			for i := n; ctx.Err() == nil; i++ {
				l.send(client, loadMethods[i%len(loadMethods)], url(i))
				time.Sleep(loadPause)
			}
		})
	}
	t.Cleanup(l.Stop)
	return l
}

// send sends a request and counts it. The end of the load does not end it.
func (l *Load) send(client *http.Client, method, url string) {
	start := time.Now()
	err := Exchange(client, method, url)
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

// Exchange sends a request with a short body, and returns an error unless the response is complete and its status is 200.
func Exchange(client *http.Client, method, url string) error {
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

// Stop ends the load, after the requests that are under way.
func (l *Load) Stop() {
	l.cancel()
	l.workers.Wait()
}

// Report ends the load and logs its figures.
func (l *Load) Report(t testing.TB, what string) (lostIdempotent, lostPOST int, longest time.Duration) {
	t.Helper()
	l.Stop()
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
	t.Logf("%-6s %s: %d requests; lost %d idempotent and %d POST; the longest idempotent one took %s", l.name, what, sent, lostIdempotent, lostPOST, longest.Round(10*time.Millisecond))
	for _, err := range errs[:min(len(errs), 5)] {
		t.Logf("       %s", err)
	}
	if sent < 30 {
		t.Errorf("%s: only %d requests were sent", l.name, sent)
	}
	return lostIdempotent, lostPOST, longest
}
