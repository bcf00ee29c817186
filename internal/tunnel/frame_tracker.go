package tunnel

// frameTracker follows the frames of one direction of a WebSocket (RFC 6455 section 5.2), so that it is known where one ends.
// It looks at headers only: extensions that use the reserved bits and change the payload make no difference.
type frameTracker struct {
	masked  bool // whether this side has to mask its frames
	invalid bool // these are no frames, or not any more
	closed  bool // a close frame has passed: nothing that follows counts

	headerSeen         uint8  // bytes of the header
	headerSize         uint8  // its length, as far as that is known
	extendedLengthSize uint8  // how many of them hold a length that does not fit the second byte
	opcode             uint8  // of the frame
	remaining          uint64 // bytes of the payload that are still to come
}

const (
	opClose       = 8
	minHeaderSize = 2 // the bytes that every header has
)

// newFrameTracker returns what follows the frames of a client, which are masked, or of a server.
func newFrameTracker(masked bool) frameTracker {
	return frameTracker{masked: masked, headerSize: minHeaderSize}
}

// isAtBoundary reports whether all that was seen are whole frames: another frame may be put in here.
func (f *frameTracker) isAtBoundary() bool { return !f.invalid && f.headerSeen == 0 }

// track goes on through p and returns the offset behind the last frame that ends in it, or 0.
func (f *frameTracker) track(p []byte) (end int) {
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
			end = i
		}
	}
	return end
}

// readHeaderByte takes the next byte of a header.
func (f *frameTracker) readHeaderByte(b byte) {
	switch {
	case f.headerSeen == 0:
		f.readOpcodeByte(b)
	case f.headerSeen == 1:
		f.readLengthByte(b)
	case f.headerSeen < minHeaderSize+f.extendedLengthSize:
		if f.headerSeen == minHeaderSize && f.extendedLengthSize == 8 && b&0x80 != 0 {
			f.invalid = true // a length has 63 bits
		}
		f.remaining = f.remaining<<8 | uint64(b)
	}
	f.headerSeen++
}

// readOpcodeByte takes the byte with the opcode.
func (f *frameTracker) readOpcodeByte(b byte) {
	const (
		final        = 0x80
		control      = 8
		continuation = 0
		binary       = 2
		pong         = 10
	)
	f.opcode = b & 0xf
	switch {
	case f.opcode >= continuation && f.opcode <= binary:
	case f.opcode >= control && f.opcode <= pong && b&final != 0:
	default:
		f.invalid = true
	}
}

// readLengthByte takes the byte with the mask bit and the length.
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
