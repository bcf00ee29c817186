package proxy_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/internal/traffic"
	"github.com/theworklabs/edge/modules/edge"
	_ "github.com/theworklabs/edge/modules/errorpages"
)

// setMaintenance posts to the admin API's /edge/maintenance.
func setMaintenance(t testing.TB, body string) {
	t.Helper()
	postAdmin(t, "/edge/maintenance", body)
}

// postAdmin posts to the admin API.
func postAdmin(t testing.TB, path, body string) {
	t.Helper()
	requestAdmin(t, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
}

// requestAdmin sends a request to the admin API, and returns the body of its answer.
func requestAdmin(t testing.TB, r *http.Request) string {
	t.Helper()
	info, err := caddy.GetModule("admin.api.edge")
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range info.New().(caddy.AdminRouter).Routes() {
		if route.Pattern == r.URL.Path {
			w := httptest.NewRecorder()
			if err := route.Handler.ServeHTTP(w, r); err != nil {
				t.Fatal(err)
			}
			return w.Body.String()
		}
	}
	t.Fatalf("the admin API has no %s", r.URL.Path)
	return ""
}

// waitForTraffic waits until the requests of the last minutes, which an interval has once it has ended, are as wanted.
func waitForTraffic(t testing.TB, service string, want traffic.Point) {
	t.Helper()
	var got traffic.Point
	for range 2 * traffic.HistoryInterval / (100 * time.Millisecond) {
		var histories map[string][]traffic.Point
		if err := json.Unmarshal([]byte(requestAdmin(t, httptest.NewRequest(http.MethodGet, "/edge/traffic", nil))), &histories); err != nil {
			t.Fatal(err)
		}
		got = traffic.Point{}
		for _, p := range histories[service] {
			got.Requests, got.Errors, got.Maintenance = got.Requests+p.Requests, got.Errors+p.Errors, got.Maintenance+p.Maintenance
		}
		if got == want {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("%s had %+v, want %+v", service, got, want)
}

// serveForMaintenance serves api:80, and waits until it is ready. The test's cleanup ends the maintenance.
func serveForMaintenance(t testing.TB, a *backend, directives string) *site {
	t.Helper()
	var once sync.Once
	ready := make(chan struct{})
	defer edge.WatchEndpoints(func(c registry.Change) {
		if c.Address == a.address && c.To == registry.Ready {
			once.Do(func() { close(ready) })
		}
	})()
	s := serve(t, map[string][]string{"api:80": {a.address}}, directives)
	t.Cleanup(func() { setMaintenance(t, `{"on": false}`) })
	<-ready
	return s
}

func TestMaintenanceRefusesWithTheGivenRetryAfter(t *testing.T) {
	var requests atomic.Int32
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) { requests.Add(1); echo("a")(w, r) }).start(t)
	s := serveForMaintenance(t, a, "edge_proxy api:80\nhandle_errors {\n error_pages\n}")
	setMaintenance(t, `{"on": true, "retry_after": "90500ms", "message": "Back at noon."}`)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
		status, text, h := s.send(t, method, "/", []byte("hello"))
		if status != http.StatusServiceUnavailable || h.Get("Retry-After") != "91" {
			t.Errorf("%s: got %d, Retry-After %q; want 503 and 91", method, status, h.Get("Retry-After"))
		}
		if method != http.MethodHead && !strings.Contains(text, `"detail":"Back at noon."`) {
			t.Errorf("%s: got %s, want the operator's message", method, text)
		}
	}
	if requests.Load() > 0 {
		t.Error("a request reached the backend")
	}
	waitForTraffic(t, "api:80", traffic.Point{Requests: 3, Errors: 3, Maintenance: 3})
	if lost := edge.Snapshot()[0].Lost; lost != (registry.Lost{}) {
		t.Errorf("lost requests: got %+v, want none", lost)
	}
	setMaintenance(t, `{"on": false}`)
	if status, text, h := s.send(t, http.MethodPost, "/", []byte("hello")); status != 200 || text != "a POST 5" || h.Get("Retry-After") != "" {
		t.Errorf("after the maintenance: got %d %q, want 200", status, text)
	}
}

