package probe_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/probe"
	"github.com/theworklabs/edge/internal/registry"
)

// maxWait bounds every wait for something that must happen.
const maxWait = 10 * time.Second

// fakeApp is an application in a container. What it answers is up to the test.
type fakeApp struct {
	*httptest.Server
	t        *testing.T
	requests chan string // the path of each question, in order

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newFakeApp(t *testing.T, answer http.HandlerFunc) *fakeApp {
	t.Helper()
	a := &fakeApp{t: t, requests: make(chan string, 10_000), answer: answer}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests <- r.URL.Path
		a.mu.Lock()
		answer := a.answer
		a.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *fakeApp) address() string { return a.Listener.Addr().String() }

// setAnswer changes what the application answers.
func (a *fakeApp) setAnswer(answer http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

// waitForRequests waits for the next n questions and returns their paths.
func (a *fakeApp) waitForRequests(n int) []string {
	a.t.Helper()
	var paths []string
	for deadline := time.After(maxWait); len(paths) < n; {
		select {
		case path := <-a.requests:
			paths = append(paths, path)
		case <-deadline:
			a.t.Fatalf("asked %d times in %s (%q), want %d", len(paths), maxWait, paths, n)
		}
	}
	return paths
}

// answerStatus answers everything with a status.
func answerStatus(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// answerSequence answers with one status after the other, and with the last one from then on.
func answerSequence(codes ...int) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(codes[0])
		if len(codes) > 1 {
			codes = codes[1:]
		}
	}
}

// answerPaths answers each path with a status, and others with 404.
func answerPaths(codes map[string]int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if code := codes[r.URL.Path]; code != 0 {
			w.WriteHeader(code)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}
}

// answerBody answers with a body.
func answerBody(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// newSilentListener is a listener that accepts connections and never says a word.
func newSilentListener(t *testing.T) (address string, accepted chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = make(chan struct{}, 10_000)
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			accepted <- struct{}{}
		}
	})
	return ln.Addr().String(), accepted
}

// fixture is a registry whose service api:80 has one endpoint, which is probed.
type fixture struct {
	*registry.Registry
	t       *testing.T
	service *registry.Service
	changes chan registry.Change
}

// newFixture begins to probe an address. Checks follow each other quickly unless the configuration says otherwise.
func newFixture(t *testing.T, address string, c probe.Config) *fixture {
	t.Helper()
	return newFixtureWith(t, address, newFastProber(t, c))
}

func newFastProber(t *testing.T, c probe.Config) *probe.Prober {
	t.Helper()
	if c.Interval == 0 {
		c.Interval = 5 * time.Millisecond
	}
	p, err := probe.New(c, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newFixtureWith(t *testing.T, address string, p registry.Prober) *fixture {
	t.Helper()
	s := &fixture{t: t, changes: make(chan registry.Change, 1000)}
	s.Registry = registry.New(registry.Options{OnChange: func(c registry.Change) { s.changes <- c }})
	t.Cleanup(s.Registry.Close)
	service, err := s.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	s.service = service
	service.Configure(registry.Settings{Probe: p})
	s.setEndpoint(address, "")
	s.waitForState(registry.Starting)
	return s
}

// setEndpoint makes an address the service's only one; broken says why it must not be used, if it must not.
func (s *fixture) setEndpoint(address, broken string) {
	addr := netip.MustParseAddrPort(address)
	s.Feed(registry.Static).Set("api:80", []registry.Member{{
		ID: address, Addr: addr.Addr(), Port: addr.Port(), Phase: registry.Running, UnhealthyReason: broken,
	}})
}

// waitForState waits for the endpoint's next step, which must be into a state, and returns the reason.
func (s *fixture) waitForState(state registry.State) (reason string) {
	s.t.Helper()
	select {
	case c := <-s.changes:
		if c.To != state {
			s.t.Fatalf("the endpoint became %s (%s), want %s", c.To, c.Reason, state)
		}
		return c.Reason
	case <-time.After(maxWait):
		s.t.Fatalf("the endpoint never became %s; it is %+v", state, s.endpoint())
	}
	return ""
}

// endpoint returns the endpoint as it is now.
func (s *fixture) endpoint() registry.EndpointStatus {
	s.t.Helper()
	all := s.service.Status().Endpoints
	if len(all) != 1 {
		s.t.Fatalf("%d endpoints, want 1", len(all))
	}
	return all[0]
}

// wantState checks the state and reason that the endpoint has now.
func (s *fixture) wantState(state registry.State, reason string) {
	s.t.Helper()
	if e := s.endpoint(); e.State != state || !strings.Contains(e.Reason, reason) {
		s.t.Errorf("the endpoint is %s: %s; want %s: …%s…", e.State, e.Reason, state, reason)
	}
}

// stoppableProber runs a prober under a context that the test can end.
type stoppableProber struct {
	*probe.Prober
	cancel context.CancelFunc
	ctx    context.Context
	ended  chan struct{}
}

func newStoppableProber(t *testing.T, p *probe.Prober) *stoppableProber {
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	return &stoppableProber{p, stop, ctx, make(chan struct{})}
}

func (h *stoppableProber) Run(_ context.Context, target registry.Target) {
	defer close(h.ended)
	h.Prober.Run(h.ctx, target)
}

// stopAndWait ends the probe and waits for it.
func (h *stoppableProber) stopAndWait(t *testing.T) {
	t.Helper()
	h.cancel()
	select {
	case <-h.ended:
	case <-time.After(maxWait):
		t.Fatal("the probe goes on without its context")
	}
}

// waitForNoGoroutines waits until no goroutine probes.
func waitForNoGoroutines(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(maxWait); time.Now().Before(deadline); runtime.Gosched() {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left = slices.DeleteFunc(strings.Split(string(stacks), "\n\n"), func(stack string) bool {
			return !strings.Contains(stack, "/internal/probe.") && !strings.Contains(stack, "net/http.(*persistConn)")
		})
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("goroutines were left behind:\n%s", strings.Join(left, "\n\n"))
}
