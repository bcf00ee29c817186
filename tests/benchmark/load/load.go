package load

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Clients are connections that send the same request.
type Clients struct {
	all []client
}

// Open opens n connections, and sends a request on each.
func Open(ctx context.Context, r Request, n int) (*Clients, error) {
	c := new(Clients)
	for range n {
		one, err := newClient(ctx, r)
		if err == nil {
			c.all = append(c.all, one)
			err = one.do()
		}
		if err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close closes all connections.
func (c *Clients) Close() {
	for _, one := range c.all {
		one.close()
	}
}

// Saturate sends requests on all connections, one after the other on each, for a time, and returns how many.
func (c *Clients) Saturate(d time.Duration) (requests int, err error) {
	var sent atomic.Int64
	var stop atomic.Bool
	defer time.AfterFunc(d, func() { stop.Store(true) }).Stop()
	err = c.each(func(one client) error {
		for !stop.Load() {
			if err := one.do(); err != nil {
				return err
			}
			sent.Add(1)
		}
		return nil
	})
	return int(sent.Load()), err
}

// Latencies are how long responses took.
type Latencies []time.Duration

// Percentile returns the latency that p percent of the requests did not exceed.
func (l Latencies) Percentile(p float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(int(float64(len(l))*p/100), len(l)-1)]
}

// Pace sends a number of requests each second for a time, whether or not the responses to those before have come (an open loop), and returns
// sorted latencies. A request that waits for a free connection counts from the time at which it should have been sent.
func (c *Clients) Pace(rate int, d time.Duration) (Latencies, error) {
	n := int64(float64(rate) * d.Seconds())
	all := make(Latencies, n)
	var next atomic.Int64
	start := time.Now()
	err := c.each(func(one client) error {
		for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
			due := start.Add(time.Duration(float64(i) / float64(rate) * float64(time.Second)))
			time.Sleep(time.Until(due))
			if err := one.do(); err != nil {
				return err
			}
			all[i] = time.Since(due)
		}
		return nil
	})
	slices.Sort(all)
	return all, err
}

// each calls f for each connection, in goroutines of their own.
func (c *Clients) each(f func(client) error) error {
	errs := make([]error, len(c.all))
	var all sync.WaitGroup
	for i, one := range c.all {
		all.Go(func() { errs[i] = f(one) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err // the others are alike
		}
	}
	return nil
}