func TestMaintenanceOfOneServiceLeavesOthersOpen(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	s := &site{port: testport.Port(t), static: map[string][]string{"api:80": {a.address}, "web:80": {a.address}}}
	s.url = "http://127.0.0.1:" + s.port
	s.load(t, "handle /api {\n edge_proxy api:80\n}\nhandle {\n edge_proxy web:80\n}")
	t.Cleanup(func() {
		setMaintenance(t, `{"on": false}`)
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	setMaintenance(t, `{"on": true, "services": ["api"]}`)
	if status, _, _ := s.send(t, http.MethodGet, "/api", nil); status != http.StatusServiceUnavailable {
		t.Errorf("/api: got %d, want 503", status)
	}
	if status, _, _ := s.send(t, http.MethodGet, "/", nil); status != http.StatusOK {
		t.Errorf("/: got %d, want 200", status)
	}
}

func TestAllowedClientsAreMatchedByCaddysClientIP(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	s := serveForMaintenance(t, a, "vars client_ip {query.client}\nedge_proxy api:80")
	setMaintenance(t, `{"on": true, "allow": ["192.0.2.0/24", "2001:db8::7"]}`)
	for client, want := range map[string]int{
		"192.0.2.9": 200, "::ffff:192.0.2.9": 200, "2001:db8::7": 200,
		"127.0.0.1": 503, "2001:db8::8": 503, "": 503, "192.0.2.9,127.0.0.1": 503,
	} {
		if status, _, _ := s.send(t, http.MethodGet, "/?client="+client, nil); status != want {
			t.Errorf("%q: got %d, want %d", client, status, want)
		}
	}
}

// postAsync sends a POST in the background. The channel gets the status and the body of the response, or the error.
func (s *site) postAsync(t *testing.T, size int) <-chan string {
	result := make(chan string, 1)
	go func() {
		resp, err := http.Post(s.url, "text/plain", bytes.NewReader(bytes.Repeat([]byte("x"), size)))
		if err != nil {
			result <- err.Error()
			return
		}
		defer resp.Body.Close()
		var text bytes.Buffer
		if _, err := text.ReadFrom(resp.Body); err != nil {
			result <- err.Error()
			return
		}
		result <- resp.Status + " " + text.String()
	}()
	return result
}

func TestRequestsWaitForTheEndOfMaintenance(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	s := serveForMaintenance(t, a, "edge_proxy api:80")
	setMaintenance(t, `{"on": true, "hold": true}`)
	small, large := s.postAsync(t, 5), s.postAsync(t, 1<<20)
	eventuallyHeld(t, 2)
	setMaintenance(t, `{"on": true, "hold": true, "message": "It takes a little longer."}`)
	s.load(t, "header X-Load again\nedge_proxy api:80")
	eventuallyHeld(t, 2)
	setMaintenance(t, `{"on": false}`)
	if got := <-small; got != "200 OK a POST 5" {
		t.Errorf("got %q", got)
	}
	if got := <-large; got != "200 OK a POST 1048576" {
		t.Errorf("got %q", got)
	}
	eventuallyHeld(t, 0)
}

func TestMaintenanceRefusesRequestsHeldTooLongOrTooMany(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	s := serveForMaintenance(t, a, "edge_proxy api:80 {\n max_held 1\n hold 2s\n}")
	setMaintenance(t, `{"on": true, "hold": true}`)
	startedAt := time.Now()
	first := s.postAsync(t, 5)
	eventuallyHeld(t, 1)
	if got := <-s.postAsync(t, 5); !strings.HasPrefix(got, "503 ") || time.Since(startedAt) > time.Second {
		t.Errorf("above max_held: got %s after %s, want 503 at once", got, time.Since(startedAt))
	}
	if got, took := <-first, time.Since(startedAt); !strings.HasPrefix(got, "503 ") || took < 2*time.Second {
		t.Errorf("got %s after %s, want 503 after 2s", got, took)
	}
	second := s.postAsync(t, 5)
	eventuallyHeld(t, 1)
	setMaintenance(t, `{"on": true}`)
	if got := <-second; !strings.HasPrefix(got, "503 ") {
		t.Errorf("after the maintenance stopped holding: got %s, want 503", got)
	}
}

func TestAClientThatLeavesInMaintenanceIsNoLongerHeld(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	s := serveForMaintenance(t, a, "edge_proxy api:80")
	setMaintenance(t, `{"on": true, "hold": true}`)
	s.wantHeldUntilClientLeaves(t)
}

func TestMaintenanceAppliesToRequestsAlreadyHeld(t *testing.T) {
	a := newBackend(t, echo("a"))
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80")
	t.Cleanup(func() { setMaintenance(t, `{"on": false}`) })
	held := s.postAsync(t, 5)
	eventuallyHeld(t, 1)
	setMaintenance(t, `{"on": true}`)
	a.start(t)
	if got := <-held; !strings.HasPrefix(got, "503 ") {
		t.Errorf("the held request got %s, want 503", got)
	}
}

func TestMaintenanceLetsRequestsInFlightFinish(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-finish
		echo("a")(w, r)
	}).start(t)
	s := serveForMaintenance(t, a, "edge_proxy api:80")
	result := s.postAsync(t, 5)
	<-arrived
	setMaintenance(t, `{"on": true}`)
	close(finish)
	if got := <-result; got != "200 OK a POST 5" {
		t.Errorf("got %q", got)
	}
}

