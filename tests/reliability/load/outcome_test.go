package load

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
)

// closeConn closes the connection without a response.
func closeConn(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

func respondWith(code int, backend string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if backend != "" {
			w.Header().Set(BackendHeader, backend)
		}
		w.WriteHeader(code)
	}
}

func TestOutcomesOfResponsesAndErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   Outcome
	}{
		{"the application answers", respondWith(200, "a"), Answered},
		{"the application fails", respondWith(503, "a"), Wrong},
		{"a proxy has no backend", respondWith(503, ""), Refused},
		{"a proxy has too many requests", respondWith(429, ""), Refused},
		{"a proxy gets no response", respondWith(502, ""), Unknown},
		{"a proxy's timeout", respondWith(504, ""), Unknown},
		{"a proxy has no such site", respondWith(404, ""), Wrong},
		{"a page of the proxy itself", respondWith(200, ""), Wrong},
		{"the connection is closed", closeConn, Unknown},
		{"the client's timeout", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // otherwise net/http does not notice that the client leaves
			<-r.Context().Done()
		}, Unknown},
		{"an incomplete response", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(BackendHeader, "a")
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			closeConn(w, r)
		}, Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			s := Stream{Address: server.Listener.Addr().String(), Host: "api", Timeout: 200 * time.Millisecond}
			got := s.Burst(t.Context(), 1, http.MethodPost).Samples[0]
			if got.Outcome != c.want {
				t.Errorf("%s (%s), want %s", got.Outcome, got.Detail, c.want)
			}
		})
	}
}

func TestUnreachableProxyCountsAsRefused(t *testing.T) {
	address := testport.Address(t)
	got := Stream{Address: address, Host: "api"}.Burst(t.Context(), 1, http.MethodPost).Samples[0]
	if got.Outcome != Refused {
		t.Errorf("%s (%s), want refused", got.Outcome, got.Detail)
	}
}

func TestCanceledRequestHasUnknownOutcome(t *testing.T) {
	arrived := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-arrived
		leave()
	}()
	got := Stream{Address: server.Listener.Addr().String(), Host: "api"}.Burst(ctx, 1, http.MethodGet).Samples[0]
	if got.Outcome != Unknown {
		t.Errorf("%s, want unknown", got.Outcome)
	}
}
