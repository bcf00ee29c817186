package engineio

import (
	"time"
	"unique"
)

// lives is how many lengths of a session's life are told apart: 1, 2, 4 … 8192 seconds.
const lives = 14

// session is an entry of a [Table], with its place in a queue.
type session struct {
	sid          string
	service      *service
	endpoint     unique.Handle[string] // few, and long
	used         time.Duration         // when it was last, on the table's clock
	life         uint8                 // it may stay unused for 1<<life seconds
	older, newer *session
}

func (s *session) expired(now time.Duration) bool {
	return now-s.used >= time.Second<<s.life
}

func (s *session) unlink() {
	s.older.newer, s.newer.older = s.newer, s.older
	s.older, s.newer = nil, nil
}

// queue is sessions whose lives are of one length, so that their last uses and their ends are in the same order. They are
// in a ring, in which end stands between the newest and the oldest.
type queue struct {
	end session
}

func (q *queue) push(s *session) {
	if q.end.newer == nil {
		q.end.older, q.end.newer = &q.end, &q.end
	}
	s.older, s.newer = q.end.older, &q.end
	s.older.newer, s.newer.older = s, s
}

// oldest returns the session that was not used for the longest time, or nil if there is none.
func (q *queue) oldest() *session {
	if s := q.end.newer; s != &q.end {
		return s // nil before the first one came
	}
	return nil
}
