package rollout

import (
	"encoding/json"
	"testing"
)

// TestAnEndpointIsFoundByItsIDOrByItsAddress: the address is all that an edge knows that works on DNS alone.
func TestAnEndpointIsFoundByItsIDOrByItsAddress(t *testing.T) {
	var c container
	if err := json.Unmarshal([]byte(`{"ID": "abc", "NetworkSettings": {"Networks": {"a": {"IPAddress": "10.0.0.7", "GlobalIPv6Address": "fd00::7"}}}}`), &c); err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		endpoint
		is bool
	}{
		{endpoint{ID: "abc", Address: "10.0.0.9:80"}, true},
		{endpoint{ID: "def", Address: "10.0.0.7:80"}, false}, // an address that has passed on
		{endpoint{ID: "10.0.0.7", Address: "10.0.0.7:80"}, true},
		{endpoint{ID: "10.0.0.7:80", Address: "10.0.0.7:80"}, true},
		{endpoint{ID: "fd00::7", Address: "[fd00::7]:80"}, true},
		{endpoint{ID: "10.0.0.8", Address: "10.0.0.8:80"}, false},
	} {
		if c.matches(e.endpoint) != e.is {
			t.Errorf("%+v: %v, want %v", e.endpoint, c.matches(e.endpoint), e.is)
		}
	}
}
