package healthcheck

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
)

// serve answers /health with 200, /health/ready with 503, and the rest after the test has ended.
func serve(t *testing.T, ln net.Listener) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health":
		case "/health/ready":
			http.Error(w, "not ready: web:80", http.StatusServiceUnavailable)
		default:
			<-r.Context().Done()
		}
	}))
	server.Listener = ln
	server.Start()
	t.Cleanup(server.Close)
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func check(t *testing.T, o Options, want string) {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	err := Run(t.Context(), o)
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%+v: %v, want %q", o, err, want)
	}
}

func TestTheSocketIsAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "health.sock")
	t.Setenv("EDGE_HEALTH", path)
	serve(t, listen(t, "unix", path))
	check(t, Options{}, "")
	check(t, Options{Ready: true}, "503 Service Unavailable: not ready: web:80")
}

func TestThePortIsAskedWithoutASocket(t *testing.T) {
	t.Setenv("EDGE_HEALTH", filepath.Join(t.TempDir(), "none.sock"))
	ln := listen(t, "tcp", "127.0.0.1:0")
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HTTP_PORT", port)
	serve(t, ln)
	check(t, Options{}, "")
	check(t, Options{Ready: true}, "503")
	check(t, Options{URL: "http://127.0.0.1:" + port + "/hangs", Timeout: 50 * time.Millisecond}, "deadline exceeded")
}

func TestAnEdgeThatDoesNotRunIsAnError(t *testing.T) {
	t.Setenv("EDGE_HEALTH", filepath.Join(t.TempDir(), "none.sock"))
	t.Setenv("HTTP_PORT", testport.Port(t))
	check(t, Options{}, "connection refused")
}
