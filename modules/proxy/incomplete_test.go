package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
)

// TestAnIncompleteResponseIsLost: its client gets a part, and has to learn that it is one. The ends of event streams, and clients that leave, are no loss.
func TestAnIncompleteResponseIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		header map[string]string // of the response
		length int               // of the part that is sent
		leaves bool              // the client, and not the endpoint
		lost   uint64
	}{
		"with a length":   {map[string]string{"Content-Length": "100"}, 50, false, 1},
		"a long one":      {map[string]string{"Content-Length": strconv.Itoa(8 << 20)}, 4 << 20, false, 1}, // the kernel copies it
		"in chunks":       {nil, 5000, false, 1},
		"before the body": {map[string]string{"Content-Length": "100"}, 0, false, 1},
		"events":          {map[string]string{"Content-Type": "text/event-stream; charset=utf-8"}, 50, false, 0},
		"the client left": {nil, 50, true, 0},
		"complete":        {map[string]string{"Content-Length": "50"}, 50, false, 0},
	} {
		for sender, options := range map[string]string{"edge_proxy": "", "reverse_proxy": "{\n verbose_logs \n}"} {
			t.Run(name+" by "+sender, func(t *testing.T) {
				hasLeft := make(chan struct{})
				b := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/part" {
						return
					}
					for field, value := range c.header {
						w.Header().Set(field, value)
					}
					_, _ = w.Write(make([]byte, c.length))
					_ = http.NewResponseController(w).Flush()
					if c.leaves {
						<-r.Context().Done()
						close(hasLeft)
					}
					panic(http.ErrAbortHandler)
				}).start(t)
				log := filepath.Join(t.TempDir(), "log")
				s := &site{static: map[string][]string{"api:80": {b.address}}, logLevel: "WARN", logOptions: "\t\toutput file " + log + "\n"}
				s.start(t, "edge_proxy api:80 "+options)
				s.eventuallyResponds(t, "/", "")
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/part", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if c.leaves {
					leave()
					<-hasLeft
				}
				n, err := io.Copy(io.Discard, resp.Body)
				if isWhole := name == "complete"; !c.leaves && (int(n) != c.length || isWhole != (err == nil)) {
					t.Errorf("the client got %d bytes, and %v", n, err)
				}
				eventually(t, func() bool { return edge.Snapshot()[0].InFlight == 0 }, "the request does not end")
				if got, want := edge.Snapshot()[0].Lost, (registry.Lost{Incomplete: c.lost}); got != want {
					t.Errorf("lost: %+v, want %+v", got, want)
				}
				if options != "" {
					return // reverse_proxy logs it, too
				}
				stopCaddy(t) // which waits for the end of the handler
				warnings := 0
				if name != "the client left" && name != "complete" {
					warnings = 1
				}
				text, err := os.ReadFile(log)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				if n := strings.Count(string(text), `"msg":"a response was incomplete"`) + strings.Count(string(text), `"msg":"aborting with incomplete response"`); n != warnings {
					t.Errorf("the log has\n%s\nwant %d warnings", text, warnings)
				}
			})
		}
	}
}

// TestIncompleteResponsesInEachVersion of HTTP: the client gets an error, and one that leaves is no loss. A stream of events is one, whatever the configuration makes of its headers.
func TestIncompleteResponsesInEachVersion(t *testing.T) {
	hasLeft, hasResponse := make(chan struct{}, 1), make(chan struct{})
	b := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ends":
			w.Header().Set("Content-Length", "1000000")
		case "/events":
			w.Header().Set("Content-Type", "Text/Event-Stream")
		case "/left":
		default:
			return
		}
		_, _ = w.Write(make([]byte, 100_000))
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/left" {
			<-r.Context().Done()
			hasLeft <- struct{}{}
		} else {
			<-hasResponse
		}
		panic(http.ErrAbortHandler)
	}).start(t)
	url := serveTLS(t, b.address, "handle {\n edge_proxy api:80 {\n header_down -Content-Type\n}\n}\n")
	for version, client := range transportPerVersion(t) {
		lost := func() registry.Lost { return edge.Snapshot()[0].Lost }
		before := lost()
		for _, path := range []string{"/ends", "/events", "/left"} {
			ctx, leave := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s %s: %v", version, path, err)
			}
			if path == "/left" {
				leave()
				<-hasLeft
			} else {
				hasResponse <- struct{}{}
			}
			if _, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Errorf("%s %s: the client takes the response for complete", version, path)
			}
			resp.Body.Close()
			leave()
			eventually(t, func() bool { return edge.Snapshot()[0].InFlight == 0 }, version+" "+path+" does not end")
		}
		want := before
		want.Incomplete++
		if got := lost(); got != want {
			t.Errorf("%s: lost %+v, want %+v", version, got, want)
		}
	}
}

// TestABrokenSocketIsNoIncompleteResponse: a WebSocket over HTTP/3, which reverse_proxy copies, ends with a reset of its container.
func TestABrokenSocketIsNoIncompleteResponse(t *testing.T) {
	hasRead := make(chan struct{})
	b := newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
		<-hasRead
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
	url := serveTLS(t, b.address, "edge_proxy api:80")
	fromClient, send := io.Pipe()
	defer send.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, url+"/socket", fromClient)
	if err != nil {
		t.Fatal(err)
	}
	req.Proto = "websocket" // extended CONNECT, RFC 9220
	resp, err := transportPerVersion(t)["HTTP/3.0"].RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text := make([]byte, len("hello"))
	if _, err := io.ReadFull(resp.Body, text); err != nil || resp.StatusCode != http.StatusOK || string(text) != "hello" {
		t.Errorf("got %d, %q, %v", resp.StatusCode, text, err)
	}
	close(hasRead)
	_, _ = io.Copy(io.Discard, resp.Body) // until it ends
	eventually(t, func() bool { return edge.Snapshot()[0].InFlight == 0 && edge.Snapshot()[0].Sockets == 0 }, "the socket does not end")
	if lost := edge.Snapshot()[0].Lost; lost != (registry.Lost{}) {
		t.Errorf("lost: %+v", lost)
	}
}
