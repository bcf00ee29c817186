package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/moby/moby/client"
	"go.uber.org/zap"
)

// DefaultTerminationTimeout is the default of Engine.TerminationTimeout.
const DefaultTerminationTimeout = 60 * time.Second

// Engine watches a Docker Engine, directly or through the socket proxy. It lists the containers, and then follows the events, which
// arrive about a millisecond after the change. Every 60 s it lists them again. A broken event stream may just fall silent, so it
// pings the Docker Engine every 10 s, and on each request of PingRequests. After a reconnect it first reads the events that it
// missed, and then a full list.
//
// It needs GET /_ping, /events and /containers/json.
type Engine struct {
	DockerHost         string                // unix:///var/run/docker.sock or tcp://docker-guard:2375
	Projects           []string              // the Compose projects that are served, or AnyProject; none: the edge's own
	Networks           []string              // the networks whose addresses are used; none: those that the edge is on
	StopSignals        []string              // signals that mean stop, in addition to the usual ones, such as WINCH
	TerminationTimeout time.Duration         // a container that still runs so long after a stop signal is not stopping; 0: DefaultTerminationTimeout
	Subnets            func() []netip.Prefix // nil: LocalSubnets
	Names              Names                 // the names whose problems are logged; nil: all
	PingRequests       <-chan struct{}       // each value makes the source ping the Docker Engine at once; may be nil
	OnApplied          func(time.Duration)   // called when an event has taken effect, with the time since then; may be nil
	Log                *zap.Logger           // nil: no log
}

// Run watches the Docker Engine until ctx ends.
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
	newSession(e, sink).run(ctx)
}

// CheckDockerHost returns an error that names the expected forms if [Engine] can't use a Docker host.
func CheckDockerHost(endpoint string) error {
	u, err := client.ParseHostURL(endpoint)
	if err != nil {
		return fmt.Errorf("docker_host %q: want unix:///var/run/docker.sock or tcp://HOST:PORT", endpoint)
	}
	if u.Scheme != "unix" && u.Scheme != "tcp" || u.Host == "" && u.Path == "" {
		return fmt.Errorf("docker_host %q: want a unix:// or tcp:// address", endpoint)
	}
	return nil
}

var _ Source = Engine{}
