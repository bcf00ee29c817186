package edge

import (
	"sync"
	"sync/atomic"
)

// counters count by a name. The zero value is ready; it is safe for concurrent use.
type counters struct{ byName sync.Map }

func (c *counters) add(name string) {
	n, ok := c.byName.Load(name)
	if !ok {
		n, _ = c.byName.LoadOrStore(name, new(atomic.Uint64))
	}
	n.(*atomic.Uint64).Add(1)
}

func (c *counters) get(name string) uint64 {
	if n, ok := c.byName.Load(name); ok {
		return n.(*atomic.Uint64).Load()
	}
	return 0
}
