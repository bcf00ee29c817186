package engineio

import (
	"math/bits"
	"strings"
	"sync"
	"time"
	"unique"
)

// DefaultLimit is how many sessions a [Table] holds if nothing else is said: they take some 15 MB.
const DefaultLimit = 100_000

// Table knows which endpoint began which session. It is safe for concurrent use, needs no goroutine, and no operation
// depends on how many sessions there are.
type Table struct {
	limit     int
	startedAt time.Time

	mu       sync.Mutex
	services map[string]*serviceSessions // those with sessions
	queues   [lifetimeClasses]queue
	count    int
}

// serviceSessions is the sessions of one service.
type serviceSessions struct {
	name            string
	sessions        map[string]*session           // by sid
	countByEndpoint map[unique.Handle[string]]int // how many each endpoint holds
}

// NewTable returns an empty table for that many sessions, or for [DefaultLimit] if limit is 0 or less.
func NewTable(limit int) *Table {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Table{limit: limit, startedAt: time.Now(), services: make(map[string]*serviceSessions)}
}

// Learn remembers that the endpoint with this identity began the session, for as long as it is used again within ttl,
// which is rounded up to seconds that are a power of two, at most 8192. What was known of the session before is
// replaced. If the table is full, the session that was not used for the longest time is forgotten.
//
// Nothing is learned of a sid that is empty or longer than [MaxSID], nor with a ttl that is not positive. The strings
// given are not kept.
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

// Lookup returns the endpoint that began the session, and lets the session's ttl begin anew. It allocates nothing.
func (t *Table) Lookup(name, sid string) (endpoint string, ok bool) {
	now := time.Since(t.startedAt) // before the lock, which others wait for: the order of uses is exact enough
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

// Len returns how many sessions take up room. Some may have expired: they leave as others are learned.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// EndpointSessions returns how many sessions of a service an endpoint holds: those that it began and that have not expired.
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

// expire removes some of those that have expired: more of them than are added, and few enough to keep no one waiting.
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

// oldest returns the session that was not used for the longest time. There must be one.
func (t *Table) oldest() (oldest *session) {
	for i := range t.queues {
		if s := t.queues[i].oldest(); s != nil && (oldest == nil || s.lastUsed < oldest.lastUsed) {
			oldest = s
		}
	}
	return oldest
}

// lifetimeClassOf returns which queue a session with that ttl is in.
func lifetimeClassOf(ttl time.Duration) uint8 {
	seconds := uint64((ttl - 1) / time.Second) // one less than they are, rounded up
	return uint8(min(bits.Len64(seconds), lifetimeClasses-1))
}
