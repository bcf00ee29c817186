package rollout

import (
	"encoding/json"
	"testing"
)

// TestEndpointMatchesByIDOrAddress: an edge that uses DNS alone knows nothing but the address.
func TestEndpointMatchesByIDOrAddress(t *testing.T) {
	var c container
	if err := json.Unmarshal([]byte(`{"ID": "abc", "NetworkSettings": {"Networks": {"a": {"IPAddress": "10.0.0.7", "GlobalIPv6Address": "fd00::7"}}}}`), &c); err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		endpoint
		want bool
	}{
		{endpoint{ID: "abc", Address: "10.0.0.9:80"}, true},
		{endpoint{ID: "def", Address: "10.0.0.7:80"}, false}, // the address belongs to another container now
		{endpoint{ID: "10.0.0.7", Address: "10.0.0.7:80"}, true},
		{endpoint{ID: "10.0.0.7:80", Address: "10.0.0.7:80"}, true},
		{endpoint{ID: "fd00::7", Address: "[fd00::7]:80"}, true},
		{endpoint{ID: "10.0.0.8", Address: "10.0.0.8:80"}, false},
	} {
		if got := c.matches(e.endpoint); got != e.want {
			t.Errorf("%+v: got %v, want %v", e.endpoint, got, e.want)
		}
	}
}
