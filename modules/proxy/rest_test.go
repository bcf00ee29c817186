package proxy_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// longBody is a body of which the kernel copies the rest to the client's connection.
func longBody() []byte {
	body := make([]byte, 8<<20)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	return body
}

// TestLongBodiesArrive: over HTTP/1.1, and through a handler that changes the body.
func TestLongBodiesArrive(t *testing.T) {
	body := longBody()
	b := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}).start(t)
	s := serveReady(t, "handle /encoded {\n encode gzip\n edge_proxy api:80\n}\nhandle {\n edge_proxy api:80\n}", b.address)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	for range 3 { // on one connection
		for _, path := range []string{"/", "/encoded"} {
			req, err := http.NewRequest(http.MethodGet, s.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "gzip")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			reader := io.Reader(resp.Body)
			isEncoded := resp.Header.Get("Content-Encoding") == "gzip"
			if isEncoded {
				if reader, err = gzip.NewReader(resp.Body); err != nil {
					t.Fatal(err)
				}
			}
			got, err := io.ReadAll(reader)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, body) || isEncoded != (path == "/encoded") {
				t.Errorf("%s: %d bytes, encoded: %t, %v; want the %d of the body", path, len(got), isEncoded, err, len(body))
			}
		}
	}
	if _, text, header := s.send(t, http.MethodHead, "/", nil); text != "" || header.Get("Content-Length") != strconv.Itoa(len(body)) {
		t.Errorf("HEAD: %d bytes, %v", len(text), header)
	}
}

// TestALongBodyThatBreaksOffIsSeen: the client does not take a part for the whole, and the next request gets all of it.
func TestALongBodyThatBreaksOffIsSeen(t *testing.T) {
	body := longBody()
	var breaks atomic.Bool
	b := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		if breaks.Load() {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body[len(body)/2:])
	}).start(t)
	s := serveReady(t, "edge_proxy api:80", b.address)
	for _, isBroken := range []bool{true, false} {
		breaks.Store(isBroken)
		resp, err := http.Get(s.url)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if isBroken != (err != nil) || isBroken == bytes.Equal(got, body) {
			t.Errorf("broken: %t; got %d bytes, %v", isBroken, len(got), err)
		}
	}
}

// TestAPauseOfTheEndpointIsNotTheClients: the time in which a client must take a part of the response does not count while the endpoint has none.
func TestAPauseOfTheEndpointIsNotTheClients(t *testing.T) {
	body := longBody()
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		for part := range slices.Chunk(body, len(body)/4) {
			_, _ = w.Write(part)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(500 * time.Millisecond)
		}
	}).start(t)
	ready := watchState(t, b.address, registry.Ready)
	s := &site{static: map[string][]string{"api:80": {b.address}}, globalOptions: "\tservers {\n timeouts {\n write_idle 200ms\n }\n }"}
	s.start(t, "edge_proxy api:80")
	<-ready
	resp, err := http.Get(s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v; want the %d of the body", len(got), err, len(body))
	}
}
