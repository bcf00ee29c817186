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

// maxBodySize is how many bytes of a body the probe reads.
const maxBodySize = 64 << 10

// checker makes the checks of one endpoint, one at a time.
type checker struct {
	*Prober
	address     string
	host        string
	client      *http.Client
	passingURI  int  // index of the first URI that passed; -1: none yet
	tcpFallback bool // the endpoint has none of the URIs
}

func newChecker(p *Prober, t registry.Target) *checker {
	host := p.config.Host
	if host == "" {
		host = t.HostPort()
	}
	return &checker{
		Prober: p, address: t.Address(), host: host, passingURI: -1,
		client: &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
			Timeout:       p.config.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (c *checker) close() { c.client.CloseIdleConnections() }

// checkTCP returns nil if the endpoint accepts connections.
func (c *checker) checkTCP(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// run makes one check, and returns the reason why the endpoint passes, or an error.
func (c *checker) run(ctx context.Context) (reason string, err error) {
	if len(c.config.URIs) == 0 || c.tcpFallback {
		return "accepts connections", c.checkTCP(ctx)
	}
	if c.passingURI >= 0 {
		return c.passReason(c.passingURI), c.checkURI(ctx, c.config.URIs[c.passingURI])
	}
	missing := 0
	for i, uri := range c.config.URIs {
		uriErr := c.checkURI(ctx, uri)
		if uriErr == nil {
			c.passingURI = i
			return c.passReason(i), nil
		}
		if status, ok := uriErr.(*statusError); ok && status.isMissing() {
			missing++
		}
		if err == nil {
			err = uriErr
		}
	}
	if c.config.TCP && missing == len(c.config.URIs) {
		c.tcpFallback = true
		return "accepts connections; none of the probe's URIs exists", nil
	}
	return "", err
}

func (c *checker) passReason(i int) string { return "GET " + c.config.URIs[i] + " passed" }

// checkURI requests one URI, and returns why the answer does not pass, or nil.
func (c *checker) checkURI(ctx context.Context, uri string) error {
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
	if !matchesStatus(c.config.Status, resp.StatusCode) {
		return &statusError{uri, resp.StatusCode, c.config.Status}
	}
	if c.config.Body == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBodySize))
	if err != nil {
		return fmt.Errorf("GET %s: read the body: %w", uri, err)
	}
	if !c.body.Match(body) {
		return fmt.Errorf("GET %s: the body does not match %q", uri, c.config.Body)
	}
	return nil
}

// matchesStatus reports whether a status code matches a pattern such as "200" or "2xx".
func matchesStatus(pattern string, code int) bool {
	text := strconv.Itoa(code)
	if class, ok := strings.CutSuffix(pattern, "xx"); ok {
		return strings.HasPrefix(text, class)
	}
	return text == pattern
}

// statusError is an answer with a status that does not pass.
type statusError struct {
	uri     string
	code    int
	pattern string
}

// Error names the URI, the status and the pattern that it does not match.
func (e *statusError) Error() string {
	return fmt.Sprintf("GET %s: status %d, want %s", e.uri, e.code, e.pattern)
}

// isMissing reports whether the status means that the application does not have the URI.
func (e *statusError) isMissing() bool {
	return e.code == http.StatusNotFound || e.code == http.StatusMethodNotAllowed || e.code == http.StatusNotImplemented
}
