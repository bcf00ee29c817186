package socketio

import (
	"errors"
	"strings"
)

// packet is one Engine.IO packet: a digit for its kind, then text.
// https://socket.io/docs/v4/engine-io-protocol/
type packet struct {
	kind byte
	data string
}

const (
	kindOpen    = '0'
	kindClose   = '1'
	kindPing    = '2'
	kindPong    = '3'
	kindMessage = '4'
	kindUpgrade = '5'
	kindNoop    = '6'
)

// separator separates the packets of an HTTP body.
const separator = "\x1e"

var (
	errEmpty            = errors.New("empty packet")
	errBinary           = errors.New("binary packets are not supported")
	errUnknownType      = errors.New("unknown packet type")
	errUnexpectedPacket = errors.New("unexpected packet")
)

// parsePacket parses one packet, the text of a WebSocket message or of a part of an HTTP body.
func parsePacket(text string) (packet, error) {
	switch {
	case text == "":
		return packet{}, errEmpty
	case text[0] == 'b': // base64, which polling uses for binary data
		return packet{}, errBinary
	case text[0] < kindOpen || text[0] > kindNoop:
		return packet{}, errUnknownType
	}
	return packet{text[0], text[1:]}, nil
}

// String returns the packet as it is sent: its type, and then its data.
func (p packet) String() string { return string(p.kind) + p.data }

// parsePayload parses a posted body. It returns an error if one of the packets is invalid.
func parsePayload(body string) ([]packet, error) {
	var packets []packet
	for text := range strings.SplitSeq(body, separator) {
		p, err := parsePacket(text)
		if err != nil {
			return nil, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

// formatPayload returns the body of the response to a poll.
func formatPayload(packets []packet) string {
	var b strings.Builder
	for i, p := range packets {
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteByte(p.kind)
		b.WriteString(p.data)
	}
	return b.String()
}
