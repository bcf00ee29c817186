// Package sockets has groups of WebSocket clients that record how and when each socket ended.
package sockets

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Group is a number of WebSockets to one target. It is safe for concurrent use.
type Group struct {
	sockets []*socket
}

// maxHandshakes is how many handshakes Open does concurrently.
const maxHandshakes = 16

// Open opens n sockets. It returns when all are open, or an error if one cannot be opened.
func Open(ctx context.Context, t Target, n int) (*Group, error) {
	c := &Group{sockets: make([]*socket, n)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var first error
	var once sync.Once
	var all sync.WaitGroup
	for range min(maxHandshakes, n) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				s, err := open(ctx, t)
				if err != nil {
					once.Do(func() { first = err })
					cancel()
					return
				}
				c.sockets[i] = s
			}
		})
	}
	all.Wait()
	if first != nil {
		c.Close()
		return nil, first
	}
	return c, nil
}

// Tally counts the sockets of a group.
type Tally struct {
	Opened     int             `json:"opened"`
	Alive      int             `json:"alive"`
	Codes      map[int]int     `json:"codes,omitempty"` // the sockets that ended, by close code
	EndedAfter []time.Duration `json:"-"`               // when each of them ended, as durations since Count's since
}

// Lost returns how many sockets are not alive.
func (c Tally) Lost() int { return c.Opened - c.Alive }

// Plus returns the sum of two tallies.
func (c Tally) Plus(other Tally) Tally {
	sum := Tally{Opened: c.Opened + other.Opened, Alive: c.Alive + other.Alive, Codes: maps.Clone(c.Codes), EndedAfter: slices.Concat(c.EndedAfter, other.EndedAfter)}
	for code, n := range other.Codes {
		sum.Codes[code] += n
	}
	return sum
}

// Count sends a message on every socket. Those whose echo comes in time are alive.
func (c *Group) Count(since time.Time, within time.Duration) Tally {
	tally := Tally{Opened: len(c.sockets), Codes: make(map[int]int)}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, s := range c.sockets {
		all.Go(func() {
			echoed := s.alive() && s.echo(within)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case echoed:
				tally.Alive++
			case s.alive():
				tally.Codes[CodeSilent]++
			default:
				tally.Codes[s.code]++
				tally.EndedAfter = append(tally.EndedAfter, s.ended.Sub(since))
			}
		})
	}
	all.Wait()
	return tally
}

// Alive returns the number of sockets that have not ended, as far as their clients know.
func (c *Group) Alive() (n int) {
	for _, s := range c.sockets {
		if s.alive() {
			n++
		}
	}
	return n
}

// Close closes the connections of all sockets and waits until their goroutines have ended.
func (c *Group) Close() {
	for _, s := range c.sockets {
		if s != nil {
			s.conn.Close()
			<-s.done
		}
	}
}
