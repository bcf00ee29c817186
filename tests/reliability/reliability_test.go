package main

import (
	"context"
	"testing"
	"time"
)

// TestEdgeKeepsItsPromises is the short form of the suite, with only the edge. It needs a Docker Engine and what tests/setup makes,
// and fails without them.
func TestEdgeKeepsItsPromises(t *testing.T) {
	if testing.Short() {
		return // -short is for machines without Docker
	}
	s := newTestbed(projectName+"test", ".", t.Output())
	s.effort = shortEffort
	var err error
	if s.proxies, err = chooseProxies("edge"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(t.Failed()); err != nil {
			t.Error(err)
		}
	})
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err, "\nrun tests/setup and deploy/image, or make test")
	}
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) { checkScenario(t, s, sc) })
	}
	t.Run("no leaks", func(t *testing.T) {
		for _, l := range s.leftovers {
			if !l.Clean() {
				t.Error(l)
			}
		}
	})
}

func checkScenario(t *testing.T, s *testbed, sc scenario) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	results, err := s.perform(ctx, sc, s.proxies)
	if err != nil {
		t.Fatal(err)
	}
	for _, cost := range s.idleCosts { // the short form has too few sockets to measure memory
		if cost.Goroutines > maxGoroutines {
			t.Error(cost.violations())
		}
	}
	for _, r := range results {
		t.Log(resultLine(r))
		for _, violation := range r.Violations {
			t.Error(violation)
		}
	}
}
