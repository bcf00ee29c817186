package registry

import (
	"sync/atomic"
	"time"
)

// responseStats counts the responses of one endpoint, so that a slow or failing container of several can be found.
type responseStats struct {
	errors    atomic.Uint64
	firstByte movingAverage
}

// CountResponse counts a response, or that none came. firstByte is how long its first byte took; 0 is not counted. It takes no lock.
func (c Claim) CountResponse(isError bool, firstByte time.Duration) {
	if isError {
		c.e.responses.errors.Add(1)
	}
	if firstByte > 0 {
		c.e.responses.firstByte.add(firstByte)
	}
}

// movingAverage is an average in which newer values weigh more: after averagedValues others, a value has a third of its weight.
type movingAverage struct{ nanoseconds atomic.Int64 }

const averagedValues = 32

// add adds a value. One that comes at the same instant as another may be left out.
func (a *movingAverage) add(d time.Duration) {
	old := a.nanoseconds.Load()
	if old == 0 {
		a.nanoseconds.CompareAndSwap(0, int64(d))
		return
	}
	a.nanoseconds.CompareAndSwap(old, old+(int64(d)-old)/averagedValues)
}

func (a *movingAverage) value() time.Duration { return time.Duration(a.nanoseconds.Load()) }
