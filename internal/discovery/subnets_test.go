package discovery_test

import (
	"slices"
	"testing"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/resource/resourcetest"
)

// TestTheSubnetsStayWithoutDescriptors: else, an edge that has run out of them takes all containers for unreachable, and breaks their connections.
func TestTheSubnetsStayWithoutDescriptors(t *testing.T) {
	want := discovery.LocalSubnets()
	release := resourcetest.ExhaustDescriptors(t)
	got := discovery.LocalSubnets()
	release()
	if !slices.Equal(got, want) {
		t.Errorf("without descriptors, the subnets are %v, want %v", got, want)
	}
}
