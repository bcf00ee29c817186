// Package socketproxy lets the edge see which containers there are, and nothing else of Docker.
//
// Whoever can write to the Docker socket owns the host, and whoever can read all of it knows every secret in every
// environment variable. The guard holds the socket in a container of its own, passes four kinds of GET, and strips
// their answers to what discovery needs.
package socketproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Proxy is an [http.Handler] in front of a Docker Engine. It passes GET (and HEAD) of /_ping and /version, and GET of
// /events and /containers/json, with and without an API version in front; all else is answered with 403.
type Proxy struct {
	engine *http.Client
	routes map[string]http.HandlerFunc
}

// New returns a guard of the Engine behind a unix socket.
func New(socket string) *Proxy {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	g := &Proxy{engine: &http.Client{
		Transport: &http.Transport{
			DialContext: dial, DisableCompression: true,
			MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	g.routes = map[string]http.HandlerFunc{
		"/_ping":           g.forward,
		"/version":         g.forward,
		"/events":          g.serveEvents,
		"/containers/json": g.serveContainers,
	}
	return g
}

var versionPrefix = regexp.MustCompile(`^/v1\.\d{1,3}/`)

// ServeHTTP passes a request, or answers it with 403.
func (g *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if prefix := versionPrefix.FindString(path); prefix != "" {
		path = path[len(prefix)-1:]
	}
	route := g.routes[path]
	head := r.Method == http.MethodHead && (path == "/_ping" || path == "/version")
	if route == nil || r.URL.RawPath != "" || r.Method != http.MethodGet && !head {
		writeError(w, http.StatusForbidden, fmt.Sprintf("the guard does not pass %s %s", r.Method, r.URL.Path))
		return
	}
	route(w, r)
}

// forward hands a question on as it is, and the answer back.
func (g *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	resp, err := g.roundTrip(r, nil)
	if err != nil {
		writeUnreachable(w, err)
		return
	}
	defer resp.Body.Close()
	copyStatusAndHeader(w, resp)
	_, _ = io.Copy(w, io.LimitReader(resp.Body, 1<<20)) // a client that left needs no answer
}

// roundTrip sends the request to the Engine with nothing of the client's but its method, path and, as given, its query.
func (g *Proxy) roundTrip(r *http.Request, query url.Values) (*http.Response, error) {
	target := url.URL{Scheme: "http", Host: "docker", Path: r.URL.Path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, target.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := g.engine.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusOK { // 101, or a number that is no status: net/http would panic at passing it on
		resp.Body.Close()
		return nil, fmt.Errorf("it answered with status %03d", resp.StatusCode)
	}
	return resp, nil
}

// fetch asks the Engine and returns an answer with status 200; or nil, when it has told the client why there is none.
func (g *Proxy) fetch(w http.ResponseWriter, r *http.Request, query url.Values) *http.Response {
	resp, err := g.roundTrip(r, query)
	if err != nil {
		writeUnreachable(w, err)
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		writeError(w, resp.StatusCode, "the Docker Engine answered "+resp.Status)
		return nil
	}
	return resp
}

// copyStatusAndHeader copies the status and those headers that a client of the Engine reads.
func copyStatusAndHeader(w http.ResponseWriter, resp *http.Response) {
	for _, name := range []string{"Content-Type", "Api-Version", "Docker-Experimental", "Ostype", "Server", "Builder-Version", "Swarm"} {
		if value := resp.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(resp.StatusCode)
}

// writeError answers in the shape of the Engine's own errors.
func writeError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // a client that left needs no answer
}

func writeUnreachable(w http.ResponseWriter, err error) {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	writeError(w, http.StatusBadGateway, "the guard can't reach the Docker Engine: "+err.Error())
}

// isNeededLabel reports whether a label is one of those of Compose that discovery reads, or the edge's own. Others may hold anything.
func isNeededLabel(name string) bool {
	switch name {
	case "com.docker.compose.project", "com.docker.compose.service",
		"com.docker.compose.container-number", "com.docker.compose.oneoff":
		return true
	}
	return strings.HasPrefix(name, "edge.")
}
