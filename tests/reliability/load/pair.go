package load

import (
	"context"
	"sync"
)

// Pair is a stream to the service that things happen to, and one to a service that is left alone, by way of the same
// proxy in the same seconds. What the control meets is the machine's doing; the difference is the proxy's.
type Pair struct {
	Service Stream
	Control Stream
}

// Run runs both until ctx ends and returns what became of their requests.
func (p Pair) Run(ctx context.Context) (service, control *Record) {
	var both sync.WaitGroup
	both.Go(func() { service = p.Service.Run(ctx) })
	both.Go(func() { control = p.Control.Run(ctx) })
	both.Wait()
	return service, control
}
