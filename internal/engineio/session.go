package engineio

import (
	"time"
	"unique"
)

// lifetimeClasses is how many lengths of a session's life are told apart: 1, 2, 4 … 8192 seconds.
const lifetimeClasses = 14

// session is an entry of a [Table], with its place in a queue.
type session struct {
	sid           string
	service       *serviceSessions
	endpoint      unique.Handle[string] // few, and long
	lastUsed      time.Duration         // when it was last, on the table's clock
	lifetimeClass uint8                 // it may stay unused for 1<<life seconds
	older, newer  *session
}

func (s *session) isExpired(now time.Duration) bool {
	return now-s.lastUsed >= time.Second<<s.lifetimeClass
}

func (s *session) unlink() {
	s.older.newer, s.newer.older = s.newer, s.older
	s.older, s.newer = nil, nil
}

// queue is sessions whose lives are of one length, so that their last uses and their ends are in the same order. They are
// in a ring, in which end stands between the newest and the oldest.
type queue struct {
	sentinel session
}

func (q *queue) push(s *session) {
	if q.sentinel.newer == nil {
		q.sentinel.older, q.sentinel.newer = &q.sentinel, &q.sentinel
	}
	s.older, s.newer = q.sentinel.older, &q.sentinel
	s.older.newer, s.newer.older = s, s
}

// oldest returns the session that was not used for the longest time, or nil if there is none.
func (q *queue) oldest() *session {
	if s := q.sentinel.newer; s != &q.sentinel {
		return s // nil before the first one came
	}
	return nil
}
