package registry

import "sync/atomic"

// Outcome is what became of a request that got no answer from the service.
type Outcome int

// The outcomes of requests without an answer.
const (
	OutcomeRefused     Outcome = iota // nobody could take it in time
	OutcomeNotSent                    // no connection could be made until the time was over
	OutcomeNotAnswered                // sent and not answered, which does no harm: its method is idempotent
	OutcomeUnknown                    // sent and not answered; whether the application acted on it, only the application knows
	outcomeCount                      // how many there are
)

// String returns the outcome's name as logs, metrics and the admin API have it.
func (o Outcome) String() string {
	return [...]string{"refused", "not sent", "not answered", "unknown"}[o]
}

// Lost counts the requests without an answer, by outcome, since the service was first routed to.
type Lost struct {
	Refused     uint64 `json:"refused"`
	NotSent     uint64 `json:"not_sent"`
	NotAnswered uint64 `json:"not_answered"`
	Unknown     uint64 `json:"unknown"`
}

// requestCounters counts what became of requests.
type requestCounters struct {
	outcomes [outcomeCount]atomic.Uint64
	retries  atomic.Uint64
}

// CountLost counts a request without an answer.
func (s *Service) CountLost(o Outcome) { s.requestCounters.outcomes[o].Add(1) }

func (t *requestCounters) lost() Lost {
	return Lost{
		t.outcomes[OutcomeRefused].Load(), t.outcomes[OutcomeNotSent].Load(), t.outcomes[OutcomeNotAnswered].Load(), t.outcomes[OutcomeUnknown].Load(),
	}
}
