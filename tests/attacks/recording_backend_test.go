package attacks

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// recordingBackend is a backend that records the requests that it gets.
type recordingBackend struct {
	ln net.Listener

	mu       sync.Mutex
	recorded []*recordedRequest
}

// recordedRequest is a request as a backend got it.
type recordedRequest struct {
	head    string // all lines before the body
	path    string
	headers http.Header
	body    string
}

// hosts returns the values of all Host lines.
func (e *recordedRequest) hosts() (all []string) {
	for line := range strings.Lines(e.head) {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Host") {
			all = append(all, strings.TrimSpace(value))
		}
	}
	return all
}

func newRecordingBackend() (*recordingBackend, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &recordingBackend{ln: ln}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.serve(conn)
		}
	}()
	return w, nil
}

func (w *recordingBackend) serve(conn net.Conn) {
	defer conn.Close()
	var raw bytes.Buffer
	r := bufio.NewReader(io.TeeReader(conn, &raw))
	for {
		raw.Reset()
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		head, _, _ := strings.Cut(raw.String(), "\r\n\r\n")
		w.mu.Lock()
		w.recorded = append(w.recorded, &recordedRequest{head: head, path: req.RequestURI, headers: req.Header, body: string(body)})
		w.mu.Unlock()
		// The edge's probe of Corteza expects this line.
		const answer = "PASS Primary store\n"
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	}
}

// probePaths are the paths that the edge's own probes request.
var probePaths = map[string]bool{"/api/system_db": true, "/healthcheck": true, "/": true}

// takeRecorded returns the requests since the last call, without the edge's probes.
func (w *recordingBackend) takeRecorded() []*recordedRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*recordedRequest
	for _, e := range w.recorded {
		if !probePaths[e.path] {
			all = append(all, e)
		}
	}
	w.recorded = nil
	return all
}
