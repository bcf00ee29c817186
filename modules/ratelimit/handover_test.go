package ratelimit_test

import (
	"encoding/json"
	"testing"

	"github.com/theworklabs/edge/internal/handover"
)

// TestCountsAreHandedOverToAnotherProcess: the zone is created anew, with another secret.
func TestCountsAreHandedOverToAnotherProcess(t *testing.T) {
	const zone = "rate_limit {\nzone z {\nevents 3\nwindow 1h\n}\n}"
	var exported map[string]json.RawMessage
	t.Run("predecessor", func(t *testing.T) {
		if got := startServer(t, zone).countPassed(t, 5, "192.0.2.1"); got != 3 {
			t.Fatalf("got %d of 5 passed, want 3", got)
		}
		var err error
		if exported, err = handover.Export(); err != nil {
			t.Fatal(err)
		}
	})
	s := startServer(t, zone)
	for range 2 { // it may be repeated
		if err := handover.Import(exported); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.countPassed(t, 5, "192.0.2.1"); got != 0 {
		t.Errorf("after the handover: got %d passed, want none", got)
	}
	if got := s.countPassed(t, 5, "192.0.2.2"); got != 3 {
		t.Errorf("of another client: got %d passed, want 3", got)
	}
	for _, bad := range []string{`5`, `{"z": {}}`} {
		if err := handover.Import(map[string]json.RawMessage{"rate_limits": json.RawMessage(bad)}); err == nil {
			t.Errorf("%s is imported", bad)
		}
	}
}
