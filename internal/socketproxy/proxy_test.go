package socketproxy_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/socketproxy"
)

// dockerHandler answers the four allowed requests as a Docker Engine does, and every other request with a secret.
func dockerHandler(w http.ResponseWriter, r *http.Request) {
	path := regexp.MustCompile(`^/v1\.\d+`).ReplaceAllString(r.URL.Path, "")
	w.Header().Set("Api-Version", "1.41")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Secret", "hunter2")
	switch path {
	case "/_ping":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "OK")
	case "/version":
		_, _ = io.WriteString(w, `{"Version":"29.0.0"}`)
	case "/containers/json":
		_, _ = io.WriteString(w, `[]`)
	case "/events":
	default:
		_, _ = io.WriteString(w, `{"Env":["PASSWORD=hunter2"]}`)
	}
}

func TestAllowedRequestsAreForwarded(t *testing.T) {
	e := newFakeEngine(t, dockerHandler)
	s := newProxyServer(t, e.socket)
	for _, c := range []struct{ method, target, forwarded string }{
		{"GET", "/_ping", "GET /_ping"},
		{"HEAD", "/_ping", "HEAD /_ping"},
		{"GET", "/version", "GET /version"},
		{"HEAD", "/version", "HEAD /version"},
		{"GET", "/containers/json", "GET /containers/json"},
		{"GET", "/v1.41/_ping", "GET /v1.41/_ping"},
		{"HEAD", "/v1.41/_ping", "HEAD /v1.41/_ping"},
		{"GET", "/v1.41/version", "GET /v1.41/version"},
		{"GET", "/v1.41/containers/json", "GET /v1.41/containers/json"},
		{"GET", "/v1.41/containers/json?all=1", "GET /v1.41/containers/json?all=1"},
		{"GET", "http://proxy/containers/json", "GET /containers/json"}, // the absolute form, which clients send to proxies
		{"GET", "/_ping?secret=1", "GET /_ping"},
	} {
		got := s.do(c.method, c.target)
		if got.status != http.StatusOK {
			t.Errorf("%s %s: %d %s, want 200", c.method, c.target, got.status, got.body)
		}
		if requests := e.takeRequests(); !slices.Equal(requests, []string{c.forwarded}) {
			t.Errorf("%s %s: the Engine got the requests %q, want %q", c.method, c.target, requests, c.forwarded)
		}
		if got.header.Get("Api-Version") != "1.41" || got.header.Get("X-Secret") != "" {
			t.Errorf("%s %s: the response has the header %v", c.method, c.target, got.header)
		}
	}
	if got := s.get("/_ping"); got.body != "OK" {
		t.Errorf("/_ping: %q, want the Engine's response", got.body)
	}
	if got := s.get("/v1.41/version"); got.body != `{"Version":"29.0.0"}` {
		t.Errorf("/version: %q, want the Engine's response", got.body)
	}
}

