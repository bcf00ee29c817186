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
	"syscall"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// target is a running edge with the shipped Caddyfile and the domain localhost.
type target struct {
	*harness.Process
	https string // address
	http  string // address
	admin *http.Client
}

// startEdge runs the edge with the shipped Caddyfile. Only the addresses of the services differ: each is the recording backend.
// change may change more.
func startEdge(dir string, change func(config map[string]any)) (*target, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	var ports [2]string
	for i := range ports {
		var err error
		if ports[i], err = testport.Reserve(); err != nil {
			return nil, err
		}
	}
	binary, err := harness.EdgeBinary()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "admin.sock")
	env := append(os.Environ(), "DOMAIN=localhost", "HTTP_PORT="+ports[0], "HTTPS_PORT="+ports[1], "PUBLIC_HTTPS_PORT="+ports[1],
		"GOMEMLIMIT=460MiB", // what Caddy makes of the container's 512 MiB
		"EDGE_ADMIN=unix/"+socket, "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
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
	e := &target{https: "127.0.0.1:" + ports[1], http: "127.0.0.1:" + ports[0]}
	e.admin = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	run := exec.Command(binary, "run", "--config", file)
	run.Env = env
	if e.Process, err = harness.Start(run, filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	var answers []*http.Response
	waitErr := harness.EventuallyContext(context.Background(), 30*time.Second, "the edge serves", func() bool {
		answers, err = e.send("accounting.localhost", "GET /api/ready HTTP/1.1\r\nHost: accounting.localhost\r\nConnection: close\r\n\r\n")
		return err == nil && len(answers) == 1 && answers[0].StatusCode == http.StatusOK
	})
	if waitErr != nil {
		return nil, errors.Join(waitErr, fmt.Errorf("the last answers: %v, %v", answers, err), e.stop())
	}
	return e, nil
}

// stop kills the edge. If the edge had ended before, stop returns an error with the end of its log.
func (e *target) stop() error { return e.Stop(syscall.SIGKILL) }

// resourceUsage is what a process uses.
type resourceUsage struct {
	goroutines, files, memory int // memory in MiB
}

func (s resourceUsage) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %d MiB", s.goroutines, s.files, s.memory)
}

var usagePattern = regexp.MustCompile(`goroutine profile: total (\d+)|VmRSS:\s+(\d+) kB`)

// resourceUsage measures the edge.
func (e *target) resourceUsage() (resourceUsage, error) {
	resp, err := e.admin.Get("http://localhost/debug/pprof/goroutine?debug=1")
	if err != nil {
		return resourceUsage{}, err
	}
	defer resp.Body.Close()
	profile, err := io.ReadAll(resp.Body)
	if err != nil {
		return resourceUsage{}, err
	}
	proc := filepath.Join("/proc", strconv.Itoa(e.PID()))
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

// send sends bytes over TLS unchanged. It returns the answers that come until the edge closes the connection or sends nothing for
// 0.7 s.
func (e *target) send(host, raw string) ([]*http.Response, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", e.https, &tls.Config{
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
