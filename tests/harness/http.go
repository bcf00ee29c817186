package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// Client returns an HTTP client that connects to the project's edge on loopback, whatever host and port the URL has: to the HTTPS
// port if the URL's port is 443, else to the HTTP port. It follows no redirect. With roots nil, it accepts every certificate: the
// edge's internal authority is new in each run.
func (p *Project) Client(keepAlive bool, roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives:   !keepAlive,
			MaxIdleConnsPerHost: 64,
			TLSClientConfig:     &tls.Config{RootCAs: roots, InsecureSkipVerify: roots == nil},
			ForceAttemptHTTP2:   true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				port := p.HTTP
				if strings.HasSuffix(addr, ":443") {
					port = p.HTTPS
				}
				return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
			},
		},
	}
}

// Response is an HTTP response that has been read.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// Do makes a request. header are names and values in turn.
func Do(c *http.Client, method, url string, body io.Reader, header ...string) (Response, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return Response{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header[header[i]] = []string{header[i+1]} // not canonicalized: tests send other spellings of a name
	}
	resp, err := c.Do(req)
	if err != nil {
		return Response{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return Response{resp.StatusCode, resp.Header, string(text)}, err
}

// Get makes a GET request to the project's edge and fails the test if there is no answer.
func (p *Project) Get(t testing.TB, url string, header ...string) Response {
	t.Helper()
	a, err := Do(p.Client(false, nil), http.MethodGet, url, nil, header...)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return a
}

// WaitForStatus waits until the project's edge answers a GET request with a status.
func (p *Project) WaitForStatus(t testing.TB, url string, status int) {
	t.Helper()
	client := p.Client(false, nil)
	Eventually(t, fmt.Sprintf("%s answers %d", url, status), func() bool {
		a, err := Do(client, http.MethodGet, url, nil)
		return err == nil && a.Status == status
	})
}

// ServiceStatuses returns the status of the edge's services, from `edge status` or from the published admin API; none while the edge starts or
// restarts, so that who needs one waits for it.
func (p *Project) ServiceStatuses(t testing.TB) []registry.ServiceStatus {
	t.Helper()
	var text string
	if p.Admin != "" {
		a, err := Do(http.DefaultClient, http.MethodGet, "http://127.0.0.1:"+p.Admin+"/edge/services", nil)
		if err != nil {
			return nil // the edge starts or restarts
		}
		text = a.Body
	} else {
		out, err := p.Compose(t.Context(), "exec", "-T", "edge", "edge", "status", "--json")
		if err != nil {
			t.Logf("the edge's status: %v", err)
			return nil // the edge starts or restarts
		}
		text = out
	}
	var all []registry.ServiceStatus
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return all
}

// ServiceStatus returns the status of one service; the zero value if the edge does not know it.
func (p *Project) ServiceStatus(t testing.TB, name string) registry.ServiceStatus {
	t.Helper()
	for _, s := range p.ServiceStatuses(t) {
		if s.Service == name {
			return s
		}
	}
	return registry.ServiceStatus{}
}

// WaitReady waits until a service has n ready endpoints.
func (p *Project) WaitReady(t testing.TB, service string, n int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("%s has %d ready endpoints", service, n), func() bool {
		return p.ServiceStatus(t, service).Ready == n
	})
}
