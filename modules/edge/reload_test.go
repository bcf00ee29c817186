package edge_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/testport"
)

// onlyEndpoint returns the endpoint of a service that must have exactly one.
func onlyEndpoint(t *testing.T, service string) registry.EndpointStatus {
	t.Helper()
	all := services(t)[service].Endpoints
	if len(all) != 1 {
		t.Fatalf("%s has the endpoints %+v, want one", service, all)
	}
	return all[0]
}

// expectSameEndpoint checks that the only endpoint of a service is the one that a test has seen before, in the same state.
func expectSameEndpoint(t *testing.T, service string, before registry.EndpointStatus) {
	t.Helper()
	after := onlyEndpoint(t, service)
	if after.ID != before.ID || after.State != before.State || !after.Since.Equal(before.Since) || after.Requests < before.Requests {
		t.Errorf("%s: the endpoint is %+v, want the earlier one %+v", service, after, before)
	}
}

func TestReloadWithNewSettingsKeepsEndpoints(t *testing.T) {
	api := listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	static := object{"api:80": []any{api}}
	s.load(object{"static": static}, object{"service": "api:80"})
	s.eventuallyServes("api:80", api)
	before := onlyEndpoint(t, "api:80")
	if before.State != registry.Ready || before.Requests != 1 || before.Source != "static" {
		t.Fatalf("the endpoint is %+v", before)
	}
	for name, c := range map[string]struct {
		app    object
		routes []object
	}{
		"nothing":           {object{"static": static}, []object{{"service": "api:80"}}},
		"hold and max_held": {object{"static": static, "hold": "5s", "max_held": 3}, []object{{"service": "api:80", "hold": "7s"}}},
		"the resolver":      {object{"static": static, "resolver": "127.0.0.1:2", "refresh": "2s"}, []object{{"service": "api:80"}}},
		"the engine":        {object{"static": static, "docker_host": "tcp://" + closedAddress}, []object{{"service": "api:80"}}},
		"its options":       {object{"static": static, "docker_host": "tcp://" + closedAddress, "terminating_timeout": "5s"}, []object{{"service": "api:80"}}},
		"routes":            {object{"static": static}, []object{{"service": "web:80"}, {"service": "api:80"}, {"service": "api:80"}}},
	} {
		s.load(c.app, c.routes...)
		t.Run(name, func(t *testing.T) { expectSameEndpoint(t, "api:80", before) })
	}
	s.eventuallyServes("api:80", api)
}

func TestReloadWithNewStaticServiceKeepsTheOthers(t *testing.T) {
	api, web := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	s.load(object{"static": object{"api:80": []any{api}}}, object{"service": "api:80"})
	s.eventuallyServes("api:80", api)
	before := onlyEndpoint(t, "api:80")
	s.load(object{"static": object{"api:80": []any{api}, "web:80": []any{web}}}, object{"service": "api:80"}, object{"service": "web:80"})
	s.eventuallyServes("web:80", web)
	expectSameEndpoint(t, "api:80", before)
}

func TestAReloadFollowsTheStaticList(t *testing.T) {
	first, second := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	s.load(object{"static": object{"api:80": []any{first}, "web:80": []any{first}}}, object{"service": "api:80"}, object{"service": "web:80"})
	s.eventuallyServes("api:80", first)
	s.eventuallyServes("web:80", first)
	s.load(object{"static": object{"api:80": []any{second}}}, object{"service": "api:80"}, object{"service": "web:80"})
	s.eventually("web:80, which is no longer in the static list, has no endpoint", func() bool {
		gone := services(t)["web:80"]
		return len(gone.Endpoints) == 0 && !gone.Known
	})
	s.eventuallyServes("api:80", second)
	if all := services(t)["api:80"].Endpoints; len(all) != 1 || all[0].Address != second {
		t.Errorf("api:80 has the endpoints %+v, want %s alone", all, second)
	}
}

func TestReloadKeepsUnchangedProbe(t *testing.T) {
	var asked atomic.Int32
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked.Add(1) }))
	t.Cleanup(backend.Close)
	api := backend.Listener.Addr().String()
	s := newTestEdge(t)
	probe := func(uri string) object {
		return object{"service": "api:80", "probe": object{"uris": []any{uri}, "interval": "1h"}}
	}
	static := object{"static": object{"api:80": []any{api}}}
	s.load(static, probe("/a"))
	s.eventuallyServes("api:80", api)
	before := onlyEndpoint(t, "api:80")
	s.load(static, probe("/a"))
	s.eventuallyServes("api:80", api)
	expectSameEndpoint(t, "api:80", before)
	s.load(static, probe("/b"))
	for deadline := time.Now().Add(eventuallyTimeout); !strings.Contains(onlyEndpoint(t, "api:80").Reason, "/b"); {
		if time.Now().After(deadline) {
			t.Fatalf("the new probe has not checked: %+v", onlyEndpoint(t, "api:80"))
		}
	}
	expectSameEndpoint(t, "api:80", before) // it has been ready all the time
	if n := asked.Load(); n != 2 {
		t.Errorf("the application got %d checks, want one of each probe", n)
	}
}

