package socketio

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
)

// serveUpgrade moves a session from polling to a WebSocket: the client sends 2probe, the server answers 3probe, the client
// ends its polls and sends 5. If one of these steps fails, the session stays with polling.
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

// completeUpgrade performs the steps of an upgrade, and reports whether the session now uses the WebSocket.
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

// readUpgradePacket reads the next packet of the upgrade. It waits at most UpgradeTimeout.
func (s *session) readUpgradePacket(conn *websocket.Conn) (packet, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.server.options.UpgradeTimeout)
	defer cancel()
	return readPacket(ctx, conn)
}

// beginUpgrade starts an upgrade. It returns false if the session uses a WebSocket or is upgrading already.
func (s *session) beginUpgrade() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport != polling || s.upgrading {
		return false
	}
	s.upgrading = true
	return true
}

// releasePolls ends a waiting poll, and lets none wait until the upgrade is complete.
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

// mustEndPoll reports whether a poll must return without waiting.
func (s *session) mustEndPoll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probeAnswered || s.transport != polling
}
