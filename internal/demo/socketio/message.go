package socketio

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// message is a Socket.IO packet, the text of an Engine.IO message: a digit for its kind, then "namespace,", the number of the
// acknowledgement and JSON, each if it has one.
// https://socket.io/docs/v4/socket-io-protocol/
type message struct {
	kind      byte
	namespace string // "/" for the default, which is not written
	ack       string // digits; empty if no acknowledgement is asked for
	data      json.RawMessage
}

const (
	messageConnect    = '0'
	messageDisconnect = '1'
	messageEvent      = '2'
	messageAck        = '3'
	messageError      = '4'
	messageBinary     = '5' // and 6: an event or acknowledgement with attachments
)

// maxAckDigits is the number of digits of the largest integer that a client in JavaScript can count to.
const maxAckDigits = 16

func parseMessage(text string) (message, error) {
	if text == "" {
		return message{}, errEmpty
	}
	if text[0] >= messageBinary && text[0] <= '6' {
		return message{}, errBinary
	}
	if text[0] < messageConnect || text[0] > '6' {
		return message{}, errUnknownType
	}
	m := message{kind: text[0], namespace: "/"}
	rest := text[1:]
	if strings.HasPrefix(rest, "/") {
		m.namespace, rest, _ = strings.Cut(rest, ",")
	}
	data := strings.TrimLeft(rest, "0123456789")
	m.ack = rest[:len(rest)-len(data)]
	if len(m.ack) > maxAckDigits {
		return message{}, errors.New("acknowledgement number too long")
	}
	if data != "" {
		if !json.Valid([]byte(data)) {
			return message{}, errors.New("message is not JSON")
		}
		m.data = json.RawMessage(data)
	}
	return m, nil
}

// event parses the array of an event: its name, then its arguments.
func (m message) event() (name string, arguments []json.RawMessage, err error) {
	if err := json.Unmarshal(m.data, &arguments); err != nil {
		return "", nil, fmt.Errorf("event is not an array: %w", err)
	}
	if len(arguments) == 0 {
		return "", nil, errors.New("event without a name")
	}
	if err := json.Unmarshal(arguments[0], &name); err != nil {
		return "", nil, fmt.Errorf("name of an event: %w", err)
	}
	return name, arguments[1:], nil
}

// packet returns the Engine.IO packet of the message.
func (m message) packet() packet {
	text := string(m.kind)
	if m.namespace != "/" {
		text += m.namespace + ","
	}
	return packet{kindMessage, text + m.ack + string(m.data)}
}

// newMessage returns a message in the default namespace, or an error if data has no JSON form.
func newMessage(kind byte, ack string, data any) (message, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return message{}, fmt.Errorf("encode socket.io message: %w", err)
	}
	return message{kind: kind, namespace: "/", ack: ack, data: text}, nil
}

func newEvent(name string, argument any) (message, error) {
	return newMessage(messageEvent, "", []any{name, argument})
}
