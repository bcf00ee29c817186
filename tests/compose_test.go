package tests

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/tests/harness"
)

// project is a Compose project with an edge that a test runs.
type project struct {
	harness.Project
	http  string // ports of the edge on loopback
	https string
	admin string // "" if the admin API is not published
}

// container returns the ID of one of the service's containers.
func (p *project) container(t *testing.T, service string) string {
	t.Helper()
	id, _, _ := strings.Cut(p.MustCompose(t, "ps", "--all", "--quiet", service), "\n")
	if id == "" {
		t.Fatalf("%s has no container", service)
	}
	return id
}

// client returns an HTTP client that connects to the project's edge on loopback, whatever host and port the URL has: to the HTTPS
// port if the URL's port is 443, else to the HTTP port.
func (p *project) client(keepAlive bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives:   !keepAlive,
			MaxIdleConnsPerHost: 64,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // the internal authority is new in each run
			ForceAttemptHTTP2:   true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				port := p.http
				if strings.HasSuffix(addr, ":443") {
					port = p.https
				}
				return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
			},
		},
	}
}

// response is an HTTP response that has been read.
type response struct {
	status int
	header http.Header
	body   string
}

// get makes a GET request and fails the test if there is no answer.
func (p *project) get(t *testing.T, url string, header ...string) response {
	t.Helper()
	a, err := p.do(p.client(false), http.MethodGet, url, nil, header...)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return a
}

// do makes a request. header are names and values in turn.
func (p *project) do(c *http.Client, method, url string, body io.Reader, header ...string) (response, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return response{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header[header[i]] = []string{header[i+1]} // not canonicalized: tests send other spellings of a name
	}
	resp, err := c.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(text)}, err
}

// serviceStatuses returns the status of the edge's services, from `edge status` or from the published admin API.
func (p *project) serviceStatuses(t *testing.T) []registry.ServiceStatus {
	t.Helper()
	var text string
	if p.admin != "" {
		resp, err := http.Get("http://127.0.0.1:" + p.admin + "/edge/services")
		if err != nil {
			return nil // the edge starts or restarts
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil
		}
		text = string(body)
	} else {
		text = p.MustCompose(t, "exec", "-T", "edge", "edge", "status", "--json")
	}
	var all []registry.ServiceStatus
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return all
}

// serviceStatus returns the status of one service; the zero value if the edge does not know it.
func (p *project) serviceStatus(t *testing.T, name string) registry.ServiceStatus {
	t.Helper()
	for _, s := range p.serviceStatuses(t) {
		if s.Service == name {
			return s
		}
	}
	return registry.ServiceStatus{}
}

// shippedStack is the shipped compose.yaml with test images. The first test that needs it starts it.
type shippedStack struct {
	project
	once      sync.Once
	err       error
	dir       string
	isStarted bool
}

var shipped shippedStack

// stack returns the running shipped stack.
func stack(t *testing.T) *project {
	t.Helper()
	shipped.once.Do(func() { shipped.err = shipped.up() })
	if shipped.err != nil {
		t.Fatal(shipped.err)
	}
	return &shipped.project
}

// up writes a .env with `edge init`, as users do, and starts the stack.
func (s *shippedStack) up() error {
	var err error
	if s.dir, err = os.MkdirTemp("", "edge-stack-"); err != nil {
		return err
	}
	ports := make([]string, 2)
	for i := range ports {
		if ports[i], err = harness.ReservePort(); err != nil {
			return err
		}
	}
	env := filepath.Join(s.dir, ".env")
	if err := harness.WriteEnv(env, "localhost"); err != nil {
		return err
	}
	s.project = project{http: ports[0], https: ports[1], Project: harness.Project{
		Name: "edgetest", Files: []string{"../compose.yaml", "compose.test.yaml"},
		Env: []string{
			"COMPOSE_ENV_FILES=" + env, "PUBLISH_HTTP=127.0.0.1:" + ports[0], "PUBLISH_HTTPS=127.0.0.1:" + ports[1],
			"PUBLIC_HTTPS_PORT=" + ports[1],
		},
	}}
	if err := s.CheckNotKept(); err != nil {
		return err
	}
	s.isStarted = true
	_, err = s.Compose(context.Background(), "up", "--detach", "--quiet-pull")
	return err
}

// finish takes the stack down, if a test has brought it up.
func (s *shippedStack) finish(isFailed bool) error {
	if s.dir == "" {
		return nil
	}
	defer os.RemoveAll(s.dir)
	if !s.isStarted {
		return nil
	}
	return s.Finish(isFailed, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
}

// newProject returns a project that is named after the test and finished at its end. It is not started.
func newProject(t *testing.T, prefix string, files ...string) *project {
	t.Helper()
	name := "edge" + prefix + strings.ToLower(strings.NewReplacer("/", "", "_", "").Replace(t.Name()))
	p := &project{Project: harness.Project{Name: name, Files: files}, http: harness.FreePort(t)}
	p.Cleanup(t)
	return p
}

// newLab starts the stack of tests/lab for one test; env are more variables.
func newLab(t *testing.T, env ...string) *project {
	t.Helper()
	p := newProject(t, "lab", "lab/compose.yaml")
	p.admin = harness.FreePort(t)
	p.Env = append([]string{"LAB_HTTP=" + p.http, "LAB_ADMIN=" + p.admin}, env...)
	p.MustCompose(t, "up", "--detach")
	return p
}

// waitReady waits until the service has n ready endpoints.
func (p *project) waitReady(t *testing.T, service string, n int) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("%s has %d ready endpoints", service, n), func() bool {
		return p.serviceStatus(t, service).Ready == n
	})
}
