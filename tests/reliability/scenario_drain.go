package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// drainTime is longer than the edge's close window.
const drainTime = 6500 * time.Millisecond

var webSocketDrain = scenario{
	name:     "drain of WebSockets",
	what:     "An operator drains one of two replicas, with 500 WebSockets on both.",
	edgeOnly: true,
	replicas: 2,
	promise:  promise{anyMethod: true, sockets: true},
	run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
		edge := proxies[0]
		group, err := sockets.Open(ctx, edge.socketTarget(apiHost), s.effort.Crowd)
		if err != nil {
			return nil, err
		}
		defer group.Close()
		var began time.Time
		results, err := s.observe(ctx, "drain of WebSockets", proxies[:1], func(ctx context.Context) error {
			id, err := s.project.Container(ctx, "api")
			if err != nil {
				return err
			}
			began = time.Now()
			if err := edge.drain(ctx, id, false); err != nil {
				return err
			}
			if err := sleep(ctx, drainTime); err != nil {
				return err
			}
			return edge.drain(ctx, id, true)
		})
		if err != nil {
			return nil, err
		}
		tally := group.Count(began, echoTimeout)
		r := &results[0]
		r.Sockets = tally
		r.Notes = append(r.Notes, "closes in each half second: "+histogram(tally.EndedAfter, 500*time.Millisecond))
		if n := tally.Codes[1001]; n != tally.Lost() || n == 0 {
			r.Violations = append(r.Violations, fmt.Sprintf("of %d WebSockets that ended, %d were closed with 1001: %v", tally.Lost(), n, tally.Codes))
		}
		return results, nil
	},
}

// drain makes the edge drain an endpoint, or undo the drain.
func (p proxy) drain(ctx context.Context, id string, undo bool) error {
	body, err := json.Marshal(map[string]any{"endpoints": []string{id}, "undo": undo})
	if err != nil {
		return err
	}
	_, err = p.callAdmin(ctx, http.MethodPost, "/edge/drain", body)
	return err
}

// histogram returns the numbers of times in bins of a width, from 0 on.
func histogram(times []time.Duration, width time.Duration) string {
	var bins []int
	for _, t := range times {
		for i := int(max(t, 0) / width); i >= len(bins); {
			bins = append(bins, 0)
		}
		bins[max(t, 0)/width]++
	}
	return strings.Trim(fmt.Sprint(bins), "[]")
}
