package main

import (
	"context"
	"fmt"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// Leftover is what a Caddy has open when it is idle again, after scenarios, beside what it had before them.
type Leftover struct {
	Proxy            string `json:"proxy"`
	GoroutinesBefore int    `json:"goroutines_before"`
	GoroutinesAfter  int    `json:"goroutines_after"`
	FilesBefore      int    `json:"descriptors_before"`
	FilesAfter       int    `json:"descriptors_after"`
}

// Slack is what comes and goes by itself: a request of the admin API, a check under way.
const (
	goroutineSlack = 8
	fileSlack      = 6
)

// Clean reports whether nothing was left behind.
func (l Leftover) Clean() bool {
	return l.GoroutinesAfter <= l.GoroutinesBefore+goroutineSlack && l.FilesAfter <= l.FilesBefore+fileSlack
}

// baseline is what a proxy had open when it was idle, in which container.
type baseline struct {
	container string
	usage     resourceUsage
}

// recordBaselines notes what the proxies have open while nothing happens.
func (s *testbed) recordBaselines(ctx context.Context) error {
	s.baselines = make(map[string]baseline)
	for _, p := range s.proxies {
		if p.admin == "" {
			continue
		}
		id, err := s.project.Container(ctx, p.service)
		if err != nil {
			return err
		}
		u, err := p.resourceUsage(ctx)
		if err != nil {
			return err
		}
		s.baselines[p.name] = baseline{id, u}
	}
	return nil
}

// compareWithBaselines waits until the proxies have no more open than they had, or long enough, and notes what they have.
func (s *testbed) compareWithBaselines(ctx context.Context) error {
	for _, p := range s.proxies {
		before, ok := s.baselines[p.name]
		if !ok {
			continue
		}
		delete(s.baselines, p.name)
		if id, err := s.project.Container(ctx, p.service); err != nil || id != before.container {
			continue // another process, with nothing to compare it to
		}
		l := Leftover{Proxy: p.name, GoroutinesBefore: before.usage.goroutines, FilesBefore: before.usage.files}
		_ = harness.EventuallyContext(ctx, 20*time.Second, "nothing is left", func() bool { // what is left then is in the report
			now, err := p.resourceUsage(ctx)
			l.GoroutinesAfter, l.FilesAfter = now.goroutines, now.files
			return err == nil && l.Clean()
		})
		s.leftovers = append(s.leftovers, l)
	}
	return nil
}

// String says what was left behind.
func (l Leftover) String() string {
	return fmt.Sprintf("%s has %d goroutines and %d descriptors open, %d and %d before",
		l.Proxy, l.GoroutinesAfter, l.FilesAfter, l.GoroutinesBefore, l.FilesBefore)
}
