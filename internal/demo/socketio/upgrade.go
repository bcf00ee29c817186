package socketio

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
)

// serveUpgrade moves a session from polling to the WebSocket that asks for it:
// the client sends 2probe and is answered 3probe, ends its polls, and sends 5. If it doesn't get that far, the session goes on polling.
func (s *session) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	if !s.beginUpgrade() {
		badRequest.write(w)
		return
	}
	conn, err := s.accept(w, r)
	if err != nil {
		s.abandonUpgrade()
		return
	}
	if !s.completeUpgrade(conn) {
		s.abandonUpgrade()
		_ = conn.CloseNow()
		return
	}
	s.server.options.Upgraded()
	s.serveConn(conn)
}

// completeUpgrade reports whether the connection has taken over.
func (s *session) completeUpgrade(conn *websocket.Conn) bool {
	if p, err := s.readUpgradePacket(conn); err != nil || p != (packet{kindPing, "probe"}) {
		return false
	}
	if writePacket(s.ctx, conn, packet{kindPong, "probe"}) != nil {
		return false
	}
	s.releasePolls()
	p, err := s.readUpgradePacket(conn)
	return err == nil && p.kind == kindUpgrade && s.finishUpgrade()
}

// readUpgradePacket reads the next packet of the upgrade, for no longer than one may take.
func (s *session) readUpgradePacket(conn *websocket.Conn) (packet, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.server.options.UpgradeTimeout)
	defer cancel()
	return readPacket(ctx, conn)
}

// beginUpgrade reports whether the session is free to move.
func (s *session) beginUpgrade() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport != polling || s.upgrading {
		return false
	}
	s.upgrading = true
	return true
}

// releasePolls ends the poll that waits and lets none wait until the upgrade is through.
func (s *session) releasePolls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probeAnswered = true
	s.notifyLocked()
}

func (s *session) finishUpgrade() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.transport = webSocket
	s.notifyLocked()
	return true
}

func (s *session) abandonUpgrade() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upgrading, s.probeAnswered = false, false
}

// mustEndPoll reports whether a poll must not wait.
func (s *session) mustEndPoll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probeAnswered || s.transport != polling
}
