package socketio

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

// transport is how the packets of a session travel, in the words of the protocol.
type transport string

const (
	polling   transport = "polling"
	webSocket transport = "websocket"
)

// The limits of a session's queue. A client that is this far behind no longer reads, and its session ends.
const (
	maxQueuedPackets  = 256
	maxQueuedPayloads = 8 // times MaxPayload bytes
)

// session is one Engine.IO session. It starts with the handshake and ends when any goroutine calls end. Its own goroutine
// (run) then removes it from the server and calls Disconnected.
type session struct {
	id     string
	server *Server
	ctx    context.Context // done when the session has ended
	end    context.CancelFunc
	pongs  chan struct{} // holds one; further pongs are dropped

	mu            sync.Mutex
	transport     transport // the current one
	upgrading     bool      // a WebSocket has asked to take over
	probeAnswered bool      // the server has answered its probe: polls may wait no longer
	pollActive    bool      // the server is answering a poll; there may be only one
	queue         []packet
	queueBytes    int64
	changed       chan struct{} // closed and replaced when the fields above change
	ended         bool          // the session has ended: the client can no longer connect to the namespace
	socket        *Socket       // nil while the client is not connected to the namespace
}

func newSession(server *Server, t transport) *session {
	ctx, cancel := context.WithCancel(server.ctx)
	return &session{
		id: rand.Text(), server: server, ctx: ctx, end: cancel, transport: t,
		pongs: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// run is the goroutine of the session.
func (s *session) run() {
	s.pingLoop()
	s.end()
	s.server.remove(s)
	s.closeNamespace()
}

// pingLoop pings the client. It returns when the client does not answer in time, or when the session has ended for another
// reason.
func (s *session) pingLoop() {
	options := s.server.options
	timer := time.NewTimer(options.PingInterval)
	defer timer.Stop()
	for waiting := false; ; {
		select {
		case <-s.ctx.Done():
			return
		case <-s.pongs:
			if waiting {
				waiting = false
				timer.Reset(options.PingInterval)
			}
		case <-timer.C:
			if waiting {
				return
			}
			waiting = true
			s.push(packet{kind: kindPing})
			timer.Reset(options.PingTimeout)
		}
	}
}

// receive handles a packet from the client. If the packet breaks the protocol, it ends the session and returns an error.
func (s *session) receive(p packet) error {
	err := s.handlePacket(p)
	if err != nil {
		s.end()
	}
	return err
}

func (s *session) handlePacket(p packet) error {
	switch p.kind {
	case kindPong:
		select {
		case s.pongs <- struct{}{}:
		default:
		}
	case kindMessage:
		return s.handleMessage(p.data)
	case kindClose:
		s.end()
	case kindPing, kindOpen: // in Engine.IO 4 only the server sends pings
		return errUnexpectedPacket
	}
	return nil
}

// currentTransport returns the transport that carries the packets now.
func (s *session) currentTransport() transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport
}

// push queues a packet for the current transport.
func (s *session) push(p packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushLocked(p)
}

// pushLocked is push for callers that hold the lock.
func (s *session) pushLocked(p packet) {
	s.queueBytes += int64(len(p.data))
	if len(s.queue) >= maxQueuedPackets || s.queueBytes > maxQueuedPayloads*s.server.options.MaxPayload {
		s.end()
		return
	}
	s.queue = append(s.queue, p)
	s.notifyLocked()
}

// notifyLocked wakes the goroutines that wait for a change. The caller holds the lock.
func (s *session) notifyLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// takeQueue empties the queue. If it was empty, the caller can wait for the channel. A transport that no longer carries the
// session gets no packets, so that a late poll cannot take those of the WebSocket.
func (s *session) takeQueue(t transport) (packets []packet, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport == t {
		packets, s.queue, s.queueBytes = s.queue, nil, 0
	}
	return packets, s.changed
}