func TestMaintenanceClosesWebSocketsAndRefusesNewOnes(t *testing.T) {
	a := newWebSocketEcho(t)
	s := serveForMaintenance(t, a, "vars client_ip {query.client}\nedge_proxy api:80 {\n close_window 100ms\n}")
	conn := s.openWebSocket(t)
	wantEcho(t, conn)
	setMaintenance(t, `{"on": true, "allow": ["192.0.2.9"]}`)
	if code := awaitCloseCode(t, conn); code != websocket.StatusGoingAway {
		t.Errorf("closed with %d, want 1001", code)
	}
	_, resp, err := websocket.Dial(t.Context(), s.url, nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "300" {
		t.Errorf("a new WebSocket: got %v, %v; want 503", err, resp)
	}
	allowed, _, err := websocket.Dial(t.Context(), s.url+"/?client=192.0.2.9", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer allowed.CloseNow()
	time.Sleep(200 * time.Millisecond) // longer than close_window
	wantEcho(t, allowed)
	setMaintenance(t, `{"on": true, "allow": ["192.0.2.9"], "message": "Another message closes nothing."}`)
	time.Sleep(200 * time.Millisecond)
	wantEcho(t, allowed)
}

// TestTogglingMaintenanceLosesNoRequest turns maintenance on and off during requests. Each one is answered or refused.
func TestTogglingMaintenanceLosesNoRequest(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	s := serveForMaintenance(t, a, "edge_proxy api:80")
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var passed, refused atomic.Int32
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch status, text, _ := s.send(t, http.MethodPost, "/", []byte("hello")); {
				case status == 200 && text == "a POST 5":
					passed.Add(1)
				case status == 503:
					refused.Add(1)
				default:
					t.Errorf("got %d %q, want 200 or 503", status, text)
				}
			}
		})
	}
	for i := 0; i < 60 || passed.Load() == 0 || refused.Load() == 0; i++ {
		setMaintenance(t, []string{`{"on": true}`, `{"on": true, "hold": true}`, `{"on": false}`}[i%3])
	}
	setMaintenance(t, `{"on": false}`)
	close(stop)
	clients.Wait()
	if status, _, _ := s.send(t, http.MethodGet, "/", nil); status != 200 {
		t.Errorf("after the maintenance: got %d, want 200", status)
	}
}

func TestMaintenanceHasAPageWithoutErrorPagesConfigured(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	for directives, want := range map[string]string{
		"edge_proxy api:80": "Back at noon.",
		"edge_proxy api:80\nhandle_errors {\n respond \"my own\"\n}": "my own",
	} {
		s := serve(t, map[string][]string{"api:80": {a.address}}, directives)
		setMaintenance(t, `{"on": true, "message": "Back at noon."}`)
		status, text, header := s.send(t, http.MethodGet, "/", nil)
		if status != http.StatusServiceUnavailable || !strings.Contains(text, want) || header.Get("Retry-After") == "" {
			t.Errorf("%q: got %d %q, want 503 with %q", directives, status, text, want)
		}
		setMaintenance(t, `{"on": false}`)
		stopCaddy(t)
	}
}
