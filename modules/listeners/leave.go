package listeners

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/gate"
)

// A process that ends lets its clients go before Caddy closes their connections, since a client may send a request at the same instant:
//
//  1. Each response says that its connection is closed (Connection: close, or GOAWAY), so that the client opens another one for its next
//     request. If a successor serves already, it gets them all; otherwise this process still accepts, so that nobody waits for the
//     connections that take long.
//  2. When the connections of before are closed or idle, or the time is up, it accepts no more: connections wait in the queue of the
//     gate's sockets. What it has accepted, it serves.
//
// Then Caddy closes what is left.

// leaving says that responses end their connections.
var leaving atomic.Bool

// IsLeaving reports whether the process ends, so that each response should end its connection.
func IsLeaving() bool { return leaving.Load() }

// LeaveOptions are for [Leave].
type LeaveOptions struct {
	// Window is how long clients have to use their connections once more.
	Window time.Duration
	// Quiet is how long a connection must be idle to count as one that the client does not use.
	Quiet time.Duration
}

const (
	// ExitQuiet is the value of Quiet when the process ends.
	ExitQuiet = 3 * time.Second
	// lastQuiet and lastWindow are the same for the connections that are accepted last: their request may be on its way.
	lastQuiet  = time.Second
	lastWindow = 5 * time.Second

	leavePoll = 20 * time.Millisecond
)

// Leave lets the clients of the process go, and returns when they have gone or the context ends. A second call waits again.
func Leave(ctx context.Context, o LeaveOptions) {
	BeginLeave()
	start := time.Now()
	waitForConnections(ctx, start, o)
	if handed.stopAccepting() {
		waitForConnections(ctx, time.Now().Add(time.Hour), LeaveOptions{lastWindow, lastQuiet})
	}
}

// waitForConnections waits until no connection that was opened before a time is in use.
func waitForConnections(ctx context.Context, before time.Time, o LeaveOptions) {
	ctx, cancel := context.WithTimeout(ctx, o.Window)
	defer cancel()
	for calm := 0; calm < 2; {
		_, inUse := clients.count(before, min(o.Quiet, time.Since(processStart)))
		if calm++; inUse > 0 || hub.Arriving() > 0 {
			calm = 0
		}
		select {
		case <-time.After(leavePoll):
		case <-ctx.Done():
			return
		}
	}
}

// processStart bounds the time for which a connection can have been idle.
var processStart = time.Now()

// BeginLeave is the beginning of Leave, and does not wait.
func BeginLeave() {
	leaving.Store(true)
	handed.leave()
}

// Stay undoes Leave, for a process whose successor has failed.
func Stay() {
	leaving.Store(false)
	handed.stay()
}

// leave has the successor serve alone, as soon as there is one: see update. Connections of QUIC stay with this process.
func (h *handedSockets) leave() {
	h.mu.Lock()
	h.isLast = true
	if h.lease != nil {
		h.lease.SayLeave()
	}
	h.mu.Unlock()
	h.update(logger())
}

// acceptOnlyKnown ends accepting connections. Packets of HTTP/3 still come from the clients that have a connection. The caller holds h.mu.
func (h *handedSockets) acceptOnlyKnown() {
	h.acceptor.Set(false)
	if h.sockets == nil || !h.hasTaken {
		return
	}
	h.keepClients()
	// The packets that arrived before are read, and begin connections, after this.
	for _, d := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, time.Second} {
		time.AfterFunc(d, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.isLast && !h.acceptor.IsOn() {
				h.keepClients()
			}
		})
	}
}

// keepClients has the packets of the clients that have a connection come to this process. The caller holds h.mu.
func (h *handedSockets) keepClients() {
	if err := h.sockets.KeepClients(quicClients.addresses); err != nil {
		logger().Error("some HTTP/3 connections break off", zap.Error(err))
	}
}

// stopAccepting reports false if the process has opened its sockets itself: they stay open until Caddy closes them.
func (h *handedSockets) stopAccepting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isEnding = true
	h.acceptOnlyKnown()
	return h.sockets != nil
}

func (h *handedSockets) stay() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isLast = false
	switch {
	case h.hasTaken:
		h.takeNow()
	case h.lease != nil && h.isReady:
		h.lease.SayReady()
	}
}

// takeNow serves, whatever others do. The caller holds h.mu.
func (h *handedSockets) takeNow() {
	if h.lease != nil {
		h.lease.SayTake()
	}
	h.serve(logger())
}

// Ready is called when a configuration has started and can serve. Until then, connections wait in the queue of the sockets that were opened
// for the process. ctx is the configuration's.
func Ready(ctx caddy.Context) {
	rest.serve(ctx, logger())
	handed.ready(logger())
}

// CanLeave reports whether another process serves the sockets of the gate, or could.
func CanLeave() bool {
	handed.mu.Lock()
	defer handed.mu.Unlock()
	return handed.lease != nil && handed.lease.Others(gate.Serving, gate.Ready)
}

// Take has the process accept connections although another one still has the sockets. It reports false if it can't serve yet.
func Take() bool { return handed.take() }

func (h *handedSockets) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.isReady {
		return false
	}
	h.takeNow()
	return true
}

// Status is what the process does with its sockets.
type Status struct {
	// Sockets is who has opened them: gate, systemd, or "" for the process itself.
	Sockets string `json:"sockets,omitempty"`
	// Askers is how many processes have the sockets of the gate, with this one.
	Askers int `json:"askers,omitempty"`
	// State is one of the States.
	State string `json:"state"`
	// Connections are the open ones over TCP, without WebSockets. InUse are those of them that were not idle for some time, and the clients
	// of HTTP/3 with a request under way.
	Connections int `json:"connections"`
	InUse       int `json:"in_use"`
}

// States of a process.
const (
	StateStarting = "starting" // it does not accept connections yet
	StateStandby  = "standby"  // it could, but another process does
	StateServing  = "serving"
	StateLeaving  = "leaving"
)

// GetStatus returns the status of the process. InUse counts connections that were not idle for a duration.
func GetStatus(quiet time.Duration) Status {
	s := handed.status()
	s.Connections, s.InUse = clients.count(time.Now().Add(time.Hour), quiet)
	s.InUse += int(hub.Arriving()) + quicClients.countActive()
	return s
}

func (h *handedSockets) status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Status{State: StateServing}
	switch {
	case h.isLast:
		s.State = StateLeaving
	case !h.isReady:
		s.State = StateStarting
	case h.sockets != nil && !h.acceptor.IsOn():
		s.State = StateStandby
	}
	switch {
	case h.lease != nil:
		s.Sockets, s.Askers = "gate", h.lease.Askers()
	case h.sockets != nil:
		s.Sockets = "systemd"
	}
	return s
}

func logger() *zap.Logger { return caddy.Log().Named("listeners") }
