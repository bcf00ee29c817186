package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/theworklabs/edge/tests/reliability/lab"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// reloadEvery is how long a reload may take: they begin that far apart, or when the one before is done.
const reloadEvery = 300 * time.Millisecond

var reload = scenario{
	name:    "reloads",
	what:    "Every proxy reloads its configuration again and again, each by its own means, with 500 WebSockets open beside the load.",
	promise: promise{sockets: true},
	run: func(ctx context.Context, s *stage, proxies []proxy) ([]Result, error) {
		proxies = slices.DeleteFunc(slices.Clone(proxies), func(p proxy) bool { return p.reload == nil })
		crowds := make([]*sockets.Crowd, len(proxies))
		for i, p := range proxies {
			crowd, err := sockets.Open(ctx, p.socketsOf(controlHost), s.effort.Crowd)
			if err != nil {
				return nil, err
			}
			defer crowd.Close()
			crowds[i] = crowd
		}
		began := time.Now()
		results, err := s.observe(ctx, "reloads", proxies, func(ctx context.Context) error {
			return sideBySide(proxies, func(p proxy) error { return s.reload(ctx, p) })
		})
		if err != nil {
			return nil, err
		}
		for i := range results {
			results[i].ControlSockets = crowds[i].Count(began, echoTime)
			results[i].Notes = append(results[i].Notes, fmt.Sprintf("%d reloads", s.effort.Reloads))
		}
		return results, nil
	},
}

// reload reloads a proxy again and again.
func (s *stage) reload(ctx context.Context, p proxy) error {
	id, err := s.project.Container(ctx, p.service)
	if err != nil {
		return err
	}
	args := slices.Clone(p.reload)
	args[1] = id
	if args[0] == "kill" { // its options come before the container
		args = []string{args[0], args[2], args[3], id}
	}
	for range s.effort.Reloads {
		next := time.Now().Add(reloadEvery)
		if _, err := lab.Docker(ctx, args...); err != nil {
			return fmt.Errorf("reload %s: %w", p.name, err)
		}
		if err := pass(ctx, time.Until(next)); err != nil {
			return err
		}
	}
	return nil
}
