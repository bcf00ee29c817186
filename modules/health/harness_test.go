package health_test

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/miekg/dns"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/health"
	"github.com/theworklabs/edge/modules/service"
)

// eventuallyTimeout bounds every wait for something that must happen.
const eventuallyTimeout = 10 * time.Second

// testEdge is a running edge with fixed addresses.
type testEdge struct {
	t   *testing.T
	ctx caddy.Context
	app *edge.App
}

// newTestEdge starts an edge with a static list. It routes to all services of the list, and to others, which no source finds.
func newTestEdge(t *testing.T, static map[string][]string, others ...string) *testEdge {
	t.Helper()
	return newTestEdgeWithResolver(t, closedAddress, static, others...)
}

// newTestEdgeWithResolver is newTestEdge with a DNS resolver.
func newTestEdgeWithResolver(t *testing.T, resolver string, static map[string][]string, others ...string) *testEdge {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"static": static, "resolver": resolver, "refresh": "1h"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		AppsRaw: caddy.ModuleMap{"edge": raw},
	})
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("edge")
	if err != nil {
		t.Fatal(err)
	}
	w := &testEdge{t, ctx, app.(*edge.App)}
	t.Cleanup(func() {
		if err := w.app.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range slices.AppendSeq(others, maps.Keys(static)) {
		if _, err := w.app.Service(name, service.Config{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.app.Start(); err != nil {
		t.Fatal(err)
	}
	return w
}

// eventuallyReady waits until a service has a ready endpoint.
func (w *testEdge) eventuallyReady(service string) {
	w.t.Helper()
	if err := w.acquire(service); err != nil {
		w.t.Fatalf("%s did not become ready: %v", service, err)
	}
}

// acquire waits until a service has a ready endpoint, or until the edge knows that it will have none.
func (w *testEdge) acquire(service string) error {
	w.t.Helper()
	for _, s := range w.app.Services() {
		if s.Name() != service {
			continue
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), eventuallyTimeout)
		defer cancel()
		claim, err := s.Acquire(ctx, registry.PickOptions{})
		if err == nil {
			claim.Release()
		}
		return err
	}
	w.t.Fatalf("there is no service %s", service)
	return nil
}

// nxdomainResolver starts a DNS resolver that answers NXDOMAIN to every query.
func nxdomainResolver(t *testing.T) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(question, dns.RcodeNameError)) // the client retries
	})}
	started, ended := make(chan struct{}), make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() {
		defer close(ended)
		_ = server.ActivateAndServe()
	}()
	<-started
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return conn.LocalAddr().String()
}

// listen returns an address that accepts connections.
func listen(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// closedAddress is an address on which nothing listens.
const closedAddress = "127.0.0.1:1"

// handler provisions the handler.
func (w *testEdge) handler(detailsFor ...string) *health.Handler {
	w.t.Helper()
	h := &health.Handler{DetailsFor: detailsFor}
	if err := h.Provision(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	return h
}

// serve sends a request of a client to the handler. passed reports whether the next handler got it.
func serve(t *testing.T, h *health.Handler, method, path, client string) (w *httptest.ResponseRecorder, passed bool) {
	t.Helper()
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		passed = true
		w.WriteHeader(http.StatusTeapot)
		return nil
	})
	vars := map[string]any{}
	if client != "" {
		vars[caddyhttp.ClientIPVarKey] = client
	}
	w = httptest.NewRecorder()
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = "127.0.0.1:54321" // it must not count, because it may be a proxy's
	if err := h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars)), next); err != nil {
		t.Fatal(err)
	}
	return w, passed
}
