package attacks

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"
)

var edgeBinary string

// buildEdge builds the edge.
func buildEdge(dir string) error {
	edgeBinary = filepath.Join(dir, "edge")
	if out, err := exec.Command("go", "build", "-o", edgeBinary, "../../cmd/edge").CombinedOutput(); err != nil {
		return fmt.Errorf("build the edge: %w\n%s", err, out)
	}
	return nil
}

// target is a running edge with the shipped Caddyfile, for localhost.
type target struct {
	dir     string
	https   string // address
	http    string // address
	admin   *http.Client
	process *exec.Cmd
	ended   chan error
}

// startEdge runs the shipped Caddyfile. Nothing of it is changed but where the services are: all of them are the witness; and what
// change changes.
func startEdge(dir string, change func(config map[string]any)) (*target, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "admin.sock")
	env := append(os.Environ(), "DOMAIN=localhost", "HTTP_PORT="+ports[0], "HTTPS_PORT="+ports[1], "PUBLIC_HTTPS_PORT="+ports[1],
		"GOMEMLIMIT=460MiB", // what Caddy makes of the container's 512 MiB
		"EDGE_ADMIN=unix/"+socket, "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	adapt := exec.Command(edgeBinary, "adapt", "--config", "../../Caddyfile")
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
		static[name] = []string{backend.ln.Addr().String()}
	}
	config["apps"].(map[string]any)["edge"].(map[string]any)["static"] = static
	if change != nil {
		change(config)
	}
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
	t := &target{
		dir: dir, https: "127.0.0.1:" + ports[1], http: "127.0.0.1:" + ports[0],
		process: exec.Command(edgeBinary, "run", "--config", file), ended: make(chan error, 1),
	}
	t.admin = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
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
			return nil, errors.Join(fmt.Errorf("the edge does not serve: %v %v", got, err), t.stop())
		}
	}
}

var (
	takenMu sync.Mutex
	taken   = make(map[string]bool)
)

// freePorts returns ports that nobody listens on, and that it has not returned before: two edges can listen on one.
func freePorts(n int) (ports []string, err error) {
	takenMu.Lock()
	defer takenMu.Unlock()
	for len(ports) < n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		if err := ln.Close(); err != nil {
			return nil, err
		}
		if !taken[port] {
			taken[port] = true
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// stop ends the edge; an error says that it had ended before, with the last that it said.
func (t *target) stop() error {
	select {
	case err := <-t.ended:
		text, _ := os.ReadFile(filepath.Join(t.dir, "log"))
		return fmt.Errorf("the edge ended by itself: %v\n%s", err, text[max(0, len(text)-20_000):])
	default:
	}
	_ = t.process.Process.Kill() // it runs
	<-t.ended
	return nil
}

// resourceUsage is how much of a machine a process takes.
type resourceUsage struct {
	goroutines, files, memory int // the last in MiB
}

func (s resourceUsage) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %d MiB", s.goroutines, s.files, s.memory)
}

var usagePattern = regexp.MustCompile(`goroutine profile: total (\d+)|VmRSS:\s+(\d+) kB`)

// resourceUsage measures the edge.
func (t *target) resourceUsage() (resourceUsage, error) {
	resp, err := t.admin.Get("http://localhost/debug/pprof/goroutine?debug=1")
	if err != nil {
		return resourceUsage{}, err
	}
	defer resp.Body.Close()
	profile, err := io.ReadAll(resp.Body)
	if err != nil {
		return resourceUsage{}, err
	}
	proc := filepath.Join("/proc", strconv.Itoa(t.process.Process.Pid))
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return resourceUsage{}, err
	}
	files, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return resourceUsage{}, err
	}
	s := resourceUsage{files: len(files)}
	for _, match := range usagePattern.FindAllStringSubmatch(string(profile)+string(status), -1) {
		if match[1] != "" {
			s.goroutines, err = strconv.Atoi(match[1])
		} else if s.memory, err = strconv.Atoi(match[2]); err == nil {
			s.memory /= 1024
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
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
