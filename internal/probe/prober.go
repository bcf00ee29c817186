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
	tcpInterval     = 50 * time.Millisecond  // while nothing listens
	slowTCPInterval = 250 * time.Millisecond // after a minute of that
	minBackoff      = 100 * time.Millisecond
	maxBackoff      = time.Second
)

// Run checks one endpoint until ctx ends.
func (p *Prober) Run(ctx context.Context, t registry.Target) {
	c := newChecker(p, t)
	defer c.close()
	slowest := maxBackoff
	for ctx.Err() == nil {
		if !p.probeUntilReady(ctx, c, t, slowest) {
			return
		}
		p.probeWhileReady(ctx, c, t)
		slowest = p.config.Interval // it has answered before: no hurry beyond what is configured
	}
}

// probeUntilReady checks until the endpoint has passed Rise times in a row. It returns false when ctx ended.
func (p *Prober) probeUntilReady(ctx context.Context, c *checker, t registry.Target, slowest time.Duration) bool {
	began := time.Now()
	pause := minBackoff
	for passed := 0; ; {
		wait := tcpInterval
		if time.Since(began) > time.Minute {
			wait = slowTCPInterval
		}
		listens := c.checkTCP(ctx)
		var how string
		err := listens
		if listens == nil {
			how, err = c.run(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return false // the check was cut short: the endpoint is not to blame
		case p.reportIfExhausted(err):
			wait = maxBackoff // it says nothing about the endpoint
		case listens != nil:
			passed, pause = 0, minBackoff
			t.ReportFailing(err.Error())
		case err != nil:
			passed = 0
			wait, pause = pause, min(2*pause, slowest)
			t.ReportFailing(err.Error())
		default:
			passed++
			wait = minBackoff
			if passed >= p.config.Rise {
				if c.tcpFallback {
					p.log.Warn("none of the probe's URIs exists; a TCP connection is all that can be checked",
						zap.String("service", t.Service()), zap.String("address", t.Address()), zap.Strings("uris", p.config.URIs))
				}
				t.ReportReady(how)
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-t.CheckRequests():
		case <-time.After(wait):
		}
	}
}

// probeWhileReady checks at the interval until the endpoint has failed Fall times in a row, or a request found it gone.
func (p *Prober) probeWhileReady(ctx context.Context, c *checker, t registry.Target) {
	for failed := 0; failed < p.config.Fall; {
		select {
		case <-ctx.Done():
			return
		case <-t.CheckRequests():
			if !t.IsReady() {
				return
			}
		case <-time.After(p.nextCheckDelay(failed > 0)):
		}
		how, err := c.run(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case p.reportIfExhausted(err):
		case err == nil:
			failed = 0
			t.ReportReady(how)
		default:
			failed++
			if failed >= p.config.Fall {
				t.ReportFailing(err.Error())
			} else {
				t.ReportFailedCheck()
			}
		}
		if !t.IsReady() {
			return
		}
	}
}

// reportIfExhausted reports whether a check failed because the edge has run out of something, and says so to whom it concerns.
func (p *Prober) reportIfExhausted(err error) bool {
	kind, ours := resource.Exhausted(err)
	if ours {
		p.onExhausted(kind, err)
	}
	return ours
}

// fastIntervalDivisor is by how much sooner the next check comes when the last one failed: requests are on their way meanwhile.
const fastIntervalDivisor = 5

// nextCheckDelay returns how long to wait for the next check of a ready endpoint.
func (p *Prober) nextCheckDelay(doubtful bool) time.Duration {
	interval := p.config.Interval
	if doubtful {
		interval /= fastIntervalDivisor
	}
	spread := p.config.Jitter * float64(interval)
	return interval + time.Duration(spread*(2*rand.Float64()-1))
}
