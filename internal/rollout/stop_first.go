package rollout

import (
	"context"
	"fmt"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// A stop-first rollout has the edge drain the old containers, and then has Compose replace them. The edge holds new requests
// meanwhile. Once Compose has begun, there is no old container to go back to.

// stopFirstDrainTimeout bounds the drain of a stop-first rollout. It is short because the edge holds new requests for 60 s, and
// the old container has to stop and the new one has to start in that time, too. Sticky sessions get no grace: they end anyway.
const stopFirstDrainTimeout = 15 * time.Second

// recoverStopFirst ends the drain of the old containers if they still exist.
func (t *serviceRollout) recoverStopFirst(ctx context.Context, failed step, cause error) error {
	switch failed.action {
	case drainOld:
		return t.undoDrain(context.WithoutCancel(ctx), failed.containers, errorOrInterrupted(ctx, cause))
	case recreateAll:
		return t.undoDrain(context.WithoutCancel(ctx), failed.containers, cause)
	default:
		return fmt.Errorf("%w; the old container is gone, since two can't run at once", cause)
	}
}

// undoDrain has the edge send requests to the containers again, as far as they still exist.
func (t *serviceRollout) undoDrain(ctx context.Context, old []container, cause error) error {
	if err := t.requestUndrain(ctx, old); err != nil {
		return hint.New(
			fmt.Errorf("%w; and the drain can't be undone: %w", cause, err),
			t.undrainHint(old),
		)
	}
	return fmt.Errorf("%w; the old containers that are left serve as before", cause)
}
