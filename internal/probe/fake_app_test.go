package probe_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// fakeApp is an application in a container, whose answers the test sets.
type fakeApp struct {
	*httptest.Server
	t        *testing.T
	requests chan string // the path of each request, in order

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newFakeApp(t *testing.T, answer http.HandlerFunc) *fakeApp {
	t.Helper()
	a := &fakeApp{t: t, requests: make(chan string, 10_000), answer: answer}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests <- r.URL.Path
		a.mu.Lock()
		answer := a.answer
		a.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *fakeApp) address() string { return a.Listener.Addr().String() }

// setAnswer changes what the application answers.
func (a *fakeApp) setAnswer(answer http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

// waitForRequests waits for the next n requests and returns their paths.
func (a *fakeApp) waitForRequests(n int) []string {
	a.t.Helper()
	var paths []string
	for deadline := time.After(maxWait); len(paths) < n; {
		select {
		case path := <-a.requests:
			paths = append(paths, path)
		case <-deadline:
			a.t.Fatalf("%d requests in %s (%q), want %d", len(paths), maxWait, paths, n)
		}
	}
	return paths
}

// answerStatus answers every request with a status.
func answerStatus(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// answerSequence answers with one status after the other, and then always with the last one.
func answerSequence(codes ...int) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(codes[0])
		if len(codes) > 1 {
			codes = codes[1:]
		}
	}
}

// answerPaths answers each path with its status, and other paths with 404.
func answerPaths(codes map[string]int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if code := codes[r.URL.Path]; code != 0 {
			w.WriteHeader(code)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}
}

// answerBody answers with a body.
func answerBody(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// newSilentListener starts a listener that accepts connections and never answers.
func newSilentListener(t *testing.T) (address string, accepted chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = make(chan struct{}, 10_000)
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			accepted <- struct{}{}
		}
	})
	return ln.Addr().String(), accepted
}
