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

// soon bounds every wait for something that must happen.
const soon = 10 * time.Second

// app is an application in a container. What it answers is up to the test.
type app struct {
	*httptest.Server
	t     *testing.T
	asked chan string // the path of each question, in order

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newApp(t *testing.T, answer http.HandlerFunc) *app {
	t.Helper()
	a := &app{t: t, asked: make(chan string, 10_000), answer: answer}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked <- r.URL.Path
		a.mu.Lock()
		answer := a.answer
		a.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *app) address() string { return a.Listener.Addr().String() }

// becomes changes what the application answers.
func (a *app) becomes(answer http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

// isAsked waits for the next n questions and returns their paths.
func (a *app) isAsked(n int) []string {
	a.t.Helper()
	var paths []string
	for deadline := time.After(soon); len(paths) < n; {
		select {
		case path := <-a.asked:
			paths = append(paths, path)
		case <-deadline:
			a.t.Fatalf("asked %d times in %s (%q), want %d", len(paths), soon, paths, n)
		}
	}
	return paths
}

// status answers everything with a status.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// script answers with one status after the other, and with the last one from then on.
func script(codes ...int) http.HandlerFunc {
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

// paths answers each path with a status, and others with 404.
func paths(codes map[string]int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if code := codes[r.URL.Path]; code != 0 {
			w.WriteHeader(code)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}
}

// text answers with a body.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// mute is a listener that accepts connections and never says a word.
func mute(t *testing.T) (address string, accepted chan struct{}) {
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

// stage is a registry whose service api:80 has one endpoint, which is probed.
type stage struct {
	*registry.Registry
	t       *testing.T
	service *registry.Service
	changes chan registry.Change
}

// newStage begins to probe an address. Checks follow each other quickly unless the configuration says otherwise.
func newStage(t *testing.T, address string, c probe.Config) *stage {
	t.Helper()
	return newStageWith(t, address, newProber(t, c))
}

func newProber(t *testing.T, c probe.Config) *probe.Prober {
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

func newStageWith(t *testing.T, address string, p registry.Prober) *stage {
	t.Helper()
	s := &stage{t: t, changes: make(chan registry.Change, 1000)}
	s.Registry = registry.New(registry.Options{OnChange: func(c registry.Change) { s.changes <- c }})
	t.Cleanup(s.Registry.Close)
	service, err := s.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	s.service = service
	service.Configure(registry.Settings{Probe: p})
	s.set(address, "")
	s.becomes(registry.Starting)
	return s
}

// set makes an address the service's only one; broken says why it must not be used, if it must not.
func (s *stage) set(address, broken string) {
	addr := netip.MustParseAddrPort(address)
	s.Feed(registry.Static).Set("api:80", []registry.Member{{
		ID: address, Addr: addr.Addr(), Port: addr.Port(), Phase: registry.Running, Broken: broken,
	}})
}

// becomes waits for the endpoint's next step, which must be into a state, and returns the reason.
func (s *stage) becomes(state registry.State) (reason string) {
	s.t.Helper()
	select {
	case c := <-s.changes:
		if c.To != state {
			s.t.Fatalf("the endpoint became %s (%s), want %s", c.To, c.Reason, state)
		}
		return c.Reason
	case <-time.After(soon):
		s.t.Fatalf("the endpoint never became %s; it is %+v", state, s.endpoint())
	}
	return ""
}

// endpoint returns the endpoint as it is now.
func (s *stage) endpoint() registry.EndpointStatus {
	s.t.Helper()
	all := s.service.Status().Endpoints
	if len(all) != 1 {
		s.t.Fatalf("%d endpoints, want 1", len(all))
	}
	return all[0]
}

// is checks the state and reason that the endpoint has now.
func (s *stage) is(state registry.State, reason string) {
	s.t.Helper()
	if e := s.endpoint(); e.State != state || !strings.Contains(e.Reason, reason) {
		s.t.Errorf("the endpoint is %s: %s; want %s: …%s…", e.State, e.Reason, state, reason)
	}
}

// held runs a prober under a context that the test can end.
type held struct {
	*probe.Prober
	stop  context.CancelFunc
	ctx   context.Context
	ended chan struct{}
}

func newHeld(t *testing.T, p *probe.Prober) *held {
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	return &held{p, stop, ctx, make(chan struct{})}
}

func (h *held) Run(_ context.Context, target registry.Target) {
	defer close(h.ended)
	h.Prober.Run(h.ctx, target)
}

// end ends the probe and waits for it.
func (h *held) end(t *testing.T) {
	t.Helper()
	h.stop()
	select {
	case <-h.ended:
	case <-time.After(soon):
		t.Fatal("the probe goes on without its context")
	}
}

// noneLeft waits until no goroutine probes.
func noneLeft(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); runtime.Gosched() {
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
