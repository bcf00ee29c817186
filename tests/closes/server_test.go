package closes

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// idle is how long the servers keep an idle connection.
const idle = 50 * time.Millisecond

// server is a program that serves HTTP on several ports.
type server struct {
	*journal
	kind      kind
	addresses []string

	process *harness.Process
}

// kind is a kind of server.
type kind struct {
	name    string
	first   int // as in journal
	command func(t *testing.T, s *server) *exec.Cmd
}

var kinds = []kind{
	{"Go", 1, func(t *testing.T, s *server) *exec.Cmd { return goCommand(t, s, "") }},
	{"Go, which resets", 1, func(t *testing.T, s *server) *exec.Cmd { return goCommand(t, s, "reset") }},
	{"Node", 1, func(t *testing.T, s *server) *exec.Cmd { return nodeCommand(s, "") }},
	{"Node, which calls end()", 1, func(t *testing.T, s *server) *exec.Cmd { return nodeCommand(s, "end") }},
	{"nginx", 1, nginxCommand},
	{"Apache", 0, apacheCommand},
}

// start starts a server of the kind.
func (k kind) start(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { // Apache and nginx give up their rights
		t.Fatal(err)
	}
	s := &server{kind: k, journal: newJournal(t, filepath.Join(dir, "journal"), k.first)}
	for range workers {
		s.addresses = append(s.addresses, testport.Address(t))
	}
	s.run(t)
	return s
}

// run starts the program, and waits until it serves all ports.
func (s *server) run(t *testing.T) {
	t.Helper()
	s.process = harness.StartProcess(t, s.kind.command(t, s))
	for _, address := range s.addresses {
		harness.EventuallyWithin(t, 30*time.Second, s.kind.name+" listens", func() bool {
			if s.process.HasEnded() {
				t.Fatalf("%s has ended:\n%s", s.kind.name, s.process.Output())
			}
			conn, err := net.Dial("tcp", address)
			if err == nil {
				err = conn.Close()
			}
			return err == nil
		})
	}
}

// kill ends the program as a crash does.
func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.process.Stop(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// --- Go -------------------------------------------------------------------------------------------------------------

const goServerVariable = "EDGE_TEST_CLOSES_SERVER"

// goCommand returns the command of the server in Go, which closes idle connections, or, with the mode reset, resets them.
func goCommand(t *testing.T, s *server, mode string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), goServerVariable+"="+strings.Join(s.addresses, ","), "JOURNAL="+s.path, "MODE="+mode)
	return cmd
}

// resetter resets connections that are idle for some time (RST, instead of FIN).
type resetter struct {
	mu     sync.Mutex
	timers map[net.Conn]*time.Timer
}

// note is the ConnState of a server.
func (r *resetter) note(conn net.Conn, state http.ConnState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if timer := r.timers[conn]; timer != nil {
		timer.Stop()
		delete(r.timers, conn)
	}
	if state == http.StateIdle {
		r.timers[conn] = time.AfterFunc(idle, func() {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close() // it may have begun to serve a request
		})
	}
}

// connKey is the key of the number of requests on a connection in its context.
type connKey struct{}

// serveGo is the main function of the server in Go.
func serveGo(addresses string) int {
	file, err := os.OpenFile(os.Getenv("JOURNAL"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ended := make(chan error)
	for address := range strings.SplitSeq(addresses, ",") {
		srv := &http.Server{
			Addr: address, IdleTimeout: idle,
			ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
				return context.WithValue(ctx, connKey{}, new(int))
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				n := r.Context().Value(connKey{}).(*int)
				*n++
				if _, err := fmt.Fprintf(file, "%s %d\n", r.URL.Query().Get("id"), *n); err != nil {
					panic(err)
				}
				_, _ = io.WriteString(w, "done")
			}),
		}
		if os.Getenv("MODE") == "reset" {
			r := &resetter{timers: make(map[net.Conn]*time.Timer)}
			srv.IdleTimeout, srv.ConnState = time.Hour, r.note
		}
		go func() { ended <- srv.ListenAndServe() }()
	}
	fmt.Fprintln(os.Stderr, <-ended)
	return 1
}

// --- Node -----------------------------------------------------------------------------------------------------------

func nodeCommand(s *server, mode string) *exec.Cmd {
	cmd := exec.Command("node", "server.js")
	cmd.Env = append(os.Environ(), "JOURNAL="+s.path, "ADDRESSES="+strings.Join(s.addresses, ","), "MODE="+mode,
		fmt.Sprintf("IDLE=%d", idle.Milliseconds()))
	return cmd
}

// --- nginx and Apache -----------------------------------------------------------------------------------------------

func nginxCommand(t *testing.T, s *server) *exec.Cmd {
	t.Helper()
	return containerCommand(t, s, "edge-test/nginx:test", fmt.Sprintf(`user www-data;
worker_processes 2;
pid /tmp/nginx.pid;
error_log stderr notice;
events {
	worker_connections 1024;
}
http {
	keepalive_timeout %dms;
	keepalive_requests 1000000;
	log_format id '$arg_id $connection_requests';
	access_log /closes/journal id;
	server {
		%s
		location / {
			return 200 done;
		}
	}
}
`, idle.Milliseconds(), strings.Join(eachAddress(s, "listen %s;"), "\n\t\t")), "nginx", "-g", "daemon off;", "-c", "/closes/config")
}

func apacheCommand(t *testing.T, s *server) *exec.Cmd {
	t.Helper()
	return containerCommand(t, s, "edge-test/apache:test", fmt.Sprintf(`ServerName localhost
PidFile /tmp/apache2.pid
ErrorLog /dev/stderr
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so
%s
KeepAlive On
KeepAliveTimeout %dms
MaxKeepAliveRequests 0
LogFormat "%%q %%k" id
CustomLog /closes/journal id
RewriteEngine On
RewriteRule ^ - [R=204,L]
`, strings.Join(eachAddress(s, "Listen %s"), "\n"), idle.Milliseconds()), "apache2", "-DFOREGROUND", "-f", "/closes/config")
}

func eachAddress(s *server, format string) (lines []string) {
	for _, address := range s.addresses {
		lines = append(lines, fmt.Sprintf(format, address))
	}
	return lines
}

// containerCommand returns the command of a container in the network of the machine, with a configuration.
func containerCommand(t *testing.T, s *server, image, config string, command ...string) *exec.Cmd {
	t.Helper()
	dir := filepath.Dir(s.path)
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	name := "edge-test-closes-" + strings.ToLower(s.kind.name)
	remove := func() { _ = exec.Command("docker", "rm", "--force", name).Run() } // there may be none
	remove()
	t.Cleanup(remove)
	return exec.Command("docker", append([]string{
		"run", "--rm", "--name", name, "--network", "host", "--volume", dir + ":/closes", image,
	}, command...)...)
}
