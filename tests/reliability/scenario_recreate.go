package main

import "context"

var recreateRude = scenario{
	name:   "recreate (rude)",
	what:   "The only replica is recreated. It exits at once when it is told to stop, and takes a second to boot.",
	change: recreate,
}

var recreatePolite = scenario{
	name:   "recreate (polite)",
	what:   "The only replica is recreated. It finishes its requests when it is told to stop, and takes a second to boot.",
	env:    map[string]string{"LAB_ON_TERM": "polite"},
	change: recreate,
}

func recreate(ctx context.Context, s *stage) error {
	for range s.effort.Times {
		if _, err := s.project.Compose(ctx, "up", "--detach", "--no-deps", "--force-recreate", "api"); err != nil {
			return err
		}
		if err := s.answering(ctx, 1); err != nil {
			return err
		}
		if err := pass(ctx, lead); err != nil {
			return err
		}
	}
	return nil
}
