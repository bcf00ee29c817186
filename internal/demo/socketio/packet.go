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

// separator stands between the packets of one HTTP body.
const separator = "\x1e"

var (
	errEmpty            = errors.New("empty packet")
	errBinary           = errors.New("binary packets are not supported")
	errUnknownType      = errors.New("unknown packet type")
	errUnexpectedPacket = errors.New("packet out of turn")
)

// parsePacket reads one packet as it comes in a WebSocket text message or between separators.
func parsePacket(text string) (packet, error) {
	switch {
	case text == "":
		return packet{}, errEmpty
	case text[0] == 'b': // base64, the form that bytes have in polling
		return packet{}, errBinary
	case text[0] < kindOpen || text[0] > kindNoop:
		return packet{}, errUnknownType
	}
	return packet{text[0], text[1:]}, nil
}

func (p packet) String() string { return string(p.kind) + p.data }

// parsePayload reads a posted body. It fails as a whole if one of its packets is bad.
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

// formatPayload is the body of the answer to a poll.
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
