// Package sockets is crowds of WebSocket clients that remember how and when each of them ended.
package sockets

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Group is many WebSockets of one target. It is safe for concurrent use.
type Group struct {
	sockets []*socket
}

// maxHandshakes is how many handshakes are under way.
const maxHandshakes = 16

// Open opens n sockets and returns once all are open.
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

// Tally is how a crowd is doing.
type Tally struct {
	Opened     int             `json:"opened"`
	Alive      int             `json:"alive"`
	Codes      map[int]int     `json:"codes,omitempty"` // of those that ended, by close code
	EndedAfter []time.Duration `json:"-"`               // when each of them ended, since the time that Count was given
}

// Lost is how many sockets are not open any more.
func (c Tally) Lost() int { return c.Opened - c.Alive }

// Plus returns both censuses as one.
func (c Tally) Plus(other Tally) Tally {
	sum := Tally{Opened: c.Opened + other.Opened, Alive: c.Alive + other.Alive, Codes: maps.Clone(c.Codes), EndedAfter: slices.Concat(c.EndedAfter, other.EndedAfter)}
	for code, n := range other.Codes {
		sum.Codes[code] += n
	}
	return sum
}

// Count sends a message to every socket and counts those from which it comes back in time.
func (c *Group) Count(since time.Time, within time.Duration) Tally {
	census := Tally{Opened: len(c.sockets), Codes: make(map[int]int)}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, s := range c.sockets {
		all.Go(func() {
			echoed := s.alive() && s.echo(within)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case echoed:
				census.Alive++
			case s.alive():
				census.Codes[CodeSilent]++
			default:
				census.Codes[s.code]++
				census.EndedAfter = append(census.EndedAfter, s.ended.Sub(since))
			}
		})
	}
	all.Wait()
	return census
}

// Alive counts the sockets that are open, as far as their clients know.
func (c *Group) Alive() (n int) {
	for _, s := range c.sockets {
		if s.alive() {
			n++
		}
	}
	return n
}

// Close cuts all sockets and returns once nothing of them is left.
func (c *Group) Close() {
	for _, s := range c.sockets {
		if s != nil {
			s.conn.Close()
			<-s.done
		}
	}
}
