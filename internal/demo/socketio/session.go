package socketio

import (
	"context"
	"crypto/rand"
	"sync"
)

// transport is how a session's packets travel, in the protocol's own words.
type transport string

const (
	polling   transport = "polling"
	webSocket transport = "websocket"
)

// session is one Engine.IO session. It begins with the handshake and ends when end is called, by whoever
// sees the reason first; its goroutine (run) then tells the server and the application.
type session struct {
	id     string
	server *Server
	ctx    context.Context // done when the session has ended
	end    context.CancelFunc
	pongs  chan struct{} // holds one: the heart beats on, however many come

	mu            sync.Mutex
	transport     transport // which transport carries the packets now
	upgrading     bool      // a WebSocket has asked to take over
	probeAnswered bool      // and was told yes: polls must not wait any longer
	pollActive    bool      // a poll is being answered; there may be only one
	queue         []packet
	queueBytes    int64         // bytes
	changed       chan struct{} // closed and replaced when something above changes
	ended         bool          // the session has ended: nobody may join any more
	socket        *Socket       // nil until the client is in the namespace
}

func newSession(server *Server, over transport) *session {
	ctx, cancel := context.WithCancel(server.ctx)
	return &session{
		id: rand.Text(), server: server, ctx: ctx, end: cancel, transport: over,
		pongs: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// run is the session's goroutine.
func (s *session) run() {
	s.pingLoop()
	s.end()
	s.server.remove(s)
	s.closeNamespace()
}

// receive takes a packet from the client. An error means that the client broke the protocol; the session has then ended.
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
	case kindPing, kindOpen: // in version 4 it is the server that pings
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
