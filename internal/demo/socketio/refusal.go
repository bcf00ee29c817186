package socketio

import (
	"encoding/json"
	"net/http"
)

// refusal is an Engine.IO error. Clients and edges go by the code, so the numbers are the protocol's.
type refusal struct {
	status  int
	Code    int    `json:"code"`
	Message string `json:"message"`
}

var (
	unknownTransport    = refusal{http.StatusBadRequest, 0, "Transport unknown"}
	unknownSession      = refusal{http.StatusBadRequest, 1, "Session ID unknown"}
	badHandshakeMethod  = refusal{http.StatusBadRequest, 2, "Bad handshake method"}
	badRequest          = refusal{http.StatusBadRequest, 3, "Bad request"}
	unsupportedProtocol = refusal{http.StatusBadRequest, 5, "Unsupported protocol version"}
	tooLarge            = refusal{http.StatusRequestEntityTooLarge, 3, "Payload too large"}
	tooMany             = refusal{http.StatusServiceUnavailable, 4, "Too many sessions"}
)

func (f refusal) write(w http.ResponseWriter) {
	body, _ := json.Marshal(f) // a number and a string: can't fail
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(f.status)
	_, _ = w.Write(body)
}
