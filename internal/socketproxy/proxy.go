// Package socketproxy lets the edge see which containers exist, and nothing else of Docker.
//
// Write access to Docker's socket is root access to the host, and full read access shows the secrets in every environment variable.
// The socket proxy (the command edge guard) has the socket in a container of its own. It forwards four read-only requests, and strips
// the responses to what discovery needs. If it is allowed to, it also forwards three lists of a Swarm manager, and restarts unhealthy containers.
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

// Proxy is an [http.Handler] in front of a Docker Engine. It forwards GET and HEAD of /_ping and /version, and GET of /events and
// /containers/json, with and without an API version before them, and answers every other request with 403.
type Proxy struct {
	engine   *http.Client
	routes   map[string]http.HandlerFunc
	restarts *restarts // nil: it forwards none
}

// New returns a proxy for the Docker Engine that listens on a unix socket.
func New(socket string) *Proxy {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	p := &Proxy{engine: &http.Client{
		Transport: &http.Transport{
			DialContext: dial, DisableCompression: true,
			MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	p.routes = map[string]http.HandlerFunc{
		"/_ping":           p.forward,
		"/version":         p.forward,
		"/events":          p.serveEvents,
		"/containers/json": p.serveContainers,
	}
	return p
}

var versionPrefix = regexp.MustCompile(`^/v1\.\d{1,3}/`)

// ServeHTTP forwards a request, or answers it with 403.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if prefix := versionPrefix.FindString(path); prefix != "" {
		path = path[len(prefix)-1:]
	}
	if id := restartPath.FindStringSubmatch(path); id != nil && p.restarts != nil && r.Method == http.MethodPost && r.URL.RawPath == "" {
		p.restarts.serve(w, r, id[1])
		return
	}
	route := p.routes[path]
	isHead := r.Method == http.MethodHead && (path == "/_ping" || path == "/version")
	if route == nil || r.URL.RawPath != "" || r.Method != http.MethodGet && !isHead {
		writeError(w, http.StatusForbidden, fmt.Sprintf("the socket proxy does not forward %s %s", r.Method, r.URL.Path))
		return
	}
	route(w, r)
}

// forward sends a request to the Docker Engine without its query, and copies the response.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	resp, err := p.roundTrip(r, nil)
	if err != nil {
		writeUnreachable(w, err)
		return
	}
	defer resp.Body.Close()
	copyStatusAndHeader(w, resp)
	_, _ = io.Copy(w, io.LimitReader(resp.Body, 1<<20)) // the client may have disconnected
}

// roundTrip sends a request to the Docker Engine: the client's method and path, and the given query. No header or body of the client's
// is forwarded.
func (p *Proxy) roundTrip(r *http.Request, query url.Values) (*http.Response, error) {
	target := url.URL{Scheme: "http", Host: "docker", Path: r.URL.Path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, target.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.engine.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusOK { // 101, or an invalid status, with which WriteHeader would panic
		resp.Body.Close()
		return nil, fmt.Errorf("the response has the status %03d", resp.StatusCode)
	}
	return resp, nil
}

// fetch sends a request to the Docker Engine and returns its response if the status is 200. Otherwise it answers the client with an
// error and returns nil.
func (p *Proxy) fetch(w http.ResponseWriter, r *http.Request, query url.Values) *http.Response {
	resp, err := p.roundTrip(r, query)
	if err != nil {
		writeUnreachable(w, err)
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		writeError(w, resp.StatusCode, "the Docker Engine answers "+resp.Status)
		return nil
	}
	return resp
}

// copyStatusAndHeader copies the status and the headers that Docker clients read.
func copyStatusAndHeader(w http.ResponseWriter, resp *http.Response) {
	for _, name := range []string{"Content-Type", "Api-Version", "Docker-Experimental", "Ostype", "Server", "Builder-Version", "Swarm"} {
		if value := resp.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(resp.StatusCode)
}

// writeError answers with an error in the Docker Engine's own format.
func writeError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // the client may have disconnected
}

func writeUnreachable(w http.ResponseWriter, err error) {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	writeError(w, http.StatusBadGateway, "the socket proxy can't reach the Docker Engine: "+err.Error())
}

// isNeededLabel reports whether a label is one of Compose's that discovery reads, or one of the edge's own. Others may contain secrets.
func isNeededLabel(name string) bool {
	switch name {
	case "com.docker.compose.project", "com.docker.compose.service",
		"com.docker.compose.container-number", "com.docker.compose.oneoff",
		"com.docker.compose.depends_on": // names of services, of which some are migrations
		return true
	}
	return strings.HasPrefix(name, "edge.")
}
