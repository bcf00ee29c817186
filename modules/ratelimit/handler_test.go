package ratelimit_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/theworklabs/edge/internal/testport"
	_ "github.com/theworklabs/edge/modules/ratelimit"
)

// server is a Caddy server on loopback with one trusted proxy.
type server struct{ addr, metricsAddr, trustedProxy string }

// startServer starts a server that trusts loopback, so that a test can send requests for any client address.
func startServer(t *testing.T, limits string) *server {
	t.Helper()
	s := &server{trustedProxy: "127.0.0.1"}
	s.start(t, limits)
	return s
}

func (s *server) start(t *testing.T, limits string) {
	t.Helper()
	s.addr, s.metricsAddr = testport.Address(t), testport.Address(t)
	s.load(t, limits)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// load replaces the configuration by one with these limits.
func (s *server) load(t *testing.T, limits string) {
	t.Helper()
	if err := s.tryLoad(limits); err != nil {
		t.Fatal(err)
	}
}

func (s *server) tryLoad(limits string) error {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(fmt.Appendf(nil, `{
	admin off
	persist_config off
	servers {
		trusted_proxies static %s
		trusted_proxies_strict
	}
}
http://%s {
	%s
	respond "served {err.message}"
	handle_errors {
		respond "error {err.status_code}"
	}
}
http://%s {
	metrics
}`, s.trustedProxy, s.addr, limits, s.metricsAddr), nil)
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

// requestAs sends a request with a client's address and returns the response. header has names and values in turn.
func (s *server) requestAs(t *testing.T, client string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+s.addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", client)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	// Right after a reload, the former server may accept a connection and close it without a read.
	for tries := 0; err != nil && tries < 3; tries++ {
		resp, err = http.DefaultClient.Do(req)
	}
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// countPassed sends n requests of a client, and returns how many pass.
func (s *server) countPassed(t *testing.T, n int, client string, header ...string) int {
	t.Helper()
	passed := 0
	for range n {
		if s.requestAs(t, client, header...).StatusCode == http.StatusOK {
			passed++
		}
	}
	return passed
}

func TestHeadersReportLimitAndRetryAfter(t *testing.T) {
	s := startServer(t, `rate_limit {
		zone small {
			events 60
			window 1h
			burst 2
		}
		zone large {
			events 1000
			window 1h
		}
	}`)
	first, second, third := s.requestAs(t, "192.0.2.1"), s.requestAs(t, "192.0.2.1"), s.requestAs(t, "192.0.2.1")
	for _, c := range []struct {
		resp              *http.Response
		status            int
		limit, retryAfter string
	}{
		{first, http.StatusOK, `"small";r=1`, ""},
		{second, http.StatusOK, `"small";r=0;t=60`, ""},
		{third, http.StatusTooManyRequests, `"small";r=0;t=60`, "60"},
	} {
		if c.resp.StatusCode != c.status || c.resp.Header.Get("RateLimit") != c.limit || c.resp.Header.Get("Retry-After") != c.retryAfter ||
			c.resp.Header.Get("RateLimit-Policy") != `"small";q=2;w=120` {
			t.Errorf("got %d %v, want %d, RateLimit %s and Retry-After %q", c.resp.StatusCode, c.resp.Header, c.status, c.limit, c.retryAfter)
		}
	}
}

// TestHeadersReportTheLowestRemainingOnARoute: the order of two handlers does not matter.
func TestHeadersReportTheLowestRemainingOnARoute(t *testing.T) {
	const small, large = "rate_limit {\nzone small {\nevents 2\nwindow 1h\n}\n}\n", "rate_limit {\nzone large {\nevents 9\nwindow 1h\n}\n}\n"
	for name, limits := range map[string]string{"small first": small + large, "large first": large + small} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, "route {\n"+limits+"}")
			resp := s.requestAs(t, "192.0.2.1")
			if limit, policy := resp.Header.Get("RateLimit"), resp.Header.Get("RateLimit-Policy"); limit != `"small";r=1` || policy != `"small";q=2;w=3600` {
				t.Errorf("got RateLimit %s and RateLimit-Policy %s, want the small zone", limit, policy)
			}
		})
	}
}

// TestUntrustedForwardedForIsIgnored: the X-Forwarded-For of a client that is not a trusted proxy does not change its key.
func TestUntrustedForwardedForIsIgnored(t *testing.T) {
	s := &server{trustedProxy: "192.0.2.250"}
	s.start(t, "rate_limit {\nzone z {\nevents 2\nwindow 1h\n}\n}")
	passed := 0
	for i := range 5 {
		passed += s.countPassed(t, 1, fmt.Sprintf("203.0.113.%d", i))
	}
	if passed != 2 {
		t.Errorf("got %d of 5 requests with five forwarded addresses passed, want 2", passed)
	}
}

