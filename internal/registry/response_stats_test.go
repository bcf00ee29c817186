package registry_test

import (
	"math"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// TestEachEndpointCountsItsResponses, so that a slow or failing container can be found.
func TestEachEndpointCountsItsResponses(t *testing.T) {
	f := newPairFixture(t, registry.Settings{})
	claims := make(map[string]registry.Claim)
	for len(claims) < 2 {
		claim, err := f.service.Acquire(t.Context(), registry.PickOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, isHeld := claims[claim.Endpoint().ID()]; isHeld {
			defer claim.Release()
			continue
		}
		claims[claim.Endpoint().ID()] = claim
	}
	for range 200 {
		claims[idA].CountResponse(false, 10*time.Millisecond)
		claims[idB].CountResponse(false, time.Second)
	}
	for range 200 { // it recovers
		claims[idB].CountResponse(false, 100*time.Millisecond)
	}
	claims[idA].CountResponse(true, 0)
	for _, e := range f.service.Status().Endpoints {
		want, errors := .01, uint64(1)
		if e.ID == idB {
			want, errors = .1, 0
		}
		if math.Abs(e.FirstByte-want) > want/20 || e.Errors != errors {
			t.Errorf("%s has %v s and %d errors, want %v and %d", e.ID, e.FirstByte, e.Errors, want, errors)
		}
	}
	for _, claim := range claims {
		claim.Release()
	}
}
