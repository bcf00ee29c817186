package tunnel_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/theworklabs/edge/internal/tunnel"
)

const (
	final = 0x80

	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
)

// frame returns a frame with a payload, masked if it comes from a client.
func frame(first byte, masked bool, payload []byte) []byte {
	b := []byte{first, 0}
	switch n := len(payload); {
	case n < 126:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if !masked {
		return append(b, payload...)
	}
	b[1] |= 0x80
	key := []byte{0xde, 0xad, 0xbe, 0xef}
	b = append(b, key...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// frameScan describes a stream of frames.
type frameScan struct {
	ends    []int // offsets behind frames
	invalid int   // offset behind the first invalid byte, or -1
	closed  int   // offset behind the close frame, or -1
}

// scanFrames scans a whole stream, in the simplest way.
func scanFrames(p []byte, masked bool) frameScan {
	r := frameScan{invalid: -1, closed: -1}
	for at := 0; ; {
		h := p[at:]
		if len(h) == 0 {
			return r
		}
		opcode := h[0] & 15
		if !slices.Contains([]byte{0, 1, 2, 8, 9, 10}, opcode) || opcode >= 8 && h[0] < final {
			r.invalid = at + 1
			return r
		}
		if len(h) < 2 {
			return r
		}
		size, head := uint64(h[1]&127), 2
		if (h[1] >= 128) != masked || opcode >= 8 && size > 125 {
			r.invalid = at + 2
			return r
		}
		if size >= 126 {
			wide := map[uint64]int{126: 2, 127: 8}[size]
			if wide == 8 && len(h) > 2 && h[2] >= 128 {
				r.invalid = at + 3
				return r
			}
			if len(h) < 2+wide {
				return r
			}
			head += wide
			size = 0
			for _, b := range h[2:head] {
				size = size<<8 + uint64(b)
			}
		}
		if masked {
			head += 4
		}
		if uint64(len(h)) < uint64(head) || uint64(len(h)-head) < size {
			return r
		}
		at += head + int(size)
		r.ends = append(r.ends, at)
		if opcode == opClose {
			r.closed = at
			return r
		}
	}
}

func FuzzFrameTrackerIgnoresHowDataIsSplit(f *testing.F) {
	for _, masked := range []bool{false, true} {
		var all []byte
		for _, size := range []int{0, 1, 125, 126, 300} {
			all = append(all, frame(final|opBinary, masked, make([]byte, size))...)
		}
		hello := slices.Concat(frame(opText, masked, []byte("Hel")), frame(final|opPing, masked, nil), frame(final, masked, []byte("lo")))
		deflated := frame(final|0x40|opText, masked, []byte{0xf2, 0x48})
		f.Add(all, masked, []byte{1, 2, 3, 13})
		f.Add(hello, masked, []byte{1})
		f.Add(slices.Concat(deflated, hello), masked, []byte{})
		f.Add(slices.Concat(hello, frame(final|opClose, masked, []byte{3, 233}), []byte("what follows")), masked, []byte{5})
		f.Add(frame(final|opClose, masked, make([]byte, 126)), masked, []byte{2})
		f.Add(frame(opPing, masked, nil), masked, []byte{2})
		f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), masked, []byte{2})
		f.Add([]byte{0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4, 5}, masked, []byte{1})
		f.Add([]byte{0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0, 2, 'h', 'i', 0x8a, 0}, masked, []byte{8, 0})
		f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 1, 2, 'k', 'e', 'y', 's'}, masked, []byte{0})
		f.Add([]byte{0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0, 1}, masked, []byte{1})
	}
	f.Fuzz(func(t *testing.T, stream []byte, masked bool, cuts []byte) {
		want := scanFrames(stream, masked)
		got := tunnel.NewFrameTracker(masked)
		for from, i := 0, 0; from < len(stream); i++ {
			to := len(stream)
			if len(cuts) > 0 {
				to = min(to, from+int(cuts[i%len(cuts)])%50+1)
			}
			frameEnd := got.Track(stream[from:to])
			compareTracker(t, want, got, from, to, frameEnd)
			from = to
		}
	})
}

// compareTracker compares the tracker's state after it has read the bytes of a stream up to offset to, the last of them
// from offset from.
func compareTracker(t *testing.T, want frameScan, got *tunnel.FrameTracker, from, to, frameEnd int) {
	t.Helper()
	last := 0 // where the last frame so far ends
	for _, offset := range want.ends {
		if offset <= to {
			last = offset
		}
	}
	invalid, closed := want.invalid >= 0 && want.invalid <= to, want.closed >= 0 && want.closed <= to
	if i, c := got.State(); i != invalid || c != closed {
		t.Fatalf("at %d invalid is %v and closed %v, want %v and %v", to, i, c, invalid, closed)
	}
	if atBoundary := !invalid && (last == to || closed); got.IsAtBoundary() != atBoundary {
		t.Fatalf("at %d IsAtBoundary is %v, want %v", to, got.IsAtBoundary(), atBoundary)
	}
	if wantEnd := max(0, last-from); frameEnd != wantEnd {
		t.Fatalf("from %d to %d the last frame ends at %d, want %d", from, to, frameEnd, wantEnd)
	}
}

func TestFrameLengthMayHave63Bits(t *testing.T) {
	head := []byte{final | opBinary, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255}
	f := tunnel.NewFrameTracker(false)
	f.Track(head)
	f.Track(bytes.Repeat([]byte{final | opClose, 0}, 10_000)) // payload that looks like frames
	if invalid, closed := f.State(); invalid || closed || f.IsAtBoundary() {
		t.Errorf("invalid %v, closed %v, at a boundary %v; want it within the frame", invalid, closed, f.IsAtBoundary())
	}
}