func TestKeyDecidesWhichRequestsShareALimit(t *testing.T) {
	for _, c := range []struct {
		name, zone    string
		first, second []string // a client's address and headers
		isShared      bool
	}{
		{"two addresses", "", []string{"192.0.2.1"}, []string{"192.0.2.2"}, false},
		{"one address", "", []string{"192.0.2.1"}, []string{"192.0.2.1"}, true},
		{"an address and its mapped form", "", []string{"192.0.2.1"}, []string{"::ffff:192.0.2.1"}, true},
		{"one customer's IPv6", "", []string{"2001:db8:1:1::1"}, []string{"2001:db8:1:1:ffff::9"}, true},
		{"two customers' IPv6", "", []string{"2001:db8:1:1::1"}, []string{"2001:db8:1:2::1"}, false},
		{"a shorter prefix", "ipv6_prefix 48", []string{"2001:db8:1:1::1"}, []string{"2001:db8:1:2::1"}, true},
		{"two addresses with one API key", "key header:X-Api-Key", []string{"192.0.2.1", "X-Api-Key", "k"}, []string{"192.0.2.2", "X-Api-Key", "k"}, true},
		{"one address with two API keys", "key header:x-api-key", []string{"192.0.2.1", "X-Api-Key", "k"}, []string{"192.0.2.1", "X-Api-Key", "l"}, false},
		{"requests without the header", "key header:X-Api-Key", []string{"192.0.2.1"}, []string{"192.0.2.2"}, true},
		{"address and header", "key client_ip header:X-Api-Key", []string{"192.0.2.1", "X-Api-Key", "k"}, []string{"192.0.2.2", "X-Api-Key", "k"}, false},
		{"the host", "key host", []string{"192.0.2.1"}, []string{"192.0.2.2"}, true},
		{"placeholders are not replaced", "key header:X-Api-Key", []string{"192.0.2.1", "X-Api-Key", "{env.HOME}"}, []string{"192.0.2.1", "X-Api-Key", "{env.USER}"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, "rate_limit {\nzone z {\nevents 1\nwindow 1h\n"+c.zone+"\n}\n}")
			if s.countPassed(t, 1, c.first[0], c.first[1:]...) != 1 {
				t.Fatal("the first request is refused")
			}
			if isShared := s.countPassed(t, 1, c.second[0], c.second[1:]...) == 0; isShared != c.isShared {
				t.Errorf("got shared limit %t, want %t", isShared, c.isShared)
			}
		})
	}
}

func TestAllowedClientsAreExempt(t *testing.T) {
	s := startServer(t, "rate_limit {\nzone z {\nevents 1\nwindow 1h\nallow 192.0.2.0/24 private_ranges 2001:db8::/48\n}\n}")
	for client, want := range map[string]int{"192.0.2.7": 5, "10.1.2.3": 5, "2001:db8::7": 5, "198.51.100.1": 1, "2001:db8:1::7": 1} {
		if got := s.countPassed(t, 5, client); got != want {
			t.Errorf("%s: got %d of 5 passed, want %d", client, got, want)
		}
	}
}

func TestDryRunCountsAndRefusesNothing(t *testing.T) {
	s := startServer(t, "rate_limit {\nzone dry {\nevents 1\nwindow 1h\ndry_run\n}\n}")
	if got := s.countPassed(t, 5, "192.0.2.1"); got != 5 {
		t.Errorf("got %d of 5 passed, want all", got)
	}
	s.wantMetric(t, `edge_rate_limit_requests_total{decision="dry_run",zone="dry"} 4`)
}

func TestMetricsCountEachDecision(t *testing.T) {
	s := startServer(t, "rate_limit {\nzone measured {\nevents 2\nwindow 1h\nallow 192.0.2.9\n}\n}")
	s.countPassed(t, 5, "192.0.2.1")
	s.countPassed(t, 1, "192.0.2.2")
	s.countPassed(t, 4, "192.0.2.9")
	for _, want := range []string{
		`edge_rate_limit_requests_total{decision="allowed",zone="measured"} 3`,
		`edge_rate_limit_requests_total{decision="limited",zone="measured"} 3`,
		`edge_rate_limit_requests_total{decision="exempt",zone="measured"} 4`,
		`edge_rate_limit_keys{zone="measured"} 2`,
	} {
		s.wantMetric(t, want)
	}
}

func (s *server) wantMetric(t *testing.T, want string) {
	t.Helper()
	resp, err := http.Get("http://" + s.metricsAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), want+"\n") {
		t.Errorf("got no line %s in the metrics", want)
	}
}

// TestReloadKeepsUsedUpLimits: a client that has used up its limit stays limited in the next configuration, also if that has another
// limit.
func TestReloadKeepsUsedUpLimits(t *testing.T) {
	const zone = "rate_limit {\nzone z {\nevents %d\nwindow 1h\n}\n}"
	s := startServer(t, fmt.Sprintf(zone, 3))
	if got := s.countPassed(t, 5, "192.0.2.1"); got != 3 {
		t.Fatalf("got %d of 5 passed, want 3", got)
	}
	s.load(t, fmt.Sprintf(zone, 3)+"\n# changed")
	if got := s.countPassed(t, 5, "192.0.2.1"); got != 0 {
		t.Errorf("after a reload: got %d passed, want none", got)
	}
	s.load(t, fmt.Sprintf(zone, 2))
	if got := s.countPassed(t, 5, "192.0.2.1"); got != 0 {
		t.Errorf("after a reload with a stricter limit: got %d passed, want none", got)
	}
}

