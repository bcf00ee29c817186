package socketio

import (
	"encoding/json"
	"net/http"
)

// handshakeData is the content of the open packet. Times are in milliseconds, sizes in bytes.
type handshakeData struct {
	SID          string      `json:"sid"`
	Upgrades     []transport `json:"upgrades"`
	PingInterval int64       `json:"pingInterval"`
	PingTimeout  int64       `json:"pingTimeout"`
	MaxPayload   int64       `json:"maxPayload"`
}

// handshake starts a session and serves its first request.
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
	handshake := handshakeData{
		SID:          s.id,
		Upgrades:     []transport{},
		PingInterval: s.server.options.PingInterval.Milliseconds(),
		PingTimeout:  s.server.options.PingTimeout.Milliseconds(),
		MaxPayload:   s.server.options.MaxPayload,
	}
	if s.transport == polling {
		handshake.Upgrades = append(handshake.Upgrades, webSocket)
	}
	data, _ := json.Marshal(handshake) // cannot fail for strings and numbers
	return packet{kindOpen, string(data)}
}
