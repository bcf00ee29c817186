package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/reliability/load"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// The hosts with which every proxy serves the two services of the lab.
const (
	apiHost     = "api.localhost"
	controlHost = "control.localhost"
)

// proxy is one of the proxies that the suite compares.
type proxy struct {
	name       string
	service    string // in the lab's compose file; "": the user runs the proxy
	address    string // for HTTP: HOST:PORT or the path of a unix socket
	tlsAddress string // for HTTPS; "": none
	admin      string // address of Caddy's admin API; "": none

	// reloadArgs are the arguments of docker that reload the proxy. The container's ID takes the place of the second one.
	reloadArgs []string
}

// isEdge reports whether scenarios that need an edge can run with the proxy.
func (p proxy) isEdge() bool { return p.service == "edge" }

// labProxies returns the proxies of the compose file, with free ports for its variables. Each reloads as its manual recommends.
func labProxies() ([]proxy, error) {
	all := []proxy{
		{name: "edge", admin: "admin", reloadArgs: []string{"exec", "", "edge", "reload", "--force", "--config", "/etc/edge/lab.Caddyfile", "--adapter", "caddyfile"}},
		{name: "caddy", admin: "admin", reloadArgs: []string{"exec", "", "caddy", "reload", "--force", "--config", "/etc/caddy/Caddyfile"}},
		{name: "nginx", reloadArgs: []string{"kill", "", "--signal", "HUP"}},
		{name: "haproxy", reloadArgs: []string{"kill", "", "--signal", "USR2"}},
	}
	for i := range all {
		p := &all[i]
		p.service = p.name
		for _, address := range []*string{&p.address, &p.tlsAddress, &p.admin} {
			if address == &p.admin && p.admin == "" {
				continue
			}
			port, err := testport.Reserve()
			if err != nil {
				return nil, err
			}
			*address = net.JoinHostPort("127.0.0.1", port)
		}
	}
	return all, nil
}

// setPorts sets the proxy's ports in the compose file.
func (p proxy) setPorts(project *harness.Project) {
	for suffix, address := range map[string]string{"HTTP": p.address, "HTTPS": p.tlsAddress, "ADMIN": p.admin} {
		if _, port, err := net.SplitHostPort(address); err == nil {
			project.Setenv("LAB_"+strings.ToUpper(p.service)+"_"+suffix, port)
		}
	}
}

// parseTarget parses NAME=URL, a proxy that the user runs.
func parseTarget(text string) (proxy, error) {
	name, address, ok := strings.Cut(text, "=")
	u, err := url.Parse(address)
	if !ok || name == "" || err != nil || u.Scheme != "http" || u.Host == "" {
		return proxy{}, fmt.Errorf("target %q: want NAME=URL, such as traefik=http://127.0.0.1:8000", text)
	}
	p := proxy{name: name, address: u.Host}
	if u.Port() == "" {
		p.address = net.JoinHostPort(u.Hostname(), "80")
	}
	return p, nil
}

// socketTarget returns the target for WebSockets to a service.
func (p proxy) socketTarget(host string) sockets.Target {
	return sockets.Target{Address: p.address, Host: host}
}

// tlsSocketTarget is socketTarget over TLS.
func (p proxy) tlsSocketTarget(host string) sockets.Target {
	return sockets.Target{Address: p.tlsAddress, Host: host, TLS: &tls.Config{ServerName: host, InsecureSkipVerify: true}}
}

// client returns a client of the proxy that keeps no connection.
func (p proxy) client() *http.Client {
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				if strings.HasPrefix(p.address, "/") {
					network = "unix"
				}
				return new(net.Dialer).DialContext(ctx, network, p.address)
			},
		},
	}
}

// routesTo reports whether the proxy sends requests for a host to n different backends. It makes at most 10 n requests.
func (p proxy) routesTo(ctx context.Context, host string, n int) bool {
	client := p.client()
	seen := make(map[string]bool)
	for range 10 * n {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/_test/echo", nil)
		if err != nil {
			return false
		}
		resp, err := client.Do(req)
		if err != nil {
			return false
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return false
		}
		if seen[resp.Header.Get(load.BackendHeader)] = true; len(seen) == n {
			return true
		}
	}
	return false
}
