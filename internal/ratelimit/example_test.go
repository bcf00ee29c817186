package ratelimit_test

import (
	"fmt"
	"time"

	"github.com/theworklabs/edge/internal/ratelimit"
)

// A client may make two requests at once. Other clients have tokens of their own.
func ExampleLimiter() {
	limiter := ratelimit.New(1000)
	rate := ratelimit.Rate{Events: 2, Window: time.Hour, Burst: 2}
	for _, client := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"} {
		decision := limiter.Take(limiter.HashKey().Hash([]byte(client)), rate)
		fmt.Printf("%s: allowed %t, remaining %d\n", client, decision.Allowed, decision.Remaining)
	}
	// Output:
	// 192.0.2.1: allowed true, remaining 1
	// 192.0.2.1: allowed true, remaining 0
	// 192.0.2.1: allowed false, remaining 0
	// 192.0.2.2: allowed true, remaining 1
}
