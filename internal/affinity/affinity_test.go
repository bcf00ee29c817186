package affinity

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/engineio"
	"github.com/theworklabs/edge/internal/registry"
)

const handshakeBody = `0{"sid":"a"}`

// newTestBinder returns a binder for socket.io sessions of the service api:80, without cookies.
func newTestBinder(t *testing.T) *Binder {
	t.Helper()
	r := registry.New(registry.Options{})
	t.Cleanup(r.Close)
	service, err := r.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Service: service, Sessions: engineio.NewTable(0), Adopted: engineio.NewTable(0)})
}

func TestOnlyHandshakesAreSentWithoutAcceptEncoding(t *testing.T) {
	b := newTestBinder(t)
	for url, want := range map[string]string{
		"/?EIO=4&transport=polling":       "",
		"/?EIO=4&transport=polling&sid=a": "gzip",
		"/?EIO=4&transport=websocket":     "gzip",
		"/":                               "gzip",
	} {
		req := httptest.NewRequest(http.MethodGet, url, nil)
		req.Header.Set("Accept-Encoding", "gzip")
		if got := b.Bind(req).Request(req).Header.Get("Accept-Encoding"); got != want {
			t.Errorf("%s: got Accept-Encoding %q, want %q", url, got, want)
		}
		if req.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("%s: the client's request was changed", url)
		}
	}
}

func TestASessionIsLearnedOnlyFromAnUncompressedHandshake(t *testing.T) {
	for encoding, want := range map[string]string{"": "endpoint", "identity": "endpoint", "gzip": "", "br": ""} {
		b := newTestBinder(t)
		req := httptest.NewRequest(http.MethodGet, "/?EIO=4&transport=polling", nil)
		resp := &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Encoding": {encoding}},
			Body: io.NopCloser(strings.NewReader(handshakeBody)),
		}
		b.HandleResponse(req, b.Bind(req), "endpoint", resp)
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != handshakeBody {
			t.Errorf("%q: got the body %q, %v; want it unchanged", encoding, body, err)
		}
		poll := httptest.NewRequest(http.MethodGet, "/?EIO=4&transport=polling&sid=a", nil)
		if got := b.Bind(poll).SessionEndpoint; got != want {
			t.Errorf("%q: the session is bound to %q, want %q", encoding, got, want)
		}
	}
}
