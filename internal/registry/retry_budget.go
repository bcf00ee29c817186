package registry

import (
	"context"
	"time"
)

// The retry budget: of the requests of ten seconds, at most a fifth are retries, so that a service in trouble is not given
// several times the work.
const (
	DefaultRetryBudget = 0.2
	budgetSeconds      = 10
	// minRetries is how many retries in ten seconds are always allowed: a fifth of a few requests is nothing.
	minRetries = 10
	// maxRetryWait is how long a retry waits when the budget is spent.
	maxRetryWait = 2 * time.Second
	// retryPollInterval is how often it then looks whether it may go.
	retryPollInterval = 25 * time.Millisecond
)

// retryBudget counts requests and retries by the second.
type retryBudget [budgetSeconds]struct {
	at                int64 // Unix time
	requests, retries int
}

// second returns the counts of a time's second.
func (b *retryBudget) second(now time.Time) (requests, retries *int) {
	at := now.Unix()
	second := &b[at%budgetSeconds]
	if second.at < at { // a time that has long passed must not wipe what is counted since
		second.at, second.requests, second.retries = at, 0, 0
	}
	return &second.requests, &second.retries
}

// spend counts a retry, if part of the requests of the last ten seconds allows for one more.
func (b *retryBudget) spend(now time.Time, part float64) bool {
	_, mine := b.second(now)
	requests, retries := 0, 0
	for _, second := range b {
		if now.Unix()-second.at < budgetSeconds {
			requests += second.requests
			retries += second.retries
		}
	}
	if retries >= max(minRetries, int(part*float64(requests))) {
		return false
	}
	*mine++
	return true
}

// AllowRetry says whether a request that was sent to an endpoint and not answered may be sent again. A retry counts against
// the service's budget, except one whose endpoint has left rotation meanwhile: the work that it had is gone with it, so
// that nothing is multiplied. When the budget is spent the endpoint's probe is told to look, and Retry waits: for the
// endpoint's fate, for the budget, or for two seconds, when the answer is no.
func (s *Service) AllowRetry(ctx context.Context, e *Endpoint) (bool, error) {
	var ticker *time.Ticker
	for began := time.Now(); ; {
		now := time.Now()
		s.mu.Lock()
		allowed := e.state != Ready || s.settings.RetryBudget < 0 || s.retryBudget.spend(now, s.settings.RetryBudget)
		s.mu.Unlock()
		if allowed {
			s.requestCounters.retries.Add(1)
			return true, nil
		}
		if now.Sub(began) >= maxRetryWait {
			return false, nil
		}
		if ticker == nil {
			e.checkNow()
			ticker = time.NewTicker(retryPollInterval)
			defer ticker.Stop()
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-ticker.C:
		}
	}
}
