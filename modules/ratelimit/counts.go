package ratelimit

import (
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/ratelimit"
)

// pool holds the [counts] of all zones: a reload must not give everyone a full bucket.
var pool = caddy.NewUsagePool()

// counts is what a zone has counted, whichever configuration it is in.
type counts struct {
	zone    string
	limiter *ratelimit.Limiter

	allowed, uncounted, limited, dryRun, exempt atomic.Uint64

	told   atomic.Int64 // when a refusal was last logged, in Unix nanoseconds
	untold atomic.Int64 // refusals since then

	mu    sync.Mutex
	rates map[any]*used // by configuration
}

// used is the rate that a configuration has for a zone, and in how many places.
type used struct {
	rate   ratelimit.Rate
	places int
}

// use is told that a configuration has the zone, and reports whether with the same rate everywhere: one of two would wash out
// what the other has counted. Configurations may differ: in a reload, there are two.
func (c *counts) use(config any, rate ratelimit.Rate) (other ratelimit.Rate, same bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.rates[config]
	if u == nil {
		u = &used{rate: rate}
		if c.rates == nil {
			c.rates = make(map[any]*used)
		}
		c.rates[config] = u
	}
	u.places++
	return u.rate, u.rate == rate
}

func (c *counts) unuse(config any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u := c.rates[config]; u != nil {
		if u.places--; u.places == 0 {
			delete(c.rates, config)
		}
	}
}

func takeCounts(key, zone string, maxKeys int) (*counts, error) {
	value, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		return &counts{zone: zone, limiter: ratelimit.New(maxKeys)}, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*counts), nil
}

// Destruct has nothing to end: counts are memory.
func (*counts) Destruct() error { return nil }
