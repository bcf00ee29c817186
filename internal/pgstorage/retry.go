package pgstorage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second

	// minAttemptTimeout is the least time that an attempt gets, even if less is left of the retry timeout.
	minAttemptTimeout = 2 * time.Second
)

// withRetry runs an operation, and repeats it while the database can't be reached, until the retry timeout is over. The same
// timeout ends an attempt that gets no answer: a network that drops packets does not close the connection. name is the
// operation and its object, for errors: "load sites/a".
func (s *Store) withRetry(ctx context.Context, name string, operation func(context.Context) error) error {
	deadline := time.Now().Add(s.opts.RetryTimeout)
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		err := s.attempt(ctx, max(time.Until(deadline), minAttemptTimeout), operation)
		switch {
		case err == nil:
			return nil
		case !isTransient(err) || ctx.Err() != nil || s.closed.Load() || time.Now().After(deadline):
			return fmt.Errorf("%s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", name, errors.Join(ctx.Err(), err))
		case <-time.After(backoff):
		}
	}
}

func (s *Store) attempt(ctx context.Context, timeout time.Duration, operation func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	return operation(ctx)
}

// isTransient reports whether an error means that the database can't be reached now, and may be reachable later.
func isTransient(err error) bool {
	serverErr, fromServer := errors.AsType[*pgconn.PgError](err)
	if !fromServer {
		// Every error that neither the server nor this package has made is about the connection.
		return !errors.Is(err, pgx.ErrNoRows) && !errors.Is(err, errUnreadable) && !errors.Is(err, errLockLost)
	}
	switch serverErr.Code[:2] {
	case "08", "57", "53": // connection exception, operator intervention, insufficient resources
		return true
	}
	return serverErr.Code == "40001" || serverErr.Code == "40P01" // serialization failure, deadlock
}
