package socketio

import (
	"encoding/json"
	"net/http"
)

// protocolError is an Engine.IO error. Clients and edges go by the code, so the numbers are the protocol's.
type protocolError struct {
	status  int
	Code    int    `json:"code"`
	Message string `json:"message"`
}

var (
	unknownTransport    = protocolError{http.StatusBadRequest, 0, "Transport unknown"}
	unknownSession      = protocolError{http.StatusBadRequest, 1, "Session ID unknown"}
	badHandshakeMethod  = protocolError{http.StatusBadRequest, 2, "Bad handshake method"}
	badRequest          = protocolError{http.StatusBadRequest, 3, "Bad request"}
	unsupportedProtocol = protocolError{http.StatusBadRequest, 5, "Unsupported protocol version"}
	payloadTooLarge     = protocolError{http.StatusRequestEntityTooLarge, 3, "Payload too large"}
	tooManySessions     = protocolError{http.StatusServiceUnavailable, 4, "Too many sessions"}
)

func (f protocolError) write(w http.ResponseWriter) {
	body, _ := json.Marshal(f) // a number and a string: can't fail
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(f.status)
	_, _ = w.Write(body)
}