func TestOtherRequestsAreForbidden(t *testing.T) {
	e := newFakeEngine(t, dockerHandler)
	s := newProxyServer(t, e.socket)
	for _, c := range []struct{ method, target string }{
		// other methods
		{"HEAD", "/containers/json"},
		{"HEAD", "/events"},
		{"POST", "/containers/json"},
		{"POST", "/_ping"},
		{"POST", "/events"},
		{"PUT", "/version"},
		{"DELETE", "/containers/json"},
		{"OPTIONS", "/containers/json"},
		{"PATCH", "/_ping"},
		{"TRACE", "/_ping"},
		{"CONNECT", "/_ping"},
		{"get", "/_ping"},
		{"GETS", "/_ping"},
		// other paths
		{"GET", "/"},
		{"GET", "/info"},
		{"GET", "/containers/abc/json"},
		{"GET", "/v1.41/containers/abc/json"},
		{"GET", "/containers/abc/archive?path=/etc"},
		{"HEAD", "/containers/abc/archive?path=/etc"},
		{"GET", "/secrets"},
		{"GET", "/containers/json/abc"},
		{"GET", "/containers/json/"},
		{"GET", "/_ping/"},
		{"GET", "/x/_ping"},
		{"GET", "/containers/json;abc"},
		{"GET", "/containers/jsonx"},
		{"GET", "/containers"},
		// other versions
		{"GET", "/v1.41"},
		{"GET", "/v1.41/"},
		{"GET", "/v2.0/_ping"},
		{"GET", "/v1/_ping"},
		{"GET", "/v1./_ping"},
		{"GET", "/v1.4111/_ping"},
		{"GET", "/v1.41/v1.41/_ping"},
		{"GET", "/v1.41x/_ping"},
		{"GET", "/1.41/_ping"},
		{"GET", "/v1.4１/_ping"},
		{"GET", "/v1-41/_ping"},
		// encoded
		{"GET", "/containers%2Fjson"},
		{"GET", "/containers%2fjson"},
		{"GET", "/%63ontainers/json"},
		{"GET", "/%5Fping"},
		{"GET", "/v1%2E41/_ping"},
		{"GET", "/v1.41%2F_ping"},
		{"GET", "/containers/json%00"},
		{"GET", "/containers/json%3Fall=1"},
		{"GET", "/_ping%20"},
		{"GET", "/_ping%0d%0aX:%20y"},
		// double slashes
		{"GET", "//_ping"},
		{"GET", "//containers/json"},
		{"GET", "/containers//json"},
		{"GET", "/v1.41//containers/json"},
		{"GET", "//proxy/_ping"},
		// dot segments
		{"GET", "/./_ping"},
		{"GET", "/x/../_ping"},
		{"GET", "/containers/json/../abc/json"},
		{"GET", "/v1.41/../containers/abc/json"},
		{"GET", "/containers/./json"},
		{"GET", "/_ping/."},
		{"GET", "/v1.41/../_ping"},
		{"GET", "/%2e%2e/_ping"},
		{"GET", `/..\_ping`},
		// case
		{"GET", "/_PING"},
		{"GET", "/Containers/json"},
		{"GET", "/containers/JSON"},
		{"GET", "/V1.41/_ping"},
		{"GET", "/Events"},
	} {
		got := s.do(c.method, c.target)
		if got.status != http.StatusForbidden {
			t.Errorf("%s %s: %d %s, want 403", c.method, c.target, got.status, got.body)
		}
		if requests := e.takeRequests(); len(requests) > 0 {
			t.Errorf("%s %s: the Engine got the requests %q, want none", c.method, c.target, requests)
		}
		if c.method != http.MethodHead {
			wantMessage(t, c.method+" "+c.target, got, "the socket proxy does not forward "+c.method)
		}
	}
}

// wantMessage checks that a response is an error in the Docker Engine's format, {"message":"…"}.
func wantMessage(t *testing.T, request string, got response, contains string) {
	t.Helper()
	var fields map[string]string
	if err := json.Unmarshal([]byte(got.body), &fields); err != nil {
		t.Errorf("%s: the response is not an error of a Docker Engine: %v: %q", request, err, got.body)
		return
	}
	if len(fields) != 1 || !strings.Contains(fields["message"], contains) {
		t.Errorf("%s: %q, want only a message with %q", request, got.body, contains)
	}
	if kind := got.header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("%s: Content-Type %q, want application/json", request, kind)
	}
}

func TestClientHeadersAndBodyAreNotForwarded(t *testing.T) {
	bodies := make(chan string, 10)
	e := newFakeEngine(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
		dockerHandler(w, r)
	})
	s := newProxyServer(t, e.socket)
	for _, target := range []string{"/_ping", "/version", "/v1.41/events", "/v1.41/containers/json"} {
		got := s.sendRaw("GET", "GET "+target+" HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\nX-Registry-Auth: hunter2\r\n"+
			"Authorization: Bearer hunter2\r\nCookie: a=hunter2\r\nX-Forwarded-For: 6.6.6.6\r\nAccept-Encoding: gzip\r\n"+
			"User-Agent: hunter2\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\nhunter2")
		if got.status != http.StatusOK {
			t.Fatalf("%s: %d %s", target, got.status, got.body)
		}
		r := e.onlyRequest(t)
		if body := <-bodies; body != "" || r.ContentLength != 0 {
			t.Errorf("%s: the Engine got the body %q", target, body)
		}
		if r.Host != "docker" {
			t.Errorf("%s: the Engine got the host %q", target, r.Host)
		}
		for name, values := range r.Header {
			if name != "User-Agent" || strings.Contains(values[0], "hunter2") {
				t.Errorf("%s: the Engine got %s: %q", target, name, values)
			}
		}
		e.takeRequests()
	}
}

