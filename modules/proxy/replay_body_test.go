package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestAResponseTimeoutIs504AndIsNotRetried(t *testing.T) {
	var requests atomic.Int32
	slow := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}).start(t)
	s := serveReady(t, "edge_proxy api:80 {\n timeouts {\n response 200ms\n }\n}", slow.address)
	if status, _, _ := s.send(t, http.MethodGet, "/", nil); status != http.StatusGatewayTimeout {
		t.Errorf("got %d, want 504", status)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("the backend got %d requests, want 1", n)
	}
}

func TestASlowUploadIsNoResponseTimeout(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	s := serveReady(t, "edge_proxy api:80 {\n timeouts {\n response 200ms\n }\n}", a.address)
	pipe, feed := io.Pipe()
	go func() {
		for range 10 {
			<-time.After(60 * time.Millisecond)
			if _, err := feed.Write([]byte("x")); err != nil {
				return
			}
		}
		feed.Close()
	}()
	resp, err := http.Post(s.url, "text/plain", pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || string(text) != "a POST 10" {
		t.Errorf("got %q, %v", text, err)
	}
}

// TestABodyOverTheLimitGets413 has sanitize_request, like the shipped Caddyfile. request_body itself refuses a long Content-Length,
// and without sanitize_request a client that is still sending may get a reset instead of the response.
func TestABodyOverTheLimitGets413(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	s := serveReady(t, "sanitize_request\nrequest_body {\n max_size 1KB\n}\nedge_proxy api:80", a.address)
	for _, size := range []int{2 << 10, 200 << 10} {
		for _, isChunked := range []bool{false, true} {
			req, err := http.NewRequest(http.MethodPost, s.url, bytes.NewReader(make([]byte, size)))
			if err != nil {
				t.Fatal(err)
			}
			if isChunked { // the limit is noticed while the body is sent to the backend
				req.ContentLength = -1
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatalf("%d bytes, chunked %t: %v", size, isChunked, err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%d bytes, chunked %t: got %d, want 413", size, isChunked, resp.StatusCode)
			}
		}
	}
	s.eventuallyResponds(t, "/", "a GET") // the endpoint is still ready
}

// TestAShortBodyOfUnknownLengthIsReplayable: over HTTP/3, every GET has such a body.
func TestAShortBodyOfUnknownLengthIsReplayable(t *testing.T) {
	aborting := newAbortingBackend(t)
	good := newBackend(t, echo("good")).start(t)
	s := serveReady(t, "edge_proxy api:80 {\n retry_budget off\n}", aborting.address, good.address) // one client alone ejects no endpoint
	for _, size := range []int{0, 5, 64 << 10} {
		for range 10 {
			req, err := http.NewRequest(http.MethodPut, s.url, io.MultiReader(bytes.NewReader(make([]byte, size)))) // chunked
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = -1
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if size == 64<<10 { // the buffer is full, and the body may be longer: it is streamed and can't be sent again
				continue
			}
			if want := fmt.Sprintf("good PUT %d", size); err != nil || string(text) != want {
				t.Fatalf("got %d %q, %v; want %q", resp.StatusCode, text, err, want)
			}
		}
	}
	if aborting.requests.Load() == 0 {
		t.Error("the aborting endpoint got no request")
	}
}

func TestALongBodyOfUnknownLengthArrivesWhole(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	s := serveReady(t, "edge_proxy api:80", a.address)
	req, err := http.NewRequest(http.MethodPut, s.url, io.MultiReader(bytes.NewReader(make([]byte, 300<<10))))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != fmt.Sprintf("a PUT %d", 300<<10) {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestABackendThatStopsReadingTimesOut(t *testing.T) {
	stuck := newBackend(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }).start(t)
	s := serveReady(t, "edge_proxy api:80 {\n timeouts {\n response 300ms\n }\n}", stuck.address)
	req, err := http.NewRequest(http.MethodPost, s.url, bytes.NewReader(make([]byte, 64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	startedAt := time.Now()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("got %d, want 504", resp.StatusCode)
		}
	}
	if took := time.Since(startedAt); took > 5*time.Second {
		t.Errorf("the request failed after %s, want less than 5s", took)
	}
}
