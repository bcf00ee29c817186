package tunnel

// Frames gives the tests the tracker of frames.
type Frames struct{ frames }

// NewFrames returns a tracker of a client's frames, or of a server's.
func NewFrames(masked bool) *Frames { return &Frames{newFrames(masked)} }

// Follow goes on through p.
func (f *Frames) Follow(p []byte) (end int) { return f.follow(p) }

// AtEnd reports whether it saw whole frames only.
func (f *Frames) AtEnd() bool { return f.atEnd() }

// State returns what else is known.
func (f *Frames) State() (lost, closed bool) { return f.lost, f.closed }
