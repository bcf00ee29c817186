package engineio

import (
	"math/bits"
	"strings"
	"sync"
	"time"
	"unique"
)

// DefaultLimit is how many sessions a [Table] holds by default. They take some 15 MB.
const DefaultLimit = 100_000

// Table maps sessions to the endpoints that began them. It is safe for concurrent use and needs no goroutine. The cost of an
// operation does not depend on the number of sessions.
type Table struct {
	limit     int
	startedAt time.Time

	mu       sync.Mutex
	services map[string]*serviceSessions // services that have sessions
	queues   [lifetimeClasses]queue
	count    int
}

// serviceSessions is the sessions of one service.
type serviceSessions struct {
	name            string
	sessions        map[string]*session           // by sid
	countByEndpoint map[unique.Handle[string]]int // sessions of each endpoint
}

// NewTable returns an empty table for limit sessions, or for [DefaultLimit] if limit is 0 or less.
func NewTable(limit int) *Table {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Table{limit: limit, startedAt: time.Now(), services: make(map[string]*serviceSessions)}
}

// Learn records that the endpoint with this identity began the session. It replaces an earlier record of the session. The
// session expires when it is unused for ttl, which is rounded up to a power of two in seconds, at most 8192. A full table
// evicts the least recently used session.
//
// Learn ignores a sid that is empty or longer than [MaxSID], and a ttl that is not positive. It does not keep the strings.
func (t *Table) Learn(name, sid, endpoint string, ttl time.Duration) {
	if sid == "" || len(sid) > MaxSID || ttl <= 0 {
		return
	}
	now := time.Since(t.startedAt)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	if s := t.find(name, sid); s != nil {
		t.remove(s)
	} else if t.count >= t.limit {
		t.remove(t.oldest())
	}
	t.add(name, &session{sid: strings.Clone(sid), endpoint: unique.Make(endpoint), lastUsed: now, lifetimeClass: lifetimeClassOf(ttl)})
}

// Lookup returns the endpoint that began the session, and restarts the session's ttl. It allocates nothing.
func (t *Table) Lookup(name, sid string) (endpoint string, ok bool) {
	now := time.Since(t.startedAt) // outside of the lock, to hold it for less time; the order of uses need not be exact
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.find(name, sid)
	if s == nil {
		return "", false
	}
	if s.isExpired(now) {
		t.remove(s)
		return "", false
	}
	s.unlink()
	s.lastUsed = now
	t.queues[s.lifetimeClass].push(s)
	return s.endpoint.Value(), true
}

// Forget removes a session, if it is there.
func (t *Table) Forget(name, sid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.find(name, sid); s != nil {
		t.remove(s)
	}
}

// Len returns how many sessions the table has. Some may have expired: Learn removes those.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// EndpointSessions returns how many unexpired sessions of a service the endpoint began.
func (t *Table) EndpointSessions(name, endpoint string) int {
	now := time.Since(t.startedAt)
	t.mu.Lock()
	defer t.mu.Unlock()
	for before := -1; t.count != before; {
		before = t.count
		t.expire(now)
	}
	if service := t.services[name]; service != nil {
		return service.countByEndpoint[unique.Make(endpoint)]
	}
	return 0
}

func (t *Table) find(name, sid string) *session {
	if service := t.services[name]; service != nil {
		return service.sessions[sid]
	}
	return nil
}

func (t *Table) add(name string, s *session) {
	if s.service = t.services[name]; s.service == nil {
		s.service = &serviceSessions{
			name: strings.Clone(name), sessions: make(map[string]*session), countByEndpoint: make(map[unique.Handle[string]]int),
		}
		t.services[s.service.name] = s.service
	}
	s.service.sessions[s.sid] = s
	s.service.countByEndpoint[s.endpoint]++
	t.queues[s.lifetimeClass].push(s)
	t.count++
}

func (t *Table) remove(s *session) {
	s.unlink()
	t.count--
	if s.service.countByEndpoint[s.endpoint]--; s.service.countByEndpoint[s.endpoint] == 0 {
		delete(s.service.countByEndpoint, s.endpoint)
	}
	if delete(s.service.sessions, s.sid); len(s.service.sessions) == 0 {
		delete(t.services, s.service.name)
	}
}

// expire removes some expired sessions: more than one call of Learn adds, and few enough not to delay the caller.
func (t *Table) expire(now time.Duration) {
	for i := range t.queues {
		for range 2 {
			s := t.queues[i].oldest()
			if s == nil || !s.isExpired(now) {
				break
			}
			t.remove(s)
		}
	}
}

// oldest returns the least recently used session. The table must not be empty.
func (t *Table) oldest() (oldest *session) {
	for i := range t.queues {
		if s := t.queues[i].oldest(); s != nil && (oldest == nil || s.lastUsed < oldest.lastUsed) {
			oldest = s
		}
	}
	return oldest
}

// lifetimeClassOf returns the queue of a session with that ttl.
func lifetimeClassOf(ttl time.Duration) uint8 {
	seconds := uint64((ttl - 1) / time.Second) // the ttl rounded up to seconds, minus one
	return uint8(min(bits.Len64(seconds), lifetimeClasses-1))
}

// lifetimeClasses is the number of different lifetimes: 1, 2, 4 … 8192 seconds.
const lifetimeClasses = 14

// session is a session in a [Table], and its place in a queue.
type session struct {
	sid           string
	service       *serviceSessions
	endpoint      unique.Handle[string] // few different values, each long
	lastUsed      time.Duration         // on the table's clock
	lifetimeClass uint8                 // it expires after 1<<lifetimeClass unused seconds
	older, newer  *session
}

func (s *session) isExpired(now time.Duration) bool {
	return now-s.lastUsed >= time.Second<<s.lifetimeClass
}

func (s *session) unlink() {
	s.older.newer, s.newer.older = s.newer, s.older
	s.older, s.newer = nil, nil
}

// queue is the sessions with one lifetime, in the order of their last use, which is also the order in which they expire. They
// form a ring, with the sentinel between the newest and the oldest.
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

// oldest returns the least recently used session, or nil if the queue is empty.
func (q *queue) oldest() *session {
	if s := q.sentinel.newer; s != &q.sentinel {
		return s // nil before the first push
	}
	return nil
}
