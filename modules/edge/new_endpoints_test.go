package edge

import (
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// TestOnlyANewContainerIsADeployment: not one that Docker has restarted after a crash, and not those that an edge finds when it starts.
func TestOnlyANewContainerIsADeployment(t *testing.T) {
	var n newEndpoints
	start := time.Now()
	for i, c := range []struct {
		second   int
		endpoint string
		to       registry.State
		want     bool
	}{
		{0, "a", registry.Starting, false},
		{1, "b", registry.Starting, false},
		{1, "a", registry.Ready, false}, // the edge has started
		{60, "b", registry.Ready, false},
		{100, "a", registry.Gone, false}, // it has crashed
		{101, "a", registry.Starting, false},
		{102, "a", registry.Ready, false}, // Docker has restarted it
		{200, "c", registry.Starting, false},
		{210, "c", registry.Ready, true},
		{220, "c", registry.Failing, false},
		{230, "c", registry.Ready, false},
		{300, "a", registry.Gone, false},
		{300 + 25*3600, "d", registry.Starting, false}, // a is forgotten
		{300 + 25*3600, "a", registry.Ready, true},
	} {
		change := registry.Change{Service: "api:80", Endpoint: c.endpoint, To: c.to, Time: start.Add(time.Duration(c.second) * time.Second)}
		if got := n.note(change); got != c.want {
			t.Errorf("change %d, of %s to %s: got %t", i, c.endpoint, c.to, got)
		}
	}
}
