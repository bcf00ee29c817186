package probe

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
)

const (
	tcpInterval     = 50 * time.Millisecond  // while nothing listens
	slowTCPInterval = 250 * time.Millisecond // after a minute without a pass

	// The backoff while the endpoint listens and fails the check.
	minBackoff = 100 * time.Millisecond
	maxBackoff = time.Second

	// fastIntervalDivisor shortens the interval after a failed check of a ready endpoint, which still gets requests.
	fastIntervalDivisor = 5
)

// Prober checks endpoints as a [Config] says. It is a [registry.Prober], and safe for concurrent use.
type Prober struct {
	config Config
	body   *regexp.Regexp
	log    *zap.Logger

	onExhausted func(resource.Kind, error)
}

// New returns a prober of a configuration that [Config.Validate] accepts. log may be nil. onExhausted may be nil too; the prober
// calls it when a check fails because the edge has run out of a resource.
func New(c Config, log *zap.Logger, onExhausted func(resource.Kind, error)) (*Prober, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Status = cmp.Or(c.Status, "2xx")
	c.Interval = cmp.Or(c.Interval, DefaultInterval)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.Rise = cmp.Or(c.Rise, DefaultRise)
	c.Fall = cmp.Or(c.Fall, DefaultFall)
	c.Jitter = max(cmp.Or(c.Jitter, DefaultJitter), 0)
	if log == nil {
		log = zap.NewNop()
	}
	if onExhausted == nil {
		onExhausted = func(resource.Kind, error) {}
	}
	return &Prober{config: c, body: regexp.MustCompile(c.Body), log: log, onExhausted: onExhausted}, nil
}

// Same reports whether another prober checks in the same way, so that a reload can keep the checks that run.
func (p *Prober) Same(other registry.Prober) bool {
	o, ok := other.(*Prober)
	if !ok {
		return false
	}
	a, b := p.config, o.config
	same := slices.Equal(a.URIs, b.URIs)
	a.URIs, b.URIs = nil, nil
	return same && fmt.Sprint(a) == fmt.Sprint(b)
}

// Run checks one endpoint until ctx ends, and reports to t.
func (p *Prober) Run(ctx context.Context, t registry.Target) {
	c := newChecker(p, t)
	defer c.close()
	limit := maxBackoff
	for ctx.Err() == nil {
		if !p.probeUntilReady(ctx, c, t, limit) {
			return
		}
		p.probeWhileReady(ctx, c, t)
		limit = p.config.Interval // the endpoint has been ready before
	}
}

// probeUntilReady checks until the endpoint has passed Rise times in a row. The backoff grows up to limit. It returns false if
// ctx has ended.
func (p *Prober) probeUntilReady(ctx context.Context, c *checker, t registry.Target, limit time.Duration) bool {
	start := time.Now()
	backoff := minBackoff
	for passed := 0; ; {
		wait := tcpInterval
		if time.Since(start) > time.Minute {
			wait = slowTCPInterval
		}
		tcpErr := c.checkTCP(ctx)
		var reason string
		err := tcpErr
		if tcpErr == nil {
			reason, err = c.run(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return false // a canceled check says nothing about the endpoint
		case p.reportIfExhausted(err):
			wait = maxBackoff // the check says nothing about the endpoint
		case tcpErr != nil:
			t.Count(false)
			passed, backoff = 0, minBackoff
			t.ReportFailing(err.Error())
		case err != nil:
			t.Count(false)
			passed = 0
			wait, backoff = backoff, min(2*backoff, limit)
			t.ReportFailing(err.Error())
		default:
			t.Count(true)
			passed++
			wait = minBackoff
			if passed >= p.config.Rise {
				if c.tcpFallback {
					p.log.Warn("none of the probe's URIs exists; the probe checks by TCP only",
						zap.String("service", t.Service()), zap.String("address", t.Address()), zap.Strings("uris", p.config.URIs))
				}
				t.ReportReady(reason)
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

// probeWhileReady checks at the interval until the endpoint has failed Fall times in a row, a connection to it has failed, or ctx
// has ended.
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
		reason, err := c.run(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case p.reportIfExhausted(err):
		case err == nil:
			t.Count(true)
			failed = 0
			t.ReportReady(reason)
		default:
			t.Count(false)
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

// reportIfExhausted returns whether a check failed because the edge has run out of a resource, and calls onExhausted if so.
func (p *Prober) reportIfExhausted(err error) bool {
	kind, isExhausted := resource.Exhausted(err)
	if isExhausted {
		p.onExhausted(kind, err)
	}
	return isExhausted
}

// nextCheckDelay returns the time until the next check of a ready endpoint.
func (p *Prober) nextCheckDelay(hasFailed bool) time.Duration {
	interval := p.config.Interval
	if hasFailed {
		interval /= fastIntervalDivisor
	}
	spread := p.config.Jitter * float64(interval)
	return interval + time.Duration(spread*(2*rand.Float64()-1))
}

var _ registry.Prober = (*Prober)(nil)