func TestAHeldRequestOutlivesAReload(t *testing.T) {
	api := testport.Address(t)
	s := newTestEdge(t)
	static := object{"api:80": []any{api}}
	s.load(object{"static": static}, object{"service": "api:80"})
	type result struct {
		address string
		err     error
	}
	results := make(chan result, 1)
	go func() {
		address, err := s.get("api:80")
		results <- result{address, err}
	}()
	for deadline := time.Now().Add(eventuallyTimeout); services(t)["api:80"].Held != 1; {
		if time.Now().After(deadline) {
			t.Fatal("the request is not held")
		}
	}
	loaded := make(chan error, 1)
	go func() {
		loaded <- caddy.Load(s.config(object{"static": static, "hold": "50s"}, object{"service": "api:80"}), true)
	}()
	if held := services(t)["api:80"].Held; held != 1 {
		t.Errorf("%d requests are held", held)
	}
	select {
	case got := <-results:
		t.Fatalf("the reload ended the held request: %+v", got)
	default:
	}
	listen(t, api)
	if got := <-results; got.err != nil || got.address != api {
		t.Errorf("the held request got %+v, want %s", got, api)
	}
	if err := <-loaded; err != nil {
		t.Error(err)
	}
}

func TestFailedConfigurationLeavesOldOneRunning(t *testing.T) {
	var probed atomic.Int32
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { probed.Add(1) }))
	t.Cleanup(backend.Close)
	api, web := backend.Listener.Addr().String(), listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	s.load(object{"static": object{"api:80": []any{api}}}, object{"service": "api:80"})
	s.eventuallyServes("api:80", api)
	before := onlyEndpoint(t, "api:80")
	for name, bad := range map[string]func() []byte{
		"contradicting routes": func() []byte {
			return s.config(object{"static": object{}}, object{"service": "api:80", "hold": "1s"}, object{"service": "api:80", "hold": "2s"})
		},
		"an invalid value": func() []byte { return s.config(object{"max_held": -1}, object{"service": "api:80"}) },
		"a port in use": func() []byte {
			taken := *s
			taken.listen = web
			return taken.config(object{"static": object{"web:80": []any{web}}}, object{"service": "web:80"},
				object{"service": "api:80", "probe": object{"uris": []any{"/health"}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 8 { // Caddy starts apps in random order: in half of the rounds the edge starts before the app that fails
				if err := caddy.Load(bad(), true); err == nil {
					t.Fatal("the configuration was loaded")
				}
				expectSameEndpoint(t, "api:80", before)
				if _, there := services(t)["web:80"]; there {
					t.Error("the services of the failed configuration are still registered")
				}
			}
		})
	}
	s.eventuallyServes("api:80", api)
	if n := probed.Load(); n > 0 {
		t.Errorf("the endpoint got %d checks of a failed configuration's probe", n)
	}
}

func TestConfigurationFailingAfterStartIsRolledBack(t *testing.T) {
	api, other := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	s.load(object{"static": object{"api:80": []any{api}}}, object{"service": "api:80"})
	s.eventuallyServes("api:80", api)
	bad := *s
	bad.listen = testport.Address(t) // Caddy leaves the servers of such a configuration running
	config := strings.Replace(string(bad.config(object{"static": object{"api:80": []any{other}}}, object{"service": "api:80"})),
		`"persist":false`, `"persist":false,"load":{"module":"none"}`, 1)
	if err := caddy.Load([]byte(config), true); err == nil || !strings.Contains(err.Error(), "none") {
		t.Fatalf("got %v, want an error about the unknown module", err)
	}
	s.eventuallyServes("api:80", api)
}

func TestStopLeavesNothingRunning(t *testing.T) {
	api := listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	s.load(object{"static": object{"api:80": []any{api, closedAddress}}, "docker_host": "tcp://" + closedAddress}, object{"service": "api:80"}, object{"service": "web:80"})
	s.eventuallyServes("api:80", api)
	if len(edgeGoroutines()) == 0 {
		t.Fatal("no goroutine of the edge runs, so that this test would prove nothing")
	}
	s.stop()
	if all := services(t); len(all) != 0 {
		t.Errorf("the registry still has %v", all)
	}
}

func TestValidationHasNoSideEffects(t *testing.T) {
	engine, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	api := listen(t, "127.0.0.1:0")
	raw := newTestEdge(t).config(object{"static": object{"api:80": []any{api}}, "docker_host": "tcp://" + engine.Addr().String()}, object{"service": "api:80"})
	parse := func() *caddy.Config {
		config := new(caddy.Config)
		if err := json.Unmarshal(raw, config); err != nil {
			t.Fatal(err)
		}
		return config
	}
	if err := caddy.Validate(parse()); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(parse()) // validation does this, and then cleans up
	if err != nil {
		t.Fatal(err)
	}
	if running := edgeGoroutines(); len(running) != 0 {
		t.Errorf("validation has started goroutines:\n%s", strings.Join(running, "\n\n"))
	}
	if known := services(t)["api:80"]; len(known.Endpoints) != 0 || known.Source != "" {
		t.Errorf("validation has found %+v", known)
	}
	app, err := ctx.App("edge")
	if err != nil {
		t.Fatal(err)
	}
	if err := app.(caddy.CleanerUpper).Cleanup(); err != nil {
		t.Fatal(err)
	}
	if err := engine.(*net.TCPListener).SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if conn, err := engine.Accept(); err == nil {
		conn.Close()
		t.Error("validation has connected to the Docker Engine")
	}
	if all := services(t); len(all) != 0 {
		t.Errorf("the registry still has %v", all)
	}
}
