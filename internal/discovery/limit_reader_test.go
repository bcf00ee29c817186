package discovery

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/client"
)

func TestEngineResponsesAreLimitedInSize(t *testing.T) {
	line := strings.Repeat("x", 1000) + "\n"
	for _, c := range []struct {
		path string
		body io.Reader
		size int64 // of the body; -1: reading it must fail
	}{
		{"/v1.41/containers/json", io.LimitReader(endlessReader{}, maxResponseSize), maxResponseSize},
		{"/v1.41/containers/json", io.LimitReader(endlessReader{}, maxResponseSize+1), -1},
		{"/v1.41/containers/json", io.LimitReader(endlessReader{}, 100*maxResponseSize), -1},
		{"/v1.41/events", strings.NewReader(strings.Repeat(line, 2*maxResponseSize/len(line))), int64(2 * maxResponseSize / len(line) * len(line))},
		{"/v1.41/events", io.MultiReader(strings.NewReader(line), io.LimitReader(endlessReader{}, 2*maxEventSize)), -1},
		{"/v1.41/events", io.MultiReader(io.LimitReader(endlessReader{}, maxEventSize/2), strings.NewReader("\n"), io.LimitReader(endlessReader{}, maxEventSize)), maxEventSize*3/2 + 1},
	} {
		engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, c.body) // the client may close the connection
		}))
		transport, err := newLimitTransport("tcp://" + engine.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Get("http://docker" + c.path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if c.size < 0 && !errors.Is(err, errResponseTooLarge) || c.size >= 0 && (err != nil || n != c.size) {
			t.Errorf("%s: read %d bytes, error %v, want %d bytes", c.path, n, err, c.size)
		}
		resp.Body.Close()
		transport.CloseIdleConnections()
		engine.Close()
	}
	if _, err := newLimitTransport("nowhere"); err == nil {
		t.Error("newLimitTransport accepts an invalid Docker host")
	}
}

func TestEngineOnUnixSocketIsReached(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	engine := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.41")
	})}}
	engine.Start()
	defer engine.Close()
	transport, err := newLimitTransport("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	api, err := client.New(client.WithHost("unix://"+socket), client.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(t.Context(), api); err != nil {
		t.Error(err)
	}
}

// endlessReader returns data without end.
type endlessReader struct{}

func (endlessReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
