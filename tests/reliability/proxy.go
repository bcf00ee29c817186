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

	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/reliability/lab"
	"github.com/theworklabs/edge/tests/reliability/load"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// The two services of the lab, by the host names under which every proxy serves them.
const (
	apiHost     = "api.localhost"
	controlHost = "control.localhost"
)

// proxy is one of those that are compared.
type proxy struct {
	name       string
	service    string // in the lab's compose file; "": somebody else runs it
	address    string // where it speaks HTTP, HOST:PORT or the path of a unix socket
	tlsAddress string // where it speaks HTTPS; "": nowhere
	admin      string // Caddy's admin API; "": it has none

	// reloadArgs are the arguments of docker that reload the proxy of a container, which follows the first word.
	reloadArgs []string
}

// isEdge reports whether scenarios that take an edge can be run with it.
func (p proxy) isEdge() bool { return p.service == "edge" }

// labProxies are the proxies of the compose file, with what its variables are to say. Each reloads as its own manual has it.
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
			port, err := harness.ReservePort()
			if err != nil {
				return nil, err
			}
			*address = net.JoinHostPort("127.0.0.1", port)
		}
	}
	return all, nil
}

// setPorts sets the proxy's ports in the compose file.
func (p proxy) setPorts(project *lab.Project) {
	for suffix, address := range map[string]string{"HTTP": p.address, "HTTPS": p.tlsAddress, "ADMIN": p.admin} {
		if _, port, err := net.SplitHostPort(address); err == nil {
			project.Set("LAB_"+strings.ToUpper(p.service)+"_"+suffix, port)
		}
	}
}

// parseTarget reads NAME=URL, a proxy that somebody else runs.
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

// socketTarget says where WebSockets to a service are opened.
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

// routesTo reports whether the proxy gives requests for a host to n different backends, as far as 10 n requests show.
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