// gate is a handler that blocks requests until the test opens it.
type gate struct{}

var (
	gateReached = make(chan struct{})
	gateOpened  = make(chan struct{})
)

func init() {
	caddy.RegisterModule(gate{})
	httpcaddyfile.RegisterHandlerDirective("gate", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return gate{}, nil
	})
}

func (gate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.gate", New: func() caddy.Module { return gate{} }}
}

func (gate) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	gateReached <- struct{}{}
	<-gateOpened
	return next.ServeHTTP(w, r)
}

// TestRequestInFlightDuringReloadIsCounted: Caddy cleans up a configuration as soon as the next one is active, while requests of the
// former are in flight. The zone still counts them.
func TestRequestInFlightDuringReloadIsCounted(t *testing.T) {
	const zone = "rate_limit {\nzone z {\nevents 2\nwindow 1h\n}\n}"
	s := startServer(t, "route {\ngate\n"+zone+"\n}")
	late := make(chan *http.Response)
	go func() {
		resp, err := http.Get("http://" + s.addr)
		if err != nil {
			t.Error(err)
		}
		late <- resp
	}()
	<-gateReached
	s.load(t, zone)
	gateOpened <- struct{}{}
	resp := <-late
	if resp == nil {
		t.FailNow()
	}
	resp.Body.Close()
	if got := resp.Header.Get("RateLimit"); resp.StatusCode != http.StatusOK || got != `"z";r=1` {
		t.Errorf("got %s with RateLimit %s, want 200 and one remaining", resp.Status, got)
	}
	if got := s.countPassed(t, 3, "127.0.0.1"); got != 1 {
		t.Errorf("after it: got %d of 3 passed, want 1", got)
	}
}

func TestConcurrentConnectionsGetExactlyTheBurst(t *testing.T) {
	s := startServer(t, "rate_limit {\nzone z {\nevents 100\nwindow 1h\n}\n}")
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { passed.Add(int64(s.countPassed(t, 50, "192.0.2.1"))) })
	}
	all.Wait()
	if got := passed.Load(); got != 100 {
		t.Errorf("got %d of 400 passed, want 100", got)
	}
}

// TestZonesOfSameNameMustHaveSameRate within a configuration: one of two rates would change the counts of the other. A reload may
// change the rate.
func TestZonesOfSameNameMustHaveSameRate(t *testing.T) {
	const zone = "rate_limit {\n zone shared {\n events %d\n window 1h\n }\n }\n"
	s := startServer(t, fmt.Sprintf("route /a {\n"+zone+"}\nroute /b {\n"+zone+"}", 5, 5))
	err := s.tryLoad(fmt.Sprintf("route /a {\n"+zone+"}\nroute /b {\n"+zone+"}", 5, 6))
	if err == nil || !strings.Contains(err.Error(), "zone shared: elsewhere in the configuration it has the rate 5 in 1h0m0s with a burst of 5") {
		t.Errorf("two rates: got %v", err)
	}
	s.load(t, fmt.Sprintf("route /a {\n"+zone+"}\nroute /b {\n"+zone+"}", 6, 6))
}

// TestInvalidZonesAreRejected in JSON, which no Caddyfile parser has checked.
func TestInvalidZonesAreRejected(t *testing.T) {
	s := startServer(t, "")
	for zones, want := range map[string]string{
		`[]`:     "want at least one zone",
		`[null]`: "zone 1 is null",
		`[{"name": "a", "events": 1, "window": "1s"}, {"name": "a", "events": 1, "window": "1s"}]`: "zone a is configured twice",
		`[{"name": "a", "events": 1, "window": "1s", "key": ["header:host"]}]`:                     "want host",
		`[{"name": "a", "events": 1, "window": "1s", "allow": ["::ffff:0:0/64"]}]`:                 "want an IPv4 range or an IPv6 range",
	} {
		err := caddy.Load(fmt.Appendf(nil, `{"admin": {"disabled": true}, "apps": {"http": {"servers": {"s": {"listen": [%q],
			"routes": [{"handle": [{"handler": "rate_limit", "zones": %s}]}]}}}}}`, s.addr, zones), true)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", zones, err, want)
		}
	}
}

func TestAllowAcceptsIPv4MappedIPv6(t *testing.T) {
	s := startServer(t, `rate_limit {
		zone mapped {
			events 1
			window 1h
			allow ::ffff:192.0.2.7
		}
	}`)
	if n := s.countPassed(t, 3, "192.0.2.7"); n != 3 {
		t.Errorf("the allowed client: got %d of 3 passed", n)
	}
	if n := s.countPassed(t, 3, "192.0.2.8"); n != 1 {
		t.Errorf("another client: got %d of 3 passed, want 1", n)
	}
}
