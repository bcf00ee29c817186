package registry

import (
	"context"
	"time"
)

// At most a fifth of the requests of the last ten seconds may be retries, so that a service in trouble does not get several
// times the load.
const (
	DefaultRetryBudget = 0.2
	budgetSeconds      = 10
	// minRetries is how many retries in ten seconds are always allowed, since a fifth of a few requests is none.
	minRetries = 10
	// maxRetryWait is how long a retry waits when the budget is used up.
	maxRetryWait = 2 * time.Second
	// retryPollInterval is how often it then checks whether it is allowed.
	retryPollInterval = 25 * time.Millisecond
)

// retryBudget counts requests and retries by the second. It is guarded by the service's lock.
type retryBudget [budgetSeconds]RetrySecond

// RetrySecond is what a service's retry budget knows about one second.
type RetrySecond struct {
	At       int64 `json:"at"` // Unix time
	Requests int   `json:"requests"`
	Retries  int   `json:"retries"`
}

// second returns the counters of the second that contains now.
func (b *retryBudget) second(now time.Time) (requests, retries *int) {
	at := now.Unix()
	second := &b[at%budgetSeconds]
	if second.At < at { // an old arrival time must not reset the counters of a later second
		*second = RetrySecond{At: at}
	}
	return &second.Requests, &second.Retries
}

// spend counts a retry and returns true, if the retries of the last ten seconds are less than part of the requests.
func (b *retryBudget) spend(now time.Time, part float64) bool {
	_, current := b.second(now)
	requests, retries := 0, 0
	for _, second := range b.recent(now) {
		requests += second.Requests
		retries += second.Retries
	}
	if retries >= max(minRetries, int(part*float64(requests))) {
		return false
	}
	*current++
	return true
}

// recent returns the seconds that count.
func (b *retryBudget) recent(now time.Time) (seconds []RetrySecond) {
	for _, second := range b {
		if second.Requests+second.Retries > 0 && now.Unix()-second.At < budgetSeconds {
			seconds = append(seconds, second)
		}
	}
	return seconds
}

// adopt counts what another process has counted. It may be called again with the same seconds.
func (b *retryBudget) adopt(now time.Time, seconds []RetrySecond) {
	for _, second := range seconds {
		if age := now.Unix() - second.At; age < 0 || age >= budgetSeconds {
			continue
		}
		requests, retries := b.second(time.Unix(second.At, 0))
		*requests, *retries = max(*requests, second.Requests), max(*retries, second.Retries)
	}
}

// AllowRetry reports whether a request that e got and did not answer may be sent again. A retry counts against the service's
// budget, unless e has left rotation: the load that e had is gone with it, so that the retry multiplies nothing. If the budget
// is used up, AllowRetry makes the probe of e check at once, and waits until e leaves rotation, until the budget allows the
// retry, or for two seconds, when it returns false. It returns the error of ctx when that ends.
func (s *Service) AllowRetry(ctx context.Context, e *Endpoint) (bool, error) {
	var ticker *time.Ticker
	for start := time.Now(); ; {
		now := time.Now()
		s.mu.Lock()
		allowed := e.state != Ready || s.settings.RetryBudget < 0 || s.retryBudget.spend(now, s.settings.RetryBudget)
		s.mu.Unlock()
		if allowed {
			s.counters.retries.Add(1)
			return true, nil
		}
		if now.Sub(start) >= maxRetryWait {
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
