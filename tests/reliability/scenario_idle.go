package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/theworklabs/edge/tests/reliability/lab"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// IdleCost is what WebSockets cost by way of one proxy while nothing moves on them.
type IdleCost struct {
	Proxy      string  `json:"proxy"`
	TLS        bool    `json:"tls"`
	Sockets    int     `json:"sockets"`
	KiB        float64 `json:"kib_per_socket"` // proportional set size; what the kernel keeps is not in it
	Goroutines float64 `json:"goroutines_per_socket,omitempty"`
}

// What the edge promises of an idle WebSocket. A connection of the admin API may come and go beside them.
const (
	maxGoroutines = 2.05
	maxKiB        = 14.0
	maxKiBTLS     = 24.0
)

// violations returns what of that is not kept.
func (c IdleCost) violations() (all []string) {
	most, how := maxKiB, "plain"
	if c.TLS {
		most, how = maxKiBTLS, "over TLS"
	}
	if c.KiB > most {
		all = append(all, fmt.Sprintf("an idle WebSocket takes %.1f KiB %s, want %.0f at the most", c.KiB, how, most))
	}
	if c.Goroutines > maxGoroutines {
		all = append(all, fmt.Sprintf("an idle WebSocket takes %.1f goroutines %s, want 2 at the most", c.Goroutines, how))
	}
	return all
}

var idleSockets = scenario{
	name:            "idle WebSockets",
	what:            "WebSockets that stay idle, one proxy at a time, plain and over TLS; each proxy is new, and logs and counts as in the other scenarios.",
	promise:         promise{none: true},
	restartsProxies: true,
	run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
		for _, p := range proxies {
			if p.service == "" {
				continue
			}
			for _, secure := range []bool{false, true} {
				cost, err := s.measureIdle(ctx, p, secure)
				if err != nil {
					return nil, err
				}
				s.idleCosts = append(s.idleCosts, cost)
			}
		}
		return nil, nil
	},
}

// measureIdle measures what a new container of the proxy needs for idle WebSockets.
func (s *testbed) measureIdle(ctx context.Context, p proxy, secure bool) (IdleCost, error) {
	cost := IdleCost{Proxy: p.name, TLS: secure, Sockets: s.effort.Idle}
	if _, err := s.project.Compose(ctx, "up", "--detach", "--no-deps", "--force-recreate", p.service); err != nil {
		return cost, err
	}
	if err := s.waitRouted(ctx, 1); err != nil {
		return cost, err
	}
	target := p.socketTarget(controlHost)
	if secure {
		target = p.tlsSocketTarget(controlHost)
	}
	// The first ones have the proxy load what all of them need.
	warm, err := sockets.Open(ctx, target, 20)
	if err != nil {
		return cost, err
	}
	warm.Close()
	kibBefore, useBefore, err := s.steadyUsage(ctx, p)
	if err != nil {
		return cost, err
	}
	crowd, err := sockets.Open(ctx, target, s.effort.Idle)
	if err != nil {
		return cost, err
	}
	defer crowd.Close()
	kib, use, err := s.steadyUsage(ctx, p)
	if err != nil {
		return cost, err
	}
	if n := crowd.Alive(); n != s.effort.Idle {
		return cost, fmt.Errorf("%s: only %d of %d sockets stayed open", p.name, n, s.effort.Idle)
	}
	n := float64(s.effort.Idle)
	cost.KiB = float64(kib-kibBefore) / n
	cost.Goroutines = float64(use.goroutines-useBefore.goroutines) / n
	return cost, nil
}

// steadyUsage returns what a proxy uses once that changes no more. The garbage of a Go program is collected first; the others
// have none.
func (s *testbed) steadyUsage(ctx context.Context, p proxy) (kib int, open resourceUsage, err error) {
	id, err := s.project.Container(ctx, p.service)
	if err != nil {
		return 0, resourceUsage{}, err
	}
	const still = 500 * time.Millisecond
	for last, same := 0, 0; same < s.effort.Steady; last = kib {
		if p.admin != "" {
			if _, err := p.callAdmin(ctx, http.MethodGet, "/debug/pprof/heap?gc=1", nil); err != nil {
				return 0, resourceUsage{}, err
			}
			if open, err = p.resourceUsage(ctx); err != nil {
				return 0, resourceUsage{}, err
			}
		}
		if kib, err = lab.Memory(ctx, id); err != nil {
			return 0, resourceUsage{}, err
		}
		if same++; kib < last-last/200 || kib > last+last/200 {
			same = 0
		}
		if err := sleep(ctx, still); err != nil {
			return 0, resourceUsage{}, err
		}
	}
	return kib, open, nil
}
