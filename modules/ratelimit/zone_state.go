package ratelimit

import (
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/ratelimit"
)

// zoneStates holds the [zoneState] of all zones: a reload must not give everyone a full bucket.
var zoneStates = caddy.NewUsagePool()

// zoneState is what a zone has counted, whichever configuration it is in.
type zoneState struct {
	zone    string
	limiter *ratelimit.Limiter

	allowed, uncounted, limited, dryRun, exempt atomic.Uint64

	lastLogged atomic.Int64 // when a refusal was last logged, in Unix nanoseconds
	suppressed atomic.Int64 // refusals since then

	mu    sync.Mutex
	rates map[any]*rateUse // by configuration
}

// rateUse is the rate that a configuration has for a zone, and in how many places.
type rateUse struct {
	rate ratelimit.Rate
	refs int
}

// addRate is told that a configuration has the zone, and reports whether with the same rate everywhere: one of two would wash out
// what the other has counted. Configurations may differ: in a reload, there are two.
func (c *zoneState) addRate(config any, rate ratelimit.Rate) (other ratelimit.Rate, same bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.rates[config]
	if u == nil {
		u = &rateUse{rate: rate}
		if c.rates == nil {
			c.rates = make(map[any]*rateUse)
		}
		c.rates[config] = u
	}
	u.refs++
	return u.rate, u.rate == rate
}

func (c *zoneState) removeRate(config any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u := c.rates[config]; u != nil {
		if u.refs--; u.refs == 0 {
			delete(c.rates, config)
		}
	}
}

func acquireState(key, zone string, maxKeys int) (*zoneState, error) {
	value, _, err := zoneStates.LoadOrNew(key, func() (caddy.Destructor, error) {
		return &zoneState{zone: zone, limiter: ratelimit.New(maxKeys)}, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*zoneState), nil
}

// Destruct has nothing to end: counts are memory.
func (*zoneState) Destruct() error { return nil }
