package ratelimit

import (
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

	allowed, limited, dryRun, exempt atomic.Uint64

	told   atomic.Int64 // when a refusal was last logged, in Unix nanoseconds
	untold atomic.Int64 // refusals since then
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
