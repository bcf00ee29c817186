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

// emptyQueues removes the queues on the replica's host. They are of the time before another host was promoted, and after the next promotion their jobs would be done.
func (r *Rejoin) emptyQueues(ctx context.Context, all []servers, replica *host) error {
	if err := r.checkEngine(ctx, all, replica); err != nil {
		return err
	}
	return r.step(queueService+": emptied on "+replica.address, func() error {
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
			return err == nil || out != "" && !strings.HasPrefix(out, "LOADING") // it is ready, and refuses
		})
		if err = errors.Join(err, last); err != nil {
			return hint.New(fmt.Errorf("%s on %s: %w", queueService, replica.address, err), "docker compose exec "+queueService+" redis-cli FLUSHALL has to work there; then call it again")
		}
		return nil
	})
}

// checkEngine fails if the Engine that is said to be the replica's is that of the primary: what is there would be stopped, and replaced.
func (r *Rejoin) checkEngine(ctx context.Context, all []servers, replica *host) error {
	for _, s := range all {
		primary, ok := s.primary.(interface {
			hostname(ctx context.Context) (string, error)
		})
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, queryTimeout)
		defer cancel()
		name, err := primary.hostname(ctx)
		if err != nil {
			return err
		}
		c, err := replica.container(ctx, s.Service)
		if err != nil {
			return err
		}
		if name != "" && strings.HasPrefix(c.ID, name) { // Docker names a container's host so
			return hint.New(fmt.Errorf("%s is that of %s, the primary, and not of %s", replica.url, r.config.Primary, replica.address),
				"DATABASES_DOCKER and DATABASES_REPLICA_DOCKER, or DATABASES_PROJECT and DATABASES_REPLICA_PROJECT, are exchanged")
		}
	}
	return nil
}
