package load

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

func TestTheRateIsKeptWhileNothingIsAnswered(t *testing.T) {
	harness.CheckNoLeaks(t)
	const enough = 30
	var arrived atomic.Int32
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if arrived.Add(1) == enough {
			close(release) // no request was answered before
		}
		<-release
		w.Header().Set(BackendHeader, "a")
	}))
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		<-release
		stop()
	}()
	const rate = 100
	r := Stream{Address: server.Listener.Addr().String(), Host: "api", Rate: rate}.Run(ctx)
	if len(r.Samples) < enough {
		t.Fatalf("%d requests are recorded, want all %d", len(r.Samples), enough)
	}
	first := r.Samples[0]
	for _, s := range r.Samples {
		if s.Outcome != Answered {
			t.Errorf("%s %s: %s", s.Method, s.Outcome, s.Detail)
		}
		if s.Due.Before(first.Due) {
			first = s
		}
	}
	if least := (enough - 2) * time.Second / rate; first.Took < least {
		t.Errorf("the first request took %s, want at least %s, because it waited for the others", first.Took, least)
	}
}

func TestMethodsAreMixed(t *testing.T) {
	harness.CheckNoLeaks(t)
	var mu sync.Mutex
	bodies := make(map[string]int64)
	ctx, stop := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies[r.Method] += n
		if len(bodies) == 4 {
			stop()
		}
		w.Header().Set(BackendHeader, "a")
	}))
	defer server.Close()
	Stream{Address: server.Listener.Addr().String(), Host: "api", Rate: 500}.Run(ctx)
	for method, want := range map[string]bool{"GET": false, "DELETE": false, "PUT": true, "POST": true} {
		if n, ok := bodies[method]; !ok || (n > 0) != want {
			t.Errorf("%s: arrived %t with %d bytes of bodies; want bodies %t", method, ok, n, want)
		}
	}
}

// TestClosedKeepAliveConnectionsAreCounted: the client repeats an idempotent request, and counts it. It does not repeat a POST.
func TestClosedKeepAliveConnectionsAreCounted(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			var requests atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) == 2 {
					closeConn(w, r)
					return
				}
				w.Header().Set(BackendHeader, "a")
			}))
			defer server.Close()
			s := Stream{Address: server.Listener.Addr().String(), Host: "api"}
			client := s.client()
			defer client.CloseIdleConnections()
			s.send(t.Context(), client, http.MethodGet, 0, time.Now())
			got := s.send(t.Context(), client, method, 1, time.Now())
			if Idempotent(method) && (got.Outcome != Answered || got.Repeats != 1) {
				t.Errorf("%s after %d repeats (%s), want answered after one", got.Outcome, got.Repeats, got.Detail)
			}
			if !Idempotent(method) && (got.Outcome != Unknown || got.Repeats != 0) {
				t.Errorf("%s after %d repeats, want unknown after none", got.Outcome, got.Repeats)
			}
		})
	}
}
