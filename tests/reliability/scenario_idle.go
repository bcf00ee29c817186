package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/theworklabs/edge/tests/reliability/lab"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// IdleCost is what idle WebSockets through one proxy cost.
type IdleCost struct {
	Proxy      string  `json:"proxy"`
	TLS        bool    `json:"tls"`
	Sockets    int     `json:"sockets"`
	KiB        float64 `json:"kib_per_socket"` // proportional set size, without the kernel's memory
	Goroutines float64 `json:"goroutines_per_socket,omitempty"`
}

// What the edge promises for an idle WebSocket. The fraction of a goroutine is for connections of the admin API.
const (
	maxGoroutines = 2.05
	maxKiB        = 14.0
	maxKiBTLS     = 24.0
)

// violations returns the promises that are broken.
func (c IdleCost) violations() (all []string) {
	limit, kind := maxKiB, "plain"
	if c.TLS {
		limit, kind = maxKiBTLS, "over TLS"
	}
	if c.KiB > limit {
		all = append(all, fmt.Sprintf("an idle WebSocket takes %.1f KiB %s, want at most %.0f", c.KiB, kind, limit))
	}
	if c.Goroutines > maxGoroutines {
		all = append(all, fmt.Sprintf("an idle WebSocket takes %.1f goroutines %s, want at most 2", c.Goroutines, kind))
	}
	return all
}

var idleSockets = scenario{
	name:            "idle WebSockets",
	what:            "Idle WebSockets through one proxy at a time, plain and over TLS. Each proxy has just started, and writes logs and metrics as in the other scenarios.",
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

// measureIdle measures what a new container of the proxy uses for idle WebSockets.
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
	// With the first sockets, the proxy allocates what all sockets share.
	warm, err := sockets.Open(ctx, target, 20)
	if err != nil {
		return cost, err
	}
	warm.Close()
	kibBefore, before, err := s.steadyUsage(ctx, p)
	if err != nil {
		return cost, err
	}
	group, err := sockets.Open(ctx, target, s.effort.Idle)
	if err != nil {
		return cost, err
	}
	defer group.Close()
	kib, after, err := s.steadyUsage(ctx, p)
	if err != nil {
		return cost, err
	}
	if n := group.Alive(); n != s.effort.Idle {
		return cost, fmt.Errorf("%s: only %d of %d sockets are still open", p.name, n, s.effort.Idle)
	}
	n := float64(s.effort.Idle)
	cost.KiB = float64(kib-kibBefore) / n
	cost.Goroutines = float64(after.goroutines-before.goroutines) / n
	return cost, nil
}

// steadyUsage waits until the memory of a proxy is steady, and returns the proxy's usage. It first makes Go programs collect garbage.
func (s *testbed) steadyUsage(ctx context.Context, p proxy) (kib int, open resourceUsage, err error) {
	id, err := s.project.Container(ctx, p.service)
	if err != nil {
		return 0, resourceUsage{}, err
	}
	const interval = 500 * time.Millisecond
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
		if err := sleep(ctx, interval); err != nil {
			return 0, resourceUsage{}, err
		}
	}
	return kib, open, nil
}
