package ratelimit

import (
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/ratelimit"
)

// zoneStates has the [zoneState] of all zones. It outlives configurations, so that a reload does not refill the buckets.
var zoneStates = caddy.NewUsagePool()

// zoneState is the counts of the zones of one name and size, in all configurations.
type zoneState struct {
	zone    string
	limiter *ratelimit.Limiter

	allowed, uncounted, limited, dryRun, exempt atomic.Uint64

	lastLogged atomic.Int64 // when a refusal was last logged, in Unix nanoseconds
	suppressed atomic.Int64 // refusals since then

	mu    sync.Mutex
	rates map[any]*rateUse // by configuration
}

// rateUse is the rate of a zone in one configuration, and how many zones of the configuration use it.
type rateUse struct {
	rate ratelimit.Rate
	refs int
}

// acquireState returns the state of a zone from the pool, and creates it if the zone is new. maxKeys is part of the key.
func acquireState(key, zone string, maxKeys int) (*zoneState, error) {
	value, _, err := zoneStates.LoadOrNew(key, func() (caddy.Destructor, error) {
		return &zoneState{zone: zone, limiter: ratelimit.New(maxKeys)}, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*zoneState), nil
}

// addRate records that a zone of a configuration has a rate. It returns the rate of the configuration's first zone, and whether that
// is the same: a second rate would change what the first one has counted. During a reload there are two configurations, whose rates
// may differ.
func (s *zoneState) addRate(configKey any, rate ratelimit.Rate) (first ratelimit.Rate, same bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.rates[configKey]
	if u == nil {
		u = &rateUse{rate: rate}
		if s.rates == nil {
			s.rates = make(map[any]*rateUse)
		}
		s.rates[configKey] = u
	}
	u.refs++
	return u.rate, u.rate == rate
}

// removeRate takes back one call of addRate.
func (s *zoneState) removeRate(configKey any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.rates[configKey]; u != nil {
		if u.refs--; u.refs == 0 {
			delete(s.rates, configKey)
		}
	}
}

// Destruct implements caddy.Destructor. The state is memory only.
func (*zoneState) Destruct() error { return nil }
