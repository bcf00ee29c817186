package main

import (
	"context"
	"fmt"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// Leftover compares what a Caddy has open before the scenarios and when it is idle again after them.
type Leftover struct {
	Proxy            string `json:"proxy"`
	GoroutinesBefore int    `json:"goroutines_before"`
	GoroutinesAfter  int    `json:"goroutines_after"`
	FilesBefore      int    `json:"descriptors_before"`
	FilesAfter       int    `json:"descriptors_after"`
}

// The slack is for what comes and goes while the proxy is idle: a request of the admin API, a health check in flight.
const (
	goroutineSlack = 8
	fileSlack      = 6
)

// Clean reports whether the proxy has no more open than before, within the slack.
func (l Leftover) Clean() bool {
	return l.GoroutinesAfter <= l.GoroutinesBefore+goroutineSlack && l.FilesAfter <= l.FilesBefore+fileSlack
}

// baseline is what a container of a proxy had open when it was idle.
type baseline struct {
	container string
	usage     resourceUsage
}

// recordBaselines records what the idle proxies have open.
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

// compareWithBaselines waits until the proxies have no more open than their baselines, for at most 20 s, and records what they have.
func (s *testbed) compareWithBaselines(ctx context.Context) error {
	for _, p := range s.proxies {
		before, ok := s.baselines[p.name]
		if !ok {
			continue
		}
		delete(s.baselines, p.name)
		if id, err := s.project.Container(ctx, p.service); err != nil || id != before.container {
			continue // a new process cannot be compared with the old one
		}
		l := Leftover{Proxy: p.name, GoroutinesBefore: before.usage.goroutines, FilesBefore: before.usage.files}
		_ = harness.EventuallyContext(ctx, 20*time.Second, "nothing is left", func() bool { // the report has what is left
			now, err := p.resourceUsage(ctx)
			l.GoroutinesAfter, l.FilesAfter = now.goroutines, now.files
			return err == nil && l.Clean()
		})
		s.leftovers = append(s.leftovers, l)
	}
	return nil
}

// String describes the leftover in a sentence.
func (l Leftover) String() string {
	return fmt.Sprintf("%s has %d goroutines and %d descriptors open, %d and %d before",
		l.Proxy, l.GoroutinesAfter, l.FilesAfter, l.GoroutinesBefore, l.FilesBefore)
}
