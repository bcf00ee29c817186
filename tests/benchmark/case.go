package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"

	"github.com/theworklabs/edge/tests/benchmark/load"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// values are what a case has measured, by quantity.
type values map[string]float64

// The quantities, and their units.
const (
	processor  = "µs of a processor per request"
	throughput = "requests per second"
	p50        = "p50, µs"
	p99        = "p99, µs"
	memory     = "KiB"
)

const (
	kilobyte = 1 << 10
	megabyte = 1 << 20
)

// benchCase measures one thing of a proxy.
type benchCase struct {
	group     string // the table that it is in
	name      string // its row
	version   string // of HTTP, which not each proxy has
	endpoints int    // 0: 1
	fresh     bool   // the proxy is started again before it
	ours      bool   // needs a configuration of ours
	run       func(context.Context, *bench, *target) (values, error)
}

// The groups of cases.
const (
	small       = "Small requests"
	large       = "Large bodies"
	connections = "Connections"
	endpoints   = "Endpoints"
	latency     = "Latency"
	idle        = "Memory"
)

// cases returns all cases, in the order in which they run.
func cases() (all []benchCase) {
	versions := []string{load.HTTP1, load.HTTP1TLS, load.HTTP2, load.HTTP3}
	for _, version := range versions {
		all = append(all,
			requestCase(small, "GET 1 KB, "+version, version, http.MethodGet, kilobyte, 0, 64),
			requestCase(small, "POST 1 KB, "+version, version, http.MethodPost, kilobyte, kilobyte, 64))
	}
	all = append(all, benchCase{group: small, name: "GET 1 KB, HTTP/1.1, with an access log", version: load.HTTP1, ours: true, run: func(ctx context.Context, b *bench, t *target) (values, error) {
		r := t.request(load.HTTP1, http.MethodGet, kilobyte, 0)
		r.Address = t.logged
		return b.saturate(ctx, t, r, 64)
	}})
	all = append(all, benchCase{group: small, name: "POST 1 KB, HTTP/1.1, with reuse all in the edge", version: load.HTTP1, ours: true, run: func(ctx context.Context, b *bench, t *target) (values, error) {
		r := t.request(load.HTTP1, http.MethodPost, kilobyte, kilobyte)
		if t.name == "edge" {
			r.Address = t.reusing
		}
		return b.saturate(ctx, t, r, 64)
	}})
	all = append(all, benchCase{group: small, name: "WebSocket, 100 bytes and their echo", version: load.HTTP1, run: func(ctx context.Context, b *bench, t *target) (values, error) {
		return b.saturate(ctx, t, load.Request{Version: load.WebSocket, Address: t.http, Path: socketPath, Body: 100}, 64)
	}})
	for _, version := range versions {
		all = append(all,
			requestCase(large, "GET 100 KB, "+version, version, http.MethodGet, 100*kilobyte, 0, 16),
			requestCase(large, "POST 100 KB, "+version, version, http.MethodPost, kilobyte, 100*kilobyte, 16),
			requestCase(large, "GET 10 MB, "+version, version, http.MethodGet, 10*megabyte, 0, 4),
			requestCase(large, "POST 10 MB, "+version, version, http.MethodPost, kilobyte, 10*megabyte, 4))
	}
	for _, n := range []int{1, 16, 256, 1024} {
		all = append(all, requestCase(connections, fmt.Sprint(n), load.HTTP1, http.MethodGet, kilobyte, 0, n))
	}
	for _, rate := range []int{250, 500, 1000, 2000, 3000} {
		all = append(all, benchCase{group: latency, name: fmt.Sprint(rate), version: load.HTTP1, run: func(ctx context.Context, b *bench, t *target) (values, error) {
			return b.pace(ctx, t, rate)
		}})
	}
	all = append(all, benchCase{group: latency, name: "half of what the edge can do", version: load.HTTP1, run: func(ctx context.Context, b *bench, t *target) (values, error) {
		return b.paceHalf(ctx, t)
	}})
	all = append(all, memoryCases()...)
	for _, n := range []int{1, 10, maxEndpoints} {
		c := requestCase(endpoints, fmt.Sprint(n), load.HTTP1, http.MethodGet, kilobyte, 0, 64)
		c.endpoints, c.fresh, c.ours = n, true, true
		all = append(all, c)
	}
	return all
}

// requestCase saturates the proxy with one request.
func requestCase(group, name, version, method string, response, body, connections int) benchCase {
	return benchCase{group: group, name: name, version: version, run: func(ctx context.Context, b *bench, t *target) (values, error) {
		return b.saturate(ctx, t, t.request(version, method, response, body), connections)
	}}
}

// memoryCases measure what a proxy needs for connections on which nothing happens, right after its start.
func memoryCases() (all []benchCase) {
	for _, version := range []string{load.HTTP1, load.HTTP1TLS} {
		all = append(all,
			benchCase{group: idle, name: "idle WebSocket, " + version, version: version, fresh: true, run: func(ctx context.Context, b *bench, t *target) (values, error) {
				to := sockets.Target{Address: t.address(version), Host: "localhost", Path: socketPath}
				if version == load.HTTP1TLS {
					to.TLS = &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}
				}
				return b.memory(ctx, t, b.effort.Sockets, func(n int) (func(), error) {
					group, err := sockets.Open(ctx, to, n)
					if err != nil {
						return nil, err
					}
					return group.Close, nil
				})
			}},
			benchCase{group: idle, name: "waiting request, " + version, version: version, fresh: true, run: func(ctx context.Context, b *bench, t *target) (values, error) {
				return b.memory(ctx, t, b.effort.Waiting, func(n int) (func(), error) { return openWaiting(ctx, t, version, n) })
			}})
	}
	return all
}

// openWaiting sends requests that get no response until they are closed.
func openWaiting(ctx context.Context, t *target, version string, n int) (closeAll func(), err error) {
	all := make([]net.Conn, 0, n)
	closeAll = func() {
		for _, conn := range all {
			_ = conn.Close()
		}
	}
	for range n {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.address(version))
		if err != nil {
			closeAll()
			return nil, err
		}
		if version == load.HTTP1TLS {
			conn = tls.Client(conn, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true})
		}
		all = append(all, conn)
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n", waitPath); err != nil {
			closeAll()
			return nil, err
		}
	}
	return closeAll, nil
}
