package registry

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// holdQueue counts the requests that a service holds, and wakes them. All its fields are guarded by mu, which is the
// service's lock: a request must not miss an endpoint that becomes ready between its attempt to claim one and its wait.
// The caller of each method holds mu.
type holdQueue struct {
	mu        *sync.Mutex
	count     int
	perClient map[netip.Addr]int
	wakeup    chan struct{} // closed to wake the requests, and then replaced; closed for good by stop
	isStopped bool          // no request may wait any more
}

func newHoldQueue(mu *sync.Mutex) holdQueue {
	return holdQueue{mu: mu, perClient: make(map[netip.Addr]int), wakeup: make(chan struct{})}
}

// checkRoom returns nil if one more request of a client may wait; otherwise [ErrFull] or [ErrClientFull], and the number
// of requests that wait. maxPerClient limits valid addresses only, and not at all unless it is positive.
func (q *holdQueue) checkRoom(client netip.Addr, maxCount, maxPerClient int) (waiting int, err error) {
	if q.count >= maxCount {
		return q.count, ErrFull
	}
	if maxPerClient > 0 && client.IsValid() && q.perClient[client] >= maxPerClient {
		return maxPerClient, ErrClientFull
	}
	return 0, nil
}

// add counts a request until the caller calls the returned function, with mu held.
func (q *holdQueue) add(client netip.Addr) (leave func()) {
	q.count++
	if client.IsValid() {
		q.perClient[client]++
	}
	return func() {
		q.count--
		if client.IsValid() {
			if q.perClient[client]--; q.perClient[client] == 0 {
				delete(q.perClient, client)
			}
		}
	}
}

// wait releases mu until the queue wakes its requests, the timer fires, done is closed or ctx ends. It reports whether
// done is closed, and returns the error of ctx.
func (q *holdQueue) wait(ctx context.Context, timer *time.Timer, done <-chan struct{}) (isDone bool, err error) {
	wakeup := q.wakeup
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-wakeup:
	case <-timer.C:
	case <-done:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return false, nil
}

// wake makes all requests that wait look again.
func (q *holdQueue) wake() {
	if q.isStopped {
		return
	}
	close(q.wakeup)
	q.wakeup = make(chan struct{})
}

// stop wakes all requests for the last time: from now on none may wait.
func (q *holdQueue) stop() {
	if !q.isStopped {
		q.isStopped = true
		close(q.wakeup)
	}
}
