package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/internal/registry"
)

const bodyLimit = 64 << 10

// check is the probing of one endpoint: what it has learned of it so far.
type check struct {
	*Prober
	address  string
	host     string
	client   *http.Client
	kept     int  // index of the URI that passed first; -1: none yet
	fellBack bool // no URI exists: TCP is all there is
}

func newCheck(p *Prober, t registry.Target) *check {
	host := p.config.Host
	if host == "" {
		host = t.Service()
	}
	return &check{
		Prober: p, address: t.Address(), host: host, kept: -1,
		client: &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
			Timeout:       p.config.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (c *check) close() { c.client.CloseIdleConnections() }

// tcp reports whether something listens.
func (c *check) tcp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// run makes one check and says how it was passed.
func (c *check) run(ctx context.Context) (how string, err error) {
	if len(c.config.URIs) == 0 || c.fellBack {
		return "accepts connections", c.tcp(ctx)
	}
	if c.kept >= 0 {
		return c.passed(c.kept), c.get(ctx, c.config.URIs[c.kept])
	}
	missing := 0
	for i, uri := range c.config.URIs {
		e := c.get(ctx, uri)
		if e == nil {
			c.kept = i
			return c.passed(i), nil
		}
		if no, ok := e.(*statusError); ok && no.missing() {
			missing++
		}
		if err == nil {
			err = e
		}
	}
	if c.config.TCP && missing == len(c.config.URIs) {
		c.fellBack = true
		return "accepts connections; none of the probe's URIs exists", nil
	}
	return "", err
}

func (c *check) passed(i int) string { return "GET " + c.config.URIs[i] + " passed" }

// get asks one URI and returns why the answer does not pass.
func (c *check) get(ctx context.Context, uri string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.address+uri, nil)
	if err != nil {
		return err
	}
	req.Host = c.host
	req.Header.Set("User-Agent", "edge-probe")
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if !matches(c.config.Status, resp.StatusCode) {
		return &statusError{uri, resp.StatusCode, c.config.Status}
	}
	if c.config.Body == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit))
	if err != nil {
		return fmt.Errorf("GET %s: read the body: %w", uri, err)
	}
	if !c.body.Match(body) {
		return fmt.Errorf("GET %s: the body does not match %q", uri, c.config.Body)
	}
	return nil
}

// matches reports whether a status code is one that "200" or "2xx" means.
func matches(want string, code int) bool {
	got := strconv.Itoa(code)
	if class, ok := strings.CutSuffix(want, "xx"); ok {
		return strings.HasPrefix(got, class)
	}
	return got == want
}

// statusError is an answer with a status that does not pass.
type statusError struct {
	uri  string
	code int
	want string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("GET %s: status %d, want %s", e.uri, e.code, e.want)
}

// missing reports whether the status says that the URI is not one of the application's.
func (e *statusError) missing() bool {
	return e.code == http.StatusNotFound || e.code == http.StatusMethodNotAllowed || e.code == http.StatusNotImplemented
}
