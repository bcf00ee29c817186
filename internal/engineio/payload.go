package engineio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// The prefixes and separators of the payload forms.
var (
	jsonpPrefix     = []byte("___eio[")
	packetSeparator = []byte{0x1e}
	binaryLengthEnd = byte(0xff)
)

var errTruncated = errors.New("the first packet is longer than the payload")

// openPacket returns the data of the payload's first packet, which must have the type open.
func openPacket(payload []byte) ([]byte, error) {
	if bytes.HasPrefix(payload, jsonpPrefix) {
		var err error
		if payload, err = unwrapJSONP(payload); err != nil {
			return nil, err
		}
	}
	packet, err := firstPacket(payload)
	switch {
	case err != nil:
		return nil, err
	case len(packet) == 0 || packet[0] != '0' && packet[0] != 0: // a digit in text packets, a number in binary packets
		return nil, fmt.Errorf("the first packet is not an open packet: %.40q", packet)
	}
	return packet[1:], nil
}

func firstPacket(payload []byte) ([]byte, error) {
	switch {
	case len(payload) == 0:
		return nil, errors.New("the body is empty")
	case payload[0] <= 1:
		return firstBinaryPacket(payload)
	case bytes.HasPrefix(payload, []byte("0{")): // a length of revision 3 never continues with a brace
		packet, _, _ := bytes.Cut(payload, packetSeparator)
		return packet, nil
	}
	return firstTextPacket(payload)
}

// unwrapJSONP returns the payload of a JSONP response: ___eio[7]("…"); whose argument is a valid JSON string.
func unwrapJSONP(script []byte) ([]byte, error) {
	_, argument, ok := bytes.Cut(script, []byte("]("))
	if !ok {
		return nil, fmt.Errorf("JSONP without an argument: %.40q", script)
	}
	var payload string
	if err := json.NewDecoder(bytes.NewReader(argument)).Decode(&payload); err != nil {
		return nil, fmt.Errorf("JSONP argument: %w", err)
	}
	return []byte(payload), nil
}

// firstTextPacket returns the first packet of a text payload of revision 3: 96:0{…}2:40. The length is that of a JavaScript
// string, in UTF-16 code units.
func firstTextPacket(payload []byte) ([]byte, error) {
	length, rest, ok := bytes.Cut(payload, []byte(":"))
	units, err := strconv.ParseUint(string(length[:min(len(length), 10)]), 10, 31)
	if !ok || err != nil {
		return nil, fmt.Errorf("not an engine.io payload: %.40q", payload)
	}
	end := 0
	for units > 0 {
		if end == len(rest) {
			return nil, errTruncated
		}
		r, size := utf8.DecodeRune(rest[end:])
		end += size
		units--
		if r > 0xffff && units > 0 {
			units--
		}
	}
	return rest[:end], nil
}

// firstBinaryPacket returns the first packet of a binary payload of revision 3: 0 for text or 1 for binary, the digits of the
// length as numbers, 255, the packet. The length is in bytes for both types.
func firstBinaryPacket(payload []byte) ([]byte, error) {
	length := 0
	for i, b := range payload[1:] {
		if b == binaryLengthEnd {
			rest := payload[1+i+1:]
			if length > len(rest) {
				return nil, errTruncated
			}
			return rest[:length], nil
		}
		if b > 9 || length > MaxBody {
			return nil, fmt.Errorf("not the length of a binary packet: %.20q", payload)
		}
		length = 10*length + int(b)
	}
	return nil, errTruncated
}
