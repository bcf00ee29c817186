package socketio

import (
	"encoding/json"
	"net/http"
)

// handshakeData is what the server tells a client in the open packet. Times are in milliseconds, sizes in bytes.
type handshakeData struct {
	SID          string      `json:"sid"`
	Upgrades     []transport `json:"upgrades"`
	PingInterval int64       `json:"pingInterval"`
	PingTimeout  int64       `json:"pingTimeout"`
	MaxPayload   int64       `json:"maxPayload"`
}

// handshake begins a session and serves its first request.
func (s *Server) handshake(w http.ResponseWriter, r *http.Request, t transport) {
	session := newSession(s, t)
	session.push(session.openPacket())
	if !s.add(session) {
		session.end()
		tooManySessions.write(w)
		return
	}
	if t == webSocket {
		session.serveWebSocket(w, r)
		return
	}
	session.servePoll(w, r)
}

func (s *session) openPacket() packet {
	g := handshakeData{
		SID:          s.id,
		Upgrades:     []transport{},
		PingInterval: s.server.options.PingInterval.Milliseconds(),
		PingTimeout:  s.server.options.PingTimeout.Milliseconds(),
		MaxPayload:   s.server.options.MaxPayload,
	}
	if s.transport == polling {
		g.Upgrades = append(g.Upgrades, webSocket)
	}
	data, _ := json.Marshal(g) // strings and numbers: can't fail
	return packet{kindOpen, string(data)}
}

// add makes the session known and starts its goroutine, unless the server is closed or full.
func (s *Server) add(session *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.sessions) >= s.options.MaxSessions {
		return false
	}
	s.sessions[session.id] = session
	// Under the lock, and after looking at closed: Close waits, and nothing may be added once it does.
	s.running.Go(session.run)
	return true
}

func (s *Server) remove(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, session.id)
}

// find returns nil for a session that is unknown or has ended.
func (s *Server) find(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.sessions[id]
	if session == nil || session.ctx.Err() != nil {
		return nil
	}
	return session
}

func (s *Server) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session, 0, len(s.sessions))
	for _, session := range s.sessions {
		all = append(all, session)
	}
	return all
}
