package drains

import (
	"crypto/rand"
	"slices"
	"time"

	"github.com/theworklabs/edge/internal/stored"
)

// maxRequests is how many requests the storage keeps. Edges read it every two seconds.
const maxRequests = 256

// request is what an operator asked one edge to do with an endpoint.
type request struct {
	Number   int64  `json:"number"` // they are counted, so that edges need no common clock
	Endpoint string `json:"endpoint"`
	Undo     bool   `json:"undo,omitempty"`
	// RequestedAt is the time of the edge that was asked.
	RequestedAt time.Time `json:"requested_at"`
	// SessionsUntil is until when the endpoint gets requests of its sessions.
	SessionsUntil time.Time `json:"sessions_until"`

	isQueued bool // it could not be stored when it was made
}

// requestLog is what the storage has: the last requests. It says what happened, not which endpoints are drained: these may have exited since, or have
// started again, while no edge ran.
type requestLog struct {
	ID       string    `json:"id"` // another one: the storage has been replaced
	Last     int64     `json:"last"`
	Requests []request `json:"requests"` // by number
}

var storedLog = stored.Value[requestLog]{Key: "edge/drains.json", Repair: "the next `edge drain --undo` writes it anew"}

func newRequestLog() *requestLog { return &requestLog{ID: rand.Text()} }

// add appends requests, and returns their numbers by endpoint. One that had to wait for the storage is left out if there is a newer one of its
// endpoint.
func (l *requestLog) add(all []request) map[string]int64 {
	numbers := make(map[string]int64, len(all))
	for _, r := range all {
		if last := l.last(r.Endpoint); r.isQueued && last != nil && last.RequestedAt.After(r.RequestedAt) {
			continue
		}
		l.Last++
		r.Number = l.Last
		l.Requests = append(l.Requests, r)
		numbers[r.Endpoint] = r.Number
	}
	l.Requests = slices.Delete(l.Requests, 0, max(0, len(l.Requests)-maxRequests))
	return numbers
}

// last returns the last request of an endpoint, or nil.
func (l *requestLog) last(endpoint string) *request {
	for i := range slices.Backward(l.Requests) {
		if l.Requests[i].Endpoint == endpoint {
			return &l.Requests[i]
		}
	}
	return nil
}

// lastRequests returns the last request of each endpoint, if isNew is true for it.
func (l *requestLog) lastRequests(isNew func(*request) bool) (all []request) {
	for i := range l.Requests {
		if r := &l.Requests[i]; isNew(r) && l.last(r.Endpoint) == r {
			all = append(all, *r)
		}
	}
	return all
}

// lastRequests leaves out requests that a later one of the same endpoint replaces.
func lastRequests(all []request) []request {
	l := requestLog{Requests: all}
	return l.lastRequests(func(*request) bool { return true })
}
