package proxy_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/testport"
	_ "github.com/theworklabs/edge/modules/proxy"
)

// TestMain keeps Caddy's data out of the home directory.
func TestMain(m *testing.M) {
	var err error
	if storageDir, err = os.MkdirTemp("", "edge-proxy-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(storageDir)
	os.Exit(code)
}

var storageDir string

// site is a running Caddy with one site, and the static addresses of its services.
type site struct {
	url           string
	port          string
	static        map[string][]string
	globalOptions string // additional global options
	edgeOptions   string // additional lines of the option edge
	logOptions    string // additional lines of the default log
	logLevel      string // ERROR if it is empty
}

// serve runs Caddy with a site that has these directives, and services at static addresses.
func serve(t testing.TB, static map[string][]string, directives string) *site {
	t.Helper()
	return (&site{static: static}).start(t, directives)
}

// serveReady runs Caddy as serve does, with api:80 at these addresses, and waits until all of them are ready.
func serveReady(t testing.TB, directives string, addresses ...string) *site {
	t.Helper()
	var ready []<-chan struct{}
	for _, address := range addresses {
		ready = append(ready, watchState(t, address, registry.Ready))
	}
	s := serve(t, map[string][]string{"api:80": addresses}, directives)
	for _, isReady := range ready {
		<-isReady
	}
	return s
}

// start runs Caddy with the site.
func (s *site) start(t testing.TB, directives string) *site {
	t.Helper()
	s.port = testport.Port(t)
	s.url = "http://127.0.0.1:" + s.port
	s.load(t, directives)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// load loads or reloads the configuration.
func (s *site) load(t testing.TB, directives string) {
	t.Helper()
	var lines strings.Builder
	for service, addrs := range s.static {
		fmt.Fprintf(&lines, "\t\tstatic %s %s\n", service, strings.Join(addrs, " "))
	}
	text := fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tstorage file_system %s\n\tauto_https off\n\tgrace_period 1s\n\tskip_install_trust\n\tlog {\n\t\tlevel %s\n%s\t}\n"+
		"%s\n\tedge {\n\t\tresolver 127.0.0.1:1\n%s%s\n\t}\n}\n\n:%s {\n%s\n}\n", storageDir, cmp.Or(s.logLevel, "ERROR"), s.logOptions, s.globalOptions, &lines, s.edgeOptions, s.port, directives)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
}

// backend is an application at a fixed address that can be stopped and started. It keeps its port when it is stopped: a socket that is bound and does
// not listen refuses connections, and no other program gets the port.
type backend struct {
	address string
	handler http.Handler

	mu       sync.Mutex
	hasEnded bool // so has the test
	port     int
	socket   int // bound to the port; -1 if the server has it
	listener net.Listener
	server   *http.Server
}

func newBackend(t testing.TB, handler http.HandlerFunc) *backend {
	t.Helper()
	b := &backend{handler: handler, socket: -1}
	if err := b.bind(); err != nil {
		t.Fatal(err)
	}
	b.address = fmt.Sprintf("127.0.0.1:%d", b.port)
	t.Cleanup(func() {
		b.stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.hasEnded = true
		_ = unix.Close(b.socket)
	})
	return b
}

// bind binds a socket to the port, or the first time to any.
func (b *backend) bind() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	err = errors.Join(unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(socket, &unix.SockaddrInet4{Port: b.port, Addr: [4]byte{127, 0, 0, 1}}))
	if err != nil {
		return errors.Join(err, unix.Close(socket))
	}
	address, err := unix.Getsockname(socket)
	if err != nil {
		return errors.Join(err, unix.Close(socket))
	}
	b.port, b.socket = address.(*unix.SockaddrInet4).Port, socket
	return nil
}

// start listens. A backend that was not started refuses connections.
func (b *backend) start(t testing.TB) *backend {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hasEnded {
		return b
	}
	if b.socket < 0 {
		t.Fatal("the backend has started already")
	}
	if err := unix.Listen(b.socket, unix.SOMAXCONN); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(b.socket), "listener")
	ln, err := net.FileListener(file) // a duplicate
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	b.socket = -1
	server := &http.Server{Handler: b.handler}
	b.listener, b.server = ln, server
	go func() { _ = server.Serve(ln) }()
	return b
}

// stop closes the connections and refuses new ones, as the end of a process does.
func (b *backend) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server == nil || b.hasEnded {
		return
	}
	_ = b.listener.Close() // Serve may not have begun
	_ = b.server.Close()
	b.server = nil
	if err := b.bind(); err != nil {
		panic(err) // the tests own the port
	}
}

// echo responds with a name, the method and the length of the body.
func echo(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "%s %s %d", name, r.Method, len(body))
	}
}

// send sends a request on its own connection.
func (s *site) send(t testing.TB, method, path string, body []byte) (int, string, http.Header) {
	t.Helper()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequest(method, s.url+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// eventually waits until a condition holds.
func eventually(t testing.TB, condition func() bool, what string) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(10 * time.Second); !condition(); {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("timeout: %s", what)
		}
	}
}

// eventuallyResponds waits for a response that contains a text.
func (s *site) eventuallyResponds(t testing.TB, path, want string) {
	t.Helper()
	eventually(t, func() bool {
		_, text, _ := s.send(t, http.MethodGet, path, nil)
		return strings.Contains(text, want)
	}, path+" does not respond with "+want)
}

// stopCaddy stops Caddy before the end of the test.
func stopCaddy(t testing.TB) {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}

// adaptError returns the error of adapting a Caddyfile.
func adaptError(t testing.TB, text string) error {
	t.Helper()
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return err
}
