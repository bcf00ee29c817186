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

func TestAnAnswerOfTheEngineHasAnEnd(t *testing.T) {
	line := strings.Repeat("x", 1000) + "\n"
	for _, c := range []struct {
		path string
		body io.Reader
		read int64 // all of it can be; -1: it can't
	}{
		{"/v1.41/containers/json", io.LimitReader(endless{}, longestAnswer), longestAnswer},
		{"/v1.41/containers/json", io.LimitReader(endless{}, longestAnswer+1), -1},
		{"/v1.41/containers/json", io.LimitReader(endless{}, 100*longestAnswer), -1},
		{"/v1.41/events", strings.NewReader(strings.Repeat(line, 2*longestAnswer/len(line))), int64(2 * longestAnswer / len(line) * len(line))},
		{"/v1.41/events", io.MultiReader(strings.NewReader(line), io.LimitReader(endless{}, 2*longestEvent)), -1},
		{"/v1.41/events", io.MultiReader(io.LimitReader(endless{}, longestEvent/2), strings.NewReader("\n"), io.LimitReader(endless{}, longestEvent)), longestEvent*3/2 + 1},
	} {
		engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, c.body) // the client may leave
		}))
		transport, err := newBoundedTransport("tcp://" + engine.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Get("http://docker" + c.path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if c.read < 0 && !errors.Is(err, errTooLong) || c.read >= 0 && (err != nil || n != c.read) {
			t.Errorf("%s: %d bytes, %v, want %d", c.path, n, err, c.read)
		}
		resp.Body.Close()
		transport.CloseIdleConnections()
		engine.Close()
	}
	if _, err := newBoundedTransport("nowhere"); err == nil {
		t.Error("an endpoint that is none is taken for one")
	}
}

func TestAnEngineBehindASocketIsReached(t *testing.T) {
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
	transport, err := newBoundedTransport("unix://" + socket)
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

// endless is read without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
