// Package attacks tries to get past the shipped configuration: what a stranger sends to the edge, what a backend gets of it,
// byte for byte, and what comes back. `go test ./tests/attacks -v` prints it as a table.
package attacks

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	edge    *target
	backend *witness
)

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("tests/attacks: -short: left out; they run the edge")
		os.Exit(0)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "edge-attacks-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if backend, err = newWitness(); err == nil {
		edge, err = start(dir, backend.ln.Addr().String())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := edge.stop(); err != nil {
		fmt.Fprintf(os.Stderr, "the edge ended by itself: %v\n", err)
		text, _ := os.ReadFile(filepath.Join(dir, "log"))
		fmt.Fprintf(os.Stderr, "%s\n", text)
		return 1
	}
	return code
}

// target is a running edge with the shipped Caddyfile, for localhost.
type target struct {
	https   string // address
	process *exec.Cmd
	ended   chan error
}

// start builds the edge and runs the shipped Caddyfile. Nothing of it is changed but where the services are: all of them
// are one address.
func start(dir, service string) (*target, error) {
	binary := filepath.Join(dir, "edge")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/edge").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the edge: %w\n%s", err, out)
	}
	ports := make([]string, 2)
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		_, ports[i], _ = net.SplitHostPort(ln.Addr().String())
		if err := ln.Close(); err != nil {
			return nil, err
		}
	}
	env := append(os.Environ(), "DOMAIN=localhost", "HTTP_PORT="+ports[0], "HTTPS_PORT="+ports[1], "PUBLIC_HTTPS_PORT="+ports[1],
		"EDGE_ADMIN=unix/"+filepath.Join(dir, "admin.sock"), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	adapt := exec.Command(binary, "adapt", "--config", "../../Caddyfile")
	adapt.Env = env
	text, err := adapt.Output()
	if err != nil {
		return nil, fmt.Errorf("adapt the Caddyfile: %w", err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	static := make(map[string][]string)
	for _, name := range []string{"bigcapital-server:3000", "bigcapital-webapp:80", "corteza-server:80", "corteza-docs:80"} {
		static[name] = []string{service}
	}
	config["apps"].(map[string]any)["edge"].(map[string]any)["static"] = static
	if text, err = json.Marshal(config); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "edge.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	t := &target{https: "127.0.0.1:" + ports[1], process: exec.Command(binary, "run", "--config", file), ended: make(chan error, 1)}
	t.process.Env = env
	t.process.Stdout, t.process.Stderr = log, log
	if err := t.process.Start(); err != nil {
		return nil, err
	}
	go func() { t.ended <- t.process.Wait() }()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got, err := t.send("accounting.localhost", "GET /api/ready HTTP/1.1\r\nHost: accounting.localhost\r\nConnection: close\r\n\r\n")
		if err == nil && len(got) == 1 && got[0].StatusCode == http.StatusOK {
			return t, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the edge does not serve: %v %v", got, err)
		}
	}
}

// stop ends the edge; an error says that it had ended before.
func (t *target) stop() error {
	select {
	case err := <-t.ended:
		return fmt.Errorf("exit: %v", err)
	default:
	}
	_ = t.process.Process.Kill() // it runs
	<-t.ended
	return nil
}

// send sends bytes over TLS as they are, and returns the answers until the edge closes or is silent for a while.
func (t *target) send(host, raw string) ([]*http.Response, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", t.https, &tls.Config{
		ServerName: host, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"},
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		return nil, err
	}
	var answers []*http.Response
	r := bufio.NewReader(conn)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(700 * time.Millisecond)); err != nil {
			return answers, err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return answers, nil // closed, or silent
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return answers, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		answers = append(answers, resp)
	}
}

// witness is a backend that keeps what it gets.
type witness struct {
	ln net.Listener

	mu   sync.Mutex
	seen []*exchange
}

// exchange is a request as a backend got it.
type exchange struct {
	head    string // all lines before the body
	path    string
	headers http.Header
	body    string
}

func newWitness() (*witness, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &witness{ln: ln}
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

func (w *witness) serve(conn net.Conn) {
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
		w.seen = append(w.seen, &exchange{head: head, path: req.RequestURI, headers: req.Header, body: string(body)})
		w.mu.Unlock()
		// Corteza's probe wants this line.
		const answer = "PASS Primary store\n"
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	}
}

// probes are what the edge itself asks.
var probes = map[string]bool{"/api/system_db": true, "/healthcheck": true, "/": true}

// saw returns what the backend has got since the last call, but for the edge's probes.
func (w *witness) saw() []*exchange {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*exchange
	for _, e := range w.seen {
		if !probes[e.path] {
			all = append(all, e)
		}
	}
	w.seen = nil
	return all
}
