package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// behaviour makes a backend misbehave. Requests change it while the backend runs:
//
//	/_test/behaviour?silent=true   the backend accepts every request and answers none; false: it answers again
//	/_test/behaviour?health=down   /_test/health answers 503; up: it answers 200; flap: it changes every four seconds
//
// FAIL_STATUS is the status with which it answers all requests but those for / and /_test/health: a bad version, whose health check passes.
//
// SLOW_START is how long the backend is slow after its start: it answers one request at a time, each after 0.2 s at first and at once
// in the end, as an application with cold caches does.
type behaviour struct {
	began     time.Time
	slowStart time.Duration
	failure   int // 0: none
	slowMu    sync.Mutex

	mu     sync.Mutex
	silent bool
	health string
}

const (
	flapInterval = 4 * time.Second
	maxDelay     = 200 * time.Millisecond
)

func newBehaviour() (*behaviour, error) {
	slow, err := time.ParseDuration(cmp.Or(os.Getenv("SLOW_START"), "0s"))
	if err != nil {
		return nil, fmt.Errorf("read SLOW_START: %w", err)
	}
	failure, err := strconv.Atoi(cmp.Or(os.Getenv("FAIL_STATUS"), "0"))
	if err != nil {
		return nil, fmt.Errorf("read FAIL_STATUS: %w", err)
	}
	return &behaviour{began: time.Now(), slowStart: slow, failure: failure, health: "up"}, nil
}

// wrap returns a handler that applies the behaviour to all requests.
func (b *behaviour) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/_test/behaviour":
			b.update(w, r)
		case b.isSilent():
			// net/http notices that a client leaves only after the body was read.
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				<-r.Context().Done()
			}
		case r.URL.Path == "/_test/health":
			b.serveHealth(w)
		case b.failure != 0 && r.URL.Path != "/":
			http.Error(w, "this version is broken", b.failure)
		default:
			b.delay(r.Context())
			next.ServeHTTP(w, r)
		}
	})
}

func (b *behaviour) isSilent() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.silent
}

func (b *behaviour) update(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	query := r.URL.Query()
	switch silent := query.Get("silent"); silent {
	case "":
	case "true", "false":
		b.silent = silent == "true"
	default:
		http.Error(w, "silent must be true or false", http.StatusBadRequest)
		return
	}
	switch health := query.Get("health"); health {
	case "":
	case "up", "down", "flap":
		b.health = health
	default:
		http.Error(w, "health must be up, down or flap", http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "silent=%t health=%s\n", b.silent, b.health)
}

func (b *behaviour) serveHealth(w http.ResponseWriter) {
	b.mu.Lock()
	health := b.health
	b.mu.Unlock()
	flappedDown := health == "flap" && time.Since(b.began)/flapInterval%2 == 1
	if health == "down" || flappedDown {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "up")
}

// delay waits as long as a backend of this age takes to answer.
func (b *behaviour) delay(ctx context.Context) {
	age := time.Since(b.began)
	if age >= b.slowStart {
		return
	}
	b.slowMu.Lock()
	defer b.slowMu.Unlock()
	part := 1 - float64(time.Since(b.began))/float64(b.slowStart)
	if part <= 0 {
		return
	}
	select {
	case <-time.After(time.Duration(part * float64(maxDelay))):
	case <-ctx.Done():
	}
}