var allowedPaths = []string{"/_ping", "/version", "/events", "/containers/json", "/v1.41/events", "/v1.41/containers/json"}

func TestUnreachableEngineIsBadGateway(t *testing.T) {
	s := newProxyServer(t, filepath.Join(t.TempDir(), "absent.sock"))
	for _, path := range allowedPaths {
		got := s.get(path)
		if got.status != http.StatusBadGateway {
			t.Errorf("%s: %d, want 502", path, got.status)
		}
		wantMessage(t, path, got, "can't reach the Docker Engine")
	}
}

func TestShutdownDuringRequestIsBadGateway(t *testing.T) {
	for _, path := range allowedPaths {
		t.Run(path, func(t *testing.T) {
			arrived := make(chan struct{}, 1)
			e := newFakeEngine(t, func(_ http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				<-r.Context().Done()
			})
			ctx, stop := context.WithCancel(t.Context())
			server := httptest.NewUnstartedServer(socketproxy.New(e.socket))
			server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
			server.Start()
			t.Cleanup(server.Close)
			go func() {
				<-arrived
				stop()
			}()
			if got := (&proxyServer{t, server}).get(path); got.status != http.StatusBadGateway {
				t.Errorf("%d %q, want 502", got.status, got.body)
			}
		})
	}
}

func TestEngineErrorStatusIsKept(t *testing.T) {
	for _, status := range []int{301, 400, 403, 404, 500, 503} {
		e := newFakeEngine(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "http://docker/containers/abc/json") // the proxy must not follow it
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"message":"an error of the Engine"}`)
		})
		s := newProxyServer(t, e.socket)
		for _, path := range allowedPaths {
			got := s.get(path)
			if got.status != status {
				t.Errorf("%s: %d, want the Engine's %d", path, got.status, status)
			}
			wantMessage(t, path, got, "ngine")
			if got.header.Get("Location") != "" {
				t.Errorf("%s: the response has the Location %s", path, got.header.Get("Location"))
			}
			if requests := e.takeRequests(); len(requests) != 1 {
				t.Errorf("%s: the Engine got the requests %q, want one", path, requests)
			}
		}
	}
}

func TestInvalidEngineResponseIsBadGateway(t *testing.T) {
	const okHeader = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
	allPaths, onList := allowedPaths, []string{"/containers/json", "/v1.41/containers/json"}
	for name, c := range map[string]struct {
		bytes string
		paths []string
	}{
		"an empty response":       {"", allPaths},
		"not HTTP":                {"\x00\xff\xfe\r\n\r\n", allPaths},
		"a truncated header":      {"HTTP/1.1 200 OK\r\nContent-Le", allPaths},
		"a status below 100":      {"HTTP/1.1 099 hunter2\r\nContent-Length: 0\r\n\r\n", allPaths},
		"a status of zero":        {"HTTP/1.1 000 hunter2\r\nContent-Length: 0\r\n\r\n", allPaths},
		"another protocol":        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n", allPaths},
		"a list that is not JSON": {okHeader + "hunter2", onList},
		"a truncated list":        {okHeader + `[{"Id":"abc","Labels":{"token":"hunt`, onList},
		"an empty body":           {okHeader, onList},
		"an object, not a list":   {okHeader + `{"Id":"hunter2"}`, onList},
		"a list of numbers":       {okHeader + `[1,2,3]`, onList},
		"labels that are a list":  {okHeader + `[{"Id":"abc","Labels":["hunter2"]}]`, onList},
		"a deeply nested list":    {okHeader + strings.Repeat("[", 1<<20), onList},
		"a deeply nested network": {okHeader + `[{"NetworkSettings":` + strings.Repeat(`{"a":`, 1<<20), onList},
	} {
		t.Run(name, func(t *testing.T) {
			s := newProxyServer(t, serveRawBytes(t, c.bytes))
			for _, path := range c.paths {
				got := s.get(path)
				if got.status != http.StatusBadGateway {
					t.Errorf("%s: %d, want 502", path, got.status)
				}
				wantMessage(t, path, got, "Docker Engine")
				if strings.Contains(got.body, "hunter2") {
					t.Errorf("%s: the response contains the Engine's bytes: %s", path, got.body)
				}
			}
		})
	}
}
