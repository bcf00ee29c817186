package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/moby/moby/client"
	"go.uber.org/zap"
)

// DefaultTerminationTimeout is how long a container may take to die after it was told to stop.
const DefaultTerminationTimeout = 60 * time.Second

// Engine watches a Docker Engine, directly or through the guard: a list, and then events, which arrive about a
// millisecond after the fact. A cut stream is silent, so the Engine is pinged every 10 s, and when in doubt, and
// listed every 60 s; after each reconnect the events since the last one are read again before a full list repairs the rest.
//
// It needs GET /_ping, /events and /containers/json, no more.
type Engine struct {
	DockerHost         string                // unix:///var/run/docker.sock or tcp://docker-guard:2375
	Project            string                // the Compose project that is served; "": the edge's own
	Networks           []string              // the networks whose addresses are used; none: those the edge is on
	StopSignals        []string              // signals that mean stop although they usually don't, such as WINCH
	TerminationTimeout time.Duration         // without a death by then, a stop is taken back; 0: DefaultTerminationTimeout
	Subnets            func() []netip.Prefix // nil: LocalSubnets
	Names              Names                 // whose problems are logged; nil: all
	PingRequests       <-chan struct{}       // tells that the Engine's word may be old, so that it is pinged at once; nil: nothing does
	Log                *zap.Logger           // nil: silent
}

// Run keeps a session with the Engine until ctx ends.
func (e Engine) Run(ctx context.Context, sink Sink) {
	if e.Subnets == nil {
		e.Subnets = LocalSubnets
	}
	if e.TerminationTimeout <= 0 {
		e.TerminationTimeout = DefaultTerminationTimeout
	}
	if e.Log == nil {
		e.Log = zap.NewNop()
	}
	s := &session{
		Engine: e, sink: sink, index: newContainerIndex(e.Project, e.Networks),
		terminationDeadlines: make(map[string]time.Time), relists: make(map[string]scheduledRelist), loggedProblems: make(map[string]string),
	}
	s.runWithReconnect(ctx)
}

const (
	minReconnectDelay = 100 * time.Millisecond
	maxReconnectDelay = 5 * time.Second

	// reconnectGrace is how long the Engine may be out of reach before DNS is listened to. DNS knows neither who was told to stop
	// nor who is paused: to ask it at every reconnect would give those requests again.
	reconnectGrace = 2 * time.Second
)

// runWithReconnect connects again and again until ctx ends.
func (s *session) runWithReconnect(ctx context.Context) {
	pause, online, lost := minReconnectDelay, false, time.Time{}
	for ctx.Err() == nil {
		connected, err := s.runConnection(ctx)
		if ctx.Err() != nil {
			return
		}
		if connected {
			pause, online, lost = minReconnectDelay, true, time.Now()
		}
		if connected || lost.IsZero() {
			lost = time.Now()
			s.Log.Warn("the Docker Engine is out of reach; going by DNS and what is known until it is back",
				zap.String("endpoint", s.DockerHost), zap.Error(err))
		}
		if online && time.Since(lost) > reconnectGrace {
			online = false
		}
		if !online {
			s.sink.SetOnline(false)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxReconnectDelay)
	}
}

// CheckDockerHost returns an error that says what to write when endpoint is not one that [Engine] can use.
func CheckDockerHost(endpoint string) error {
	u, err := client.ParseHostURL(endpoint)
	if err != nil {
		return fmt.Errorf("endpoint %q: want unix:///var/run/docker.sock or tcp://HOST:PORT", endpoint)
	}
	if u.Scheme != "unix" && u.Scheme != "tcp" || u.Host == "" && u.Path == "" {
		return fmt.Errorf("endpoint %q: want a unix:// or tcp:// address", endpoint)
	}
	return nil
}

var _ Source = Engine{}
