// Package engineio reads as much of Engine.IO, the protocol below socket.io, as the edge needs to send all requests of a
// session to the endpoint that began it.
//
// Only that endpoint knows the session, and it names the session only in the body of its response to the first request. The
// protocol is described at https://socket.io/docs/v4/engine-io-protocol/, for revisions 3 and 4.
package engineio

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MaxBody is how many bytes of a response's body are read. A handshake has some hundred, but messages may follow it.
const MaxBody = 16 << 10

const (
	defaultPingInterval = 25 * time.Second
	defaultPingTimeout  = 20 * time.Second

	minPing = time.Second
	maxPing = time.Hour

	// DefaultLifetime is the lifetime of a session whose handshake the edge has not seen.
	DefaultLifetime = defaultPingInterval + defaultPingTimeout + lifetimeMargin

	// lifetimeMargin is for a request that reaches the server late. The server counts from when it sent its response.
	lifetimeMargin = 15 * time.Second
)

// Handshake is what a server sends to a client when a session begins.
type Handshake struct {
	SID          string
	PingInterval time.Duration // from 1 s to 1 h; 25 s if the server sends none
	PingTimeout  time.Duration // from 1 s to 1 h; 20 s if the server sends none
	Upgrades     []string      // the transports that the session can be upgraded to
}

// Lifetime returns how long the session lasts without a request, with a margin.
func (h Handshake) Lifetime() time.Duration {
	return h.PingInterval + h.PingTimeout + lifetimeMargin
}

// ReadHandshake reads the body of the response with status 200 to a request for which [Query.IsHandshake] is true. It detects
// the form of the body: revision 4, revision 3 as text or binary, and both as JSONP. The beginning of the body is enough if
// it has the complete handshake (as JSONP, the complete body). ReadHandshake reads only the first [MaxBody] bytes, and
// decompresses nothing.
func ReadHandshake(body []byte) (Handshake, error) {
	h, err := parseOpenPacket(body[:min(len(body), MaxBody)])
	if err != nil {
		return Handshake{}, fmt.Errorf("read engine.io handshake: %w", err)
	}
	return h, nil
}

// parseOpenPacket reads a payload that begins with an open packet.
func parseOpenPacket(payload []byte) (Handshake, error) {
	data, err := openPacket(payload)
	if err != nil {
		return Handshake{}, err
	}
	var fields map[string]json.RawMessage // not a struct, whose fields match names in any case
	if err := json.Unmarshal(data, &fields); err != nil {
		return Handshake{}, fmt.Errorf("open packet: %w", err)
	}
	var h Handshake
	if fields["sid"] == nil {
		return Handshake{}, errors.New("open packet has no sid")
	}
	if err := json.Unmarshal(fields["sid"], &h.SID); err != nil {
		return Handshake{}, fmt.Errorf("sid: %w", err)
	}
	if !validSID(h.SID) {
		return Handshake{}, fmt.Errorf("sid %.*q is empty, too long or has invalid characters", MaxSID, h.SID)
	}
	h.PingInterval = pingDuration(fields["pingInterval"], defaultPingInterval)
	h.PingTimeout = pingDuration(fields["pingTimeout"], defaultPingTimeout)
	if json.Unmarshal(fields["upgrades"], &h.Upgrades) != nil {
		h.Upgrades = nil // like invalid ping times, not a reason to reject the session
	}
	return h, nil
}

// pingDuration reads a time in milliseconds, from 1 s to 1 h. It returns byDefault if there is none.
func pingDuration(field json.RawMessage, byDefault time.Duration) time.Duration {
	var ms *float64
	if json.Unmarshal(field, &ms) != nil || ms == nil {
		return byDefault
	}
	ping := min(max(*ms*float64(time.Millisecond), float64(minPing)), float64(maxPing))
	return time.Duration(ping) // only now: an unbounded float may overflow
}
