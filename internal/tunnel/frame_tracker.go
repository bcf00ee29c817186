package tunnel

import (
	"encoding/binary"
	"math/rand/v2"
)

// frameTracker tracks the frames of one direction of a WebSocket (RFC 6455 section 5.2) to find where they end. It reads
// headers only, so extensions that use the reserved bits and change the payload make no difference.
type frameTracker struct {
	masked  bool // this side has to mask its frames
	invalid bool // the bytes are not frames, or not any more
	closed  bool // a close frame has passed; the tracker ignores what follows

	headerSeen         uint8  // bytes of the header that were read
	headerSize         uint8  // length of the header in bytes, as far as it is known
	extendedLengthSize uint8  // bytes of the header with a length that does not fit into the second byte
	opcode             uint8  // of the frame
	remaining          uint64 // bytes of the payload that have not been read
}

const (
	opClose       = 8
	minHeaderSize = 2 // bytes that every header has
)

// newFrameTracker returns a tracker for the frames of a client, which are masked, or of a server.
func newFrameTracker(masked bool) frameTracker {
	return frameTracker{masked: masked, headerSize: minHeaderSize}
}

// isAtBoundary reports whether only whole frames were read, so that another frame may be inserted.
func (f *frameTracker) isAtBoundary() bool { return !f.invalid && f.headerSeen == 0 }

// track reads p, the next bytes of the stream, and returns the offset behind the last frame that ends in p, or 0.
func (f *frameTracker) track(p []byte) (frameEnd int) {
	for i := 0; i < len(p) && !f.invalid && !f.closed; {
		if f.headerSeen < f.headerSize {
			f.readHeaderByte(p[i])
			i++
		} else {
			n := min(f.remaining, uint64(len(p)-i))
			f.remaining -= n
			i += int(n)
		}
		if f.headerSeen == f.headerSize && f.remaining == 0 && !f.invalid {
			f.closed = f.opcode == opClose
			f.headerSeen, f.headerSize, f.extendedLengthSize = 0, minHeaderSize, 0
			frameEnd = i
		}
	}
	return frameEnd
}

// readHeaderByte reads the next byte of a header.
func (f *frameTracker) readHeaderByte(b byte) {
	switch {
	case f.headerSeen == 0:
		f.readOpcodeByte(b)
	case f.headerSeen == 1:
		f.readLengthByte(b)
	case f.headerSeen < minHeaderSize+f.extendedLengthSize:
		if f.headerSeen == minHeaderSize && f.extendedLengthSize == 8 && b&0x80 != 0 {
			f.invalid = true // a length has at most 63 bits
		}
		f.remaining = f.remaining<<8 | uint64(b)
	}
	f.headerSeen++
}

// readOpcodeByte reads the byte with the opcode.
func (f *frameTracker) readOpcodeByte(b byte) {
	const (
		final        = 0x80
		control      = 8
		continuation = 0
		binaryData   = 2
		pong         = 10
	)
	f.opcode = b & 0xf
	switch {
	case f.opcode >= continuation && f.opcode <= binaryData:
	case f.opcode >= control && f.opcode <= pong && b&final != 0:
	default:
		f.invalid = true
	}
}

// readLengthByte reads the byte with the mask bit and the length.
func (f *frameTracker) readLengthByte(b byte) {
	const (
		mask    = 0x80
		keySize = 4
		bits16  = 126
		bits64  = 127
	)
	size := b &^ mask
	switch size {
	case bits16:
		f.extendedLengthSize = 2
	case bits64:
		f.extendedLengthSize = 8
	}
	f.remaining = uint64(size)
	if f.extendedLengthSize > 0 {
		f.remaining = 0
	}
	f.headerSize = minHeaderSize + f.extendedLengthSize
	if f.masked {
		f.headerSize += keySize
	}
	control := f.opcode >= opClose
	if control && f.extendedLengthSize > 0 || f.masked != (b&mask != 0) {
		f.invalid = true
	}
}

// goingAwayFrame returns a close frame with code 1001 (RFC 6455 section 7.4.1): unmasked for a client, masked for a server.
func goingAwayFrame(masked bool) []byte {
	const code = 1001
	if !masked {
		return binary.BigEndian.AppendUint16([]byte{0x88, 2}, code)
	}
	key := rand.Uint32()
	frame := binary.BigEndian.AppendUint32([]byte{0x88, 0x80 | 2}, key)
	return binary.BigEndian.AppendUint16(frame, code^uint16(key>>16))
}
