package tunnel

// frames follows the frames of one direction of a WebSocket (RFC 6455 section 5.2), so that it is known where one ends.
// It looks at headers only: extensions that use the reserved bits and change the payload make no difference.
type frames struct {
	masked bool // whether this side has to mask its frames
	lost   bool // these are no frames, or not any more
	closed bool // a close frame has passed: nothing that follows counts

	seen   uint8  // bytes of the header
	header uint8  // its length, as far as that is known
	wide   uint8  // how many of them hold a length that does not fit the second byte
	opcode uint8  // of the frame
	left   uint64 // bytes of the payload that are still to come
}

const (
	opClose   = 8
	shortHead = 2 // the bytes that every header has
)

// newFrames returns what follows the frames of a client, which are masked, or of a server.
func newFrames(masked bool) frames { return frames{masked: masked, header: shortHead} }

// atEnd reports whether all that was seen are whole frames: another frame may be put in here.
func (f *frames) atEnd() bool { return !f.lost && f.seen == 0 }

// follow goes on through p and returns the offset behind the last frame that ends in it, or 0.
func (f *frames) follow(p []byte) (end int) {
	for i := 0; i < len(p) && !f.lost && !f.closed; {
		if f.seen < f.header {
			f.head(p[i])
			i++
		} else {
			n := min(f.left, uint64(len(p)-i))
			f.left -= n
			i += int(n)
		}
		if f.seen == f.header && f.left == 0 && !f.lost {
			f.closed = f.opcode == opClose
			f.seen, f.header, f.wide = 0, shortHead, 0
			end = i
		}
	}
	return end
}

// head takes the next byte of a header.
func (f *frames) head(b byte) {
	switch {
	case f.seen == 0:
		f.first(b)
	case f.seen == 1:
		f.second(b)
	case f.seen < shortHead+f.wide:
		if f.seen == shortHead && f.wide == 8 && b&0x80 != 0 {
			f.lost = true // a length has 63 bits
		}
		f.left = f.left<<8 | uint64(b)
	}
	f.seen++
}

// first takes the byte with the opcode.
func (f *frames) first(b byte) {
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
		f.lost = true
	}
}

// second takes the byte with the mask bit and the length.
func (f *frames) second(b byte) {
	const (
		mask    = 0x80
		keySize = 4
		bits16  = 126
		bits64  = 127
	)
	size := b &^ mask
	switch size {
	case bits16:
		f.wide = 2
	case bits64:
		f.wide = 8
	}
	f.left = uint64(size)
	if f.wide > 0 {
		f.left = 0
	}
	f.header = shortHead + f.wide
	if f.masked {
		f.header += keySize
	}
	control := f.opcode >= opClose
	if control && f.wide > 0 || f.masked != (b&mask != 0) {
		f.lost = true
	}
}
