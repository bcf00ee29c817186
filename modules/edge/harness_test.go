package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/standard"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/service"
)

// eventuallyTimeout bounds every wait for something that must happen.
const eventuallyTimeout = 10 * time.Second

func init() { caddy.RegisterModule(new(routeHandler)) }

// routeHandler is a handler that routes to a service. It answers with the address of a ready endpoint, and waits for one.
type routeHandler struct {
	Service string `json:"service"`
	service.Config

	service *registry.Service
}

func (*routeHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_test_route", New: func() caddy.Module { return new(routeHandler) }}
}

func (r *routeHandler) Provision(ctx caddy.Context) error {
	app, err := ctx.App("edge")
	if err != nil {
		return err
	}
	r.service, err = app.(*edge.App).Service(r.Service, r.Config)
	return err
}

func (r *routeHandler) ServeHTTP(w http.ResponseWriter, req *http.Request, _ caddyhttp.Handler) error {
	claim, err := r.service.Acquire(req.Context(), registry.PickOptions{})
	if err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	defer claim.Release()
	_, err = io.WriteString(w, claim.Endpoint().Address())
	return err
}

// testEdge is Caddy with an edge, which a test loads configurations into, one after the other.
type testEdge struct {
	t       *testing.T
	listen  string
	storage string
}

func newTestEdge(t *testing.T) *testEdge {
	t.Helper()
	s := &testEdge{t, testport.Address(t), t.TempDir()}
	t.Cleanup(s.stop)
	return s
}

// stop stops Caddy, and checks that no goroutine of the edge is left.
func (s *testEdge) stop() {
	s.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	if err := caddy.Stop(); err != nil {
		s.t.Error(err)
	}
	eventuallyNoGoroutines(s.t)
}

// object is a JSON object.
type object = map[string]any

// config returns a configuration with the edge app and with routes.
func (s *testEdge) config(app object, routes ...object) []byte {
	s.t.Helper()
	handlers := []any{}
	for _, r := range routes {
		r["handler"] = "edge_test_route"
		handlers = append(handlers, object{"match": []any{object{"path": []any{"/" + r["service"].(string)}}}, "handle": []any{r}})
	}
	if app["resolver"] == nil {
		app["resolver"] = closedAddress
	}
	raw, err := json.Marshal(object{
		"admin":   object{"disabled": true, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"writer": object{"output": "discard"}}}},
		"storage": object{"module": "file_system", "root": s.storage},
		"apps": object{
			"edge": app,
			"http": object{
				"grace_period": "5s",
				"servers": object{"srv": object{
					"listen": []any{s.listen}, "automatic_https": object{"disable": true}, "routes": handlers,
				}},
			},
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// load loads a configuration, which must succeed.
func (s *testEdge) load(app object, routes ...object) {
	s.t.Helper()
	if err := caddy.Load(s.config(app, routes...), true); err != nil {
		s.t.Fatal(err)
	}
}

// get sends a request to a service, and returns the address of the endpoint that got it.
func (s *testEdge) get(service string) (address string, err error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), eventuallyTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.listen+"/"+service, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return string(body), err
}

// eventuallyServes waits until an address answers for a service. After a reload, Caddy's old server may still get a request.
func (s *testEdge) eventuallyServes(service, address string) {
	s.t.Helper()
	s.eventually(service+" is answered by "+address, func() bool {
		got, err := s.get(service)
		return err == nil && got == address
	})
}

// eventually waits until holds returns true. what is the sentence that holds checks.
func (s *testEdge) eventually(what string, holds func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(eventuallyTimeout); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("after %s, it is not so that %s", eventuallyTimeout, what)
		}
	}
}

// requestServices sends a request for the list of services to the admin API.
func requestServices(t *testing.T, method string) (*httptest.ResponseRecorder, error) {
	t.Helper()
	return adminRequest(t, method, "/edge/services", "")
}

// adminRequest sends a request to the admin API.
func adminRequest(t *testing.T, method, path, body string) (*httptest.ResponseRecorder, error) {
	t.Helper()
	info, err := caddy.GetModule("admin.api.edge")
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range info.New().(caddy.AdminRouter).Routes() {
		if route.Pattern == path {
			w := httptest.NewRecorder()
			return w, route.Handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		}
	}
	t.Fatalf("the admin API has no %s", path)
	return nil, nil
}

// services returns the services that the admin API lists, by name.
func services(t *testing.T) map[string]registry.ServiceStatus {
	t.Helper()
	w, err := requestServices(t, http.MethodGet)
	if err != nil {
		t.Fatal(err)
	}
	var list []registry.ServiceStatus
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	all := make(map[string]registry.ServiceStatus)
	for _, s := range list {
		all[s.Service] = s
	}
	return all
}

// closedAddress is an address on which nothing listens.
const closedAddress = "127.0.0.1:1"

// listen listens on an address, and returns it. "127.0.0.1:0" is any free port.
func listen(t *testing.T, address string) string {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// edgeGoroutines returns the stacks of the goroutines that run code of the edge, without those of tests.
func edgeGoroutines() []string {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return slices.DeleteFunc(strings.Split(string(stacks), "\n\n"), func(stack string) bool {
		for _, path := range []string{
			"edge/internal/discovery.", "edge/internal/kubernetes.", "edge/internal/maintenance.", "edge/internal/probe.", "edge/internal/registry.", "edge/internal/upstreamconn.",
			"edge/modules/certificates.", "edge/modules/edge.",
		} {
			if strings.Contains(stack, path) {
				return false
			}
		}
		return true
	})
}

// eventuallyNoGoroutines waits until no goroutine runs code of the edge.
func eventuallyNoGoroutines(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(eventuallyTimeout); time.Now().Before(deadline); runtime.Gosched() {
		if left = edgeGoroutines(); len(left) == 0 {
			return
		}
	}
	t.Errorf("these goroutines still run:\n%s", strings.Join(left, "\n\n"))
}

var (
	_ caddy.Provisioner           = (*routeHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*routeHandler)(nil)
)
