package main

import "time"

// effort has the sizes and times of scenarios.
type effort struct {
	Lead    time.Duration // time under load before a change
	Rate    int           // requests a second through each proxy; half as many go to the control
	Times   int           // how often a scenario repeats its change
	Window  time.Duration // time under load after a change
	Sockets int           // WebSockets to each service during a scenario
	Crowd   int           // WebSockets in scenarios about them
	Reloads int
	Edges   int // how often edge rollout replaces the edge
	Idle    int // WebSockets whose memory is measured
	Steady  int // equal measurements in a row that make the memory steady

	Stop time.Duration // after which Docker kills a replica of api that does not stop

	Leave time.Duration // edge rollout --drain-timeout, for the edge itself

	Sessions time.Duration // edge rollout --sessions; the lab has no sticky sessions
}

var (
	fullEffort = effort{
		Lead: time.Second, Rate: 60, Times: 5, Window: 5 * time.Second, Sockets: 25, Crowd: 500, Reloads: 200, Edges: 20, Idle: 3000, Steady: 4,
		Stop: 10 * time.Second, Leave: 40 * time.Second, Sessions: 10 * time.Second,
	}
	shortEffort = effort{
		Lead: 500 * time.Millisecond, Rate: 60, Times: 1, Window: time.Second, Sockets: 10, Crowd: 100, Reloads: 10, Edges: 1, Idle: 300, Steady: 1,
		Stop: 2 * time.Second, Leave: 3 * time.Second, Sessions: time.Second,
	}
)
