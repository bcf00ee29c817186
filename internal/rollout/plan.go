package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Plan is what a rollout does, in order. It is made from a snapshot of each service, without changing anything.
type Plan struct {
	Services []ServicePlan
}

// String returns the plan for people: a line for each service, and an indented one for each of its steps.
func (p *Plan) String() string {
	var text strings.Builder
	for _, s := range p.Services {
		text.WriteString(s.String())
	}
	return text.String()
}

// ServicePlan is the plan of one service.
type ServicePlan struct {
	Service string

	strategy   strategy
	conflicts  []string // why two containers cannot run at once
	replicas   int      // how many containers run, and will run
	configured int      // how many the compose file asks for
	images     []step   // gets images
	getsImage  bool     // a step of this plan, or of an earlier service's, gets the service's image
	oneShots   []step   // runs services that have to complete first
	steps      []step   // replaces the containers
}

// strategy is how the containers of a service are replaced.
type strategy string

const (
	upToDate   strategy = "up to date"
	startOnly  strategy = "start"       // no container runs
	recreate   strategy = "recreate"    // the edge has no route to the service, and so has no requests to protect
	stopFirst  strategy = "stop first"  // two containers cannot run at once
	startFirst strategy = "start first" // the usual one
	// The edge itself: a second one takes over the sockets of the gate, or, if two cannot run at once, Compose replaces it, and
	// connections wait at the gate.
	handOver      strategy = "hand over"
	replaceAtGate strategy = "replace"
)

// action is what a step does.
type action int

const (
	pullImage action = iota
	buildImage
	runOneShot
	keepReused
	removeStopped
	startNew
	drainOld
	removeOld
	recreateAll
	awaitReady
	awaitRunning
	awaitStandby
	takeOver
	awaitLeft
)

// step is one step of a plan, with the values that its execution needs.
type step struct {
	action       action
	service      string        // of pullImage, buildImage and runOneShot
	image        string        // of pullImage and buildImage
	isLocal      bool          // of pullImage and buildImage: this machine has an image of that name
	containers   []container   // those that exist already and that the step is about
	count        int           // of startNew and recreateAll: how many containers
	timeout      time.Duration // of drainOld, awaitReady, awaitStandby and awaitLeft
	sessionGrace time.Duration // of drainOld
}

// String returns the plan's lines of [Plan.String].
func (p ServicePlan) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s\n", p.Service, p.summary())
	for _, s := range slices.Concat(p.images, p.oneShots, p.steps) {
		fmt.Fprintf(&text, "  %s\n", s)
	}
	return text.String()
}

// summary says how the service is rolled out, why not start-first, and how many containers it keeps if the compose file asks for
// another number.
func (p ServicePlan) summary() string {
	text := p.reason()
	if p.replicas > 0 && p.replicas != p.configured {
		text += fmt.Sprintf(" (%d run and stay %d; the compose file says %d)", p.replicas, p.replicas, p.configured)
	}
	return text
}

func (p ServicePlan) reason() string {
	switch p.strategy {
	case upToDate:
		if p.getsImage {
			return "nothing to do, unless the image changes"
		}
		return "nothing to do"
	case startOnly:
		return "start, because no container runs"
	case recreate:
		return "recreate, because the edge has no route to it"
	case stopFirst:
		return "stop first, because two containers cannot run at once: " + strings.Join(p.conflicts, "; ")
	case handOver:
		return "start a second one, which takes over"
	case replaceAtGate:
		return "stop and start while connections wait at the gate, because two containers cannot run at once: " + strings.Join(p.conflicts, "; ")
	default:
		return "start first"
	}
}

// String returns the step as an imperative.
func (s step) String() string {
	names := containerNames(s.containers)
	switch s.action {
	case pullImage:
		return "pull image " + s.image
	case buildImage:
		return "build image " + s.image
	case runOneShot:
		return "run " + s.service + " until it completes"
	case keepReused:
		return "keep " + names + " of the new version"
	case removeStopped:
		return "remove " + names + ", not running"
	case startNew:
		return fmt.Sprintf("start %s beside %s", plural(s.count, "container"), names)
	case drainOld:
		if s.sessionGrace > 0 {
			return fmt.Sprintf("drain %s, up to %s, with %s for sticky sessions", names, s.timeout, s.sessionGrace)
		}
		return fmt.Sprintf("drain %s, up to %s", names, s.timeout)
	case removeOld:
		return "stop and remove " + names
	case recreateAll:
		if len(s.containers) == 0 {
			return fmt.Sprintf("start %s with Compose", plural(s.count, "container"))
		}
		return fmt.Sprintf("replace %s with Compose", names)
	case awaitReady:
		return fmt.Sprintf("wait until the edge reports the new containers ready, up to %s", s.timeout)
	case awaitStandby:
		return fmt.Sprintf("wait until the new edge can serve, up to %s", s.timeout)
	case takeOver:
		return "have the new edge take over from " + names
	case awaitLeft:
		return fmt.Sprintf("wait until %s has let its clients go, up to %s", names, s.timeout)
	default: // awaitRunning
		return "check that the new containers run"
	}
}
