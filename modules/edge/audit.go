package edge

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/preflight"
)

// auditedSource is a source that also tests once what its Docker host allows, and logs a warning if that is too much.
type auditedSource struct {
	discovery.Source
	dockerHost string
	log        *zap.Logger
}

// auditInterval is the time between two tests of a Docker host that does not answer yet.
const auditInterval = 10 * time.Second

// Run implements discovery.Source.
func (a auditedSource) Run(ctx context.Context, sink discovery.Sink) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.audit(ctx)
	}()
	a.Source.Run(ctx, sink)
	<-done
}

// audit tests the Docker host until there is a result, or ctx ends.
func (a auditedSource) audit(ctx context.Context) {
	for {
		found := preflight.CheckDockerHost(ctx, a.dockerHost)
		if !found.IsInconclusive() {
			if found.Level != preflight.OK {
				a.log.Warn(found.Message, zap.String("hint", found.Hint))
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(auditInterval):
		}
	}
}
