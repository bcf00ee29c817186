package replication

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/theworklabs/edge/internal/hint"
)

// queueService is the service with the applications' queues and sessions, which are not replicated: after a promotion, they start empty.
const queueService = "bigcapital-redis"

// emptyQueues removes the queues on the replica's host. They are of the time before another host was promoted, and after the next promotion their jobs would be done again.
func (r *Rejoin) emptyQueues(ctx context.Context, replica *host) error {
	c, err := replica.container(ctx, queueService)
	if err == nil && !c.IsUp() {
		err = replica.start(ctx, queueService)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("not done within %s", r.Timeout))
	defer cancel()
	var last error
	err = eventually(ctx, func(ctx context.Context) bool {
		out, _, err := replica.docker.Run(ctx, "exec", c.ID, "redis-cli", "FLUSHALL", "SYNC") // it also replaces the file on the disk
		if out = strings.TrimSpace(out); err == nil && out != "OK" {
			err = errors.New(out)
		}
		last = err
		return err == nil
	})
	if err != nil {
		return hint.New(fmt.Errorf("%s on %s: %w: %w", queueService, replica.address, err, last), "docker compose up --detach "+queueService+" there; then call it again")
	}
	return nil
}
