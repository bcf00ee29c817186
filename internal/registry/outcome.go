package registry

import "sync/atomic"

// Outcome is what became of a request that got no answer from the service.
type Outcome int

// The outcomes of requests without an answer.
const (
	Refused     Outcome = iota // nobody could take it in time
	Unsent                     // no connection could be made until the time was over
	Unanswered                 // sent and not answered, which does no harm: its method is idempotent
	Unknown                    // sent and not answered; whether the application acted on it, only the application knows
	outcomeKind                // how many there are
)

// String returns the outcome's name as logs, metrics and the admin API have it.
func (o Outcome) String() string {
	return [...]string{"refused", "not sent", "not answered", "unknown"}[o]
}

// Lost counts the requests without an answer, by outcome, since the service was first routed to.
type Lost struct {
	Refused    uint64 `json:"refused"`
	Unsent     uint64 `json:"not_sent"`
	Unanswered uint64 `json:"not_answered"`
	Unknown    uint64 `json:"unknown"`
}

// tally counts what became of requests.
type tally struct {
	outcomes [outcomeKind]atomic.Uint64
	retries  atomic.Uint64
}

// Lose counts a request without an answer.
func (s *Service) Lose(o Outcome) { s.tally.outcomes[o].Add(1) }

func (t *tally) lost() Lost {
	return Lost{
		t.outcomes[Refused].Load(), t.outcomes[Unsent].Load(), t.outcomes[Unanswered].Load(), t.outcomes[Unknown].Load(),
	}
}
