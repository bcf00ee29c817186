// Package engineio understands as much of Engine.IO, the protocol under socket.io, as it takes to send all requests of
// a session to the endpoint that began it.
//
// Only that endpoint knows the session, and the only place where it says so is the body of its answer to the first
// request. The protocol is described at https://socket.io/docs/v4/engine-io-protocol/, for revisions 3 and 4.
package engineio

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MaxBody is how much of an answer's body counts, in bytes, before and after it is decompressed. A handshake has some
// hundred, but messages may follow it.
const MaxBody = 16 << 10

const (
	defaultPingInterval = 25 * time.Second
	defaultPingTimeout  = 20 * time.Second

	minPing = time.Second
	maxPing = time.Hour

	// DefaultLifetime is the life of a session whose handshake was not seen.
	DefaultLifetime = defaultPingInterval + defaultPingTimeout + lifetimeMargin

	// lifetimeMargin is for a request that comes late to the server, which counts from when it sent its answer.
	lifetimeMargin = 15 * time.Second
)

// Handshake is what a server tells a client when a session begins.
type Handshake struct {
	SID          string
	PingInterval time.Duration // 25 s if it is missing, and from 1 s to 1 h
	PingTimeout  time.Duration // 20 s if it is missing, and from 1 s to 1 h
	Upgrades     []string      // the transports that the session can change to
}

// Lifetime returns for how long the session lives on without a request, with a margin.
func (h Handshake) Lifetime() time.Duration {
	return h.PingInterval + h.PingTimeout + lifetimeMargin
}

// ReadHandshake reads the body of the answer with status 200 to a request that is a [Query.IsHandshake]. The body tells
// which form it has: revision 4, revision 3 as text or binary, and both as JSONP. The beginning of a body will do, as long
// as the handshake is in it whole (as JSONP, all of the body).
//
// encoding is the answer's Content-Encoding: "", identity, gzip, deflate or br. Whatever the body is, only
// [MaxBody] of it is looked at.
func ReadHandshake(encoding string, body []byte) (Handshake, error) {
	plain, broken := decode(encoding, body)
	h, err := parseOpenPacket(plain)
	if err != nil && broken != nil {
		err = broken // the reason why too little was there to read
	}
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
	var fields map[string]json.RawMessage // not a struct: its fields would match names in any case
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
		return Handshake{}, fmt.Errorf("sid %.*q is empty, too long or of strange characters", MaxSID, h.SID)
	}
	h.PingInterval = pingDuration(fields["pingInterval"], defaultPingInterval)
	h.PingTimeout = pingDuration(fields["pingTimeout"], defaultPingTimeout)
	if json.Unmarshal(fields["upgrades"], &h.Upgrades) != nil {
		h.Upgrades = nil // like the times, not worth losing a session for
	}
	return h, nil
}

// pingDuration returns a time that is told in milliseconds, or what it is when it is missing.
func pingDuration(field json.RawMessage, missing time.Duration) time.Duration {
	var ms *float64
	if json.Unmarshal(field, &ms) != nil || ms == nil {
		return missing
	}
	least, most := float64(minPing), float64(maxPing)
	return time.Duration(min(max(*ms*float64(time.Millisecond), least), most)) // in this order: a float may not fit
}
