package tests

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/socketio"
)

// TestDemoServesThreeSites runs the demo: one process, without Docker, with the shipped Caddyfile.
func TestDemoServesThreeSites(t *testing.T) {
	p := &harness.Project{HTTP: testport.Port(t), HTTPS: testport.Port(t)}
	temp := t.TempDir()
	cmd := exec.Command(harness.Edge(t), "demo", "--http-port", p.HTTP, "--https-port", p.HTTPS)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // if the test has failed before the demo's end
	lines := bufio.NewReader(out)
	printed := ""
	for !strings.Contains(printed, "Changes of the endpoints:") {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after the demo has printed %s", err, printed)
		}
		printed += line
	}
	rest := make(chan string)
	go func() {
		text, _ := io.ReadAll(lines)
		rest <- string(text)
	}()

	for url, want := range map[string]string{
		accounting + "/": "socket-state", accounting + "/api/accounts": "accounts", accounting + "/api/system_db": "ok",
		crm + "/": "Corteza", docs + "/": "<html", "https://status.localhost/": "Edge status", "https://status.localhost/main.js": "EventSource", "http://localhost/health": "pass", "http://localhost/health/ready": "pass",
	} {
		p.CheckGet(t, url, harness.Want{Status: http.StatusOK, Contains: want})
	}
	// The compressed size of a page would reveal its contents to another site (BREACH).
	for site, want := range map[string]string{"same-origin": "gzip", "none": "gzip", "cross-site": "", "": ""} {
		for _, url := range []string{accounting + "/", docs + "/"} {
			p.CheckGet(t, url, harness.Want{Header: map[string]string{"Content-Encoding": want}}, "Accept-Encoding", "gzip", "Sec-Fetch-Site", site)
		}
	}
	servers := make(map[string]bool)
	for range 40 {
		var accounts struct{ Server string }
		if err := json.Unmarshal([]byte(p.Get(t, accounting+"/api/accounts").Body), &accounts); err != nil {
			t.Fatal(err)
		}
		servers[accounts.Server] = true
	}
	if len(servers) != 2 {
		t.Errorf("40 requests reach the servers %v, want two", servers)
	}
	for _, path := range []string{"/socket", "/socket.io"} {
		client := socketio.EchoOptions{URL: accounting + ":" + p.HTTPS, Path: path, Transports: "websocket", Messages: 5}
		if err := socketio.Echo(client); err != nil {
			t.Error(err)
		}
	}

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	text := <-rest
	if err := cmd.Wait(); err != nil {
		t.Errorf("the demo exits on SIGINT with %v", err)
	}
	if !strings.Contains(printed, "bigcapital-server:3000") || !strings.Contains(printed, "ready") || !strings.Contains(text, "socket connected") {
		t.Errorf("the demo does not print what happens: %s%s", printed, text)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("the demo leaves files behind: %v %v", left, err)
	}
}

func TestDemoReportsAPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(harness.Edge(t), "demo", "--https-port", port)
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "edge: error: port "+port+" is in use by another program") || !strings.Contains(string(out), "edge: hint: ") {
		t.Errorf("%v %s", err, out)
	}
}
