package probe

import (
	"context"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
)

const (
	tcpEvery   = 50 * time.Millisecond  // while nothing listens
	tcpLater   = 250 * time.Millisecond // after a minute of that
	httpFirst  = 100 * time.Millisecond
	httpSlower = time.Second
)

// Run checks one endpoint until ctx ends.
func (p *Prober) Run(ctx context.Context, t registry.Target) {
	c := newCheck(p, t)
	defer c.close()
	slowest := httpSlower
	for ctx.Err() == nil {
		if !p.untilReady(ctx, c, t, slowest) {
			return
		}
		p.whileReady(ctx, c, t)
		slowest = p.config.Interval // it has answered before: no hurry beyond what is configured
	}
}

// untilReady checks until the endpoint has passed Rise times in a row. It returns false when ctx ended.
func (p *Prober) untilReady(ctx context.Context, c *check, t registry.Target, slowest time.Duration) bool {
	began := time.Now()
	pause := httpFirst
	for passed := 0; ; {
		wait := tcpEvery
		if time.Since(began) > time.Minute {
			wait = tcpLater
		}
		listens := c.tcp(ctx)
		var how string
		err := listens
		if listens == nil {
			how, err = c.run(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return false // the check was cut short: the endpoint is not to blame
		case p.isOurs(err):
			wait = httpSlower // it says nothing about the endpoint
		case listens != nil:
			passed, pause = 0, httpFirst
			t.Fails(err.Error())
		case err != nil:
			passed = 0
			wait, pause = pause, min(2*pause, slowest)
			t.Fails(err.Error())
		default:
			passed++
			wait = httpFirst
			if passed >= p.config.Rise {
				if c.fellBack {
					p.log.Warn("none of the probe's URIs exists; a TCP connection is all that can be checked",
						zap.String("service", t.Service()), zap.String("address", t.Address()), zap.Strings("uris", p.config.URIs))
				}
				t.Answers(how)
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-t.Poked():
		case <-time.After(wait):
		}
	}
}

// whileReady checks at the interval until the endpoint has failed Fall times in a row, or a request found it gone.
func (p *Prober) whileReady(ctx context.Context, c *check, t registry.Target) {
	for failed := 0; failed < p.config.Fall; {
		select {
		case <-ctx.Done():
			return
		case <-t.Poked():
			if !t.Ready() {
				return
			}
		case <-time.After(p.nextCheck(failed > 0)):
		}
		how, err := c.run(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case p.isOurs(err):
		case err == nil:
			failed = 0
			t.Answers(how)
		default:
			failed++
			if failed >= p.config.Fall {
				t.Fails(err.Error())
			} else {
				t.Misses()
			}
		}
		if !t.Ready() {
			return
		}
	}
}

// isOurs reports whether a check failed because the edge has run out of something, and says so to whom it concerns.
func (p *Prober) isOurs(err error) bool {
	kind, ours := resource.Exhausted(err)
	if ours {
		p.exhausted(kind, err)
	}
	return ours
}

// hurry is by how much sooner the next check comes when the last one failed: requests are on their way meanwhile.
const hurry = 5

// nextCheck returns how long to wait for the next check of a ready endpoint.
func (p *Prober) nextCheck(doubtful bool) time.Duration {
	interval := p.config.Interval
	if doubtful {
		interval /= hurry
	}
	spread := p.config.Jitter * float64(interval)
	return interval + time.Duration(spread*(2*rand.Float64()-1))
}
