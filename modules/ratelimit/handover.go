package ratelimit

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/theworklabs/edge/internal/handover"
	"github.com/theworklabs/edge/internal/ratelimit"
)

func init() {
	handover.Register("rate_limits", handover.Part{Export: exportCounts, Import: importCounts})
}

// exportCounts returns the counts of each zone, by name.
func exportCounts() (json.RawMessage, error) {
	counts := make(map[string]ratelimit.Counts)
	zoneStates.Range(func(_, value any) bool {
		s := value.(*zoneState)
		counts[s.zone] = s.limiter.Export()
		return true
	})
	if len(counts) == 0 {
		return nil, nil
	}
	return json.Marshal(counts)
}

// importCounts has the zones of the same names go on with the counts.
func importCounts(text json.RawMessage) error {
	var counts map[string]ratelimit.Counts
	if err := json.Unmarshal(text, &counts); err != nil {
		return err
	}
	var failed error
	zoneStates.Range(func(_, value any) bool {
		s := value.(*zoneState)
		if c, counted := counts[s.zone]; counted {
			if err := s.limiter.Import(c); err != nil {
				failed = errors.Join(failed, fmt.Errorf("zone %s: %w", s.zone, err))
			}
		}
		return true
	})
	return failed
}
