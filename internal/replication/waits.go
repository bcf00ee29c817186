package replication

import (
	"slices"
	"time"
)

// waited is how long commits have waited for the replica at a time.
type waited struct {
	at   time.Time
	wait time.Duration
}

// waitWindow is how long what commits have waited is remembered: longer than Prometheus takes to ask again.
const waitWindow = time.Minute

// longestWait notes a wait, and returns the longest one of the last minute.
func (p *pair) longestWait(wait time.Duration, now time.Time) (longest time.Duration) {
	p.recentWaits = slices.DeleteFunc(p.recentWaits, func(w waited) bool { return now.Sub(w.at) > waitWindow })
	if wait > 0 {
		p.recentWaits = append(p.recentWaits, waited{now, wait})
	}
	for _, w := range p.recentWaits {
		longest = max(longest, w.wait)
	}
	return longest
}

// waits are the sums of a server since its start, when they were last read.
type waits struct {
	duration time.Duration
	count    int64
}

// mean returns how long one of those took that were added since the last call, and notes the sums; 0 at first, and after a restart of the server.
func (w *waits) mean(duration time.Duration, count int64) time.Duration {
	before := *w
	*w = waits{duration, count}
	if before.count == 0 || count <= before.count || duration < before.duration {
		return 0
	}
	return (duration - before.duration) / time.Duration(count-before.count)
}
