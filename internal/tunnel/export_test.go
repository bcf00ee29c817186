package tunnel

// FrameTracker gives the tests the tracker of frames.
type FrameTracker struct{ frameTracker }

// NewFrameTracker returns a tracker of a client's frames, or of a server's.
func NewFrameTracker(masked bool) *FrameTracker { return &FrameTracker{newFrameTracker(masked)} }

// Track goes on through p.
func (f *FrameTracker) Track(p []byte) (end int) { return f.track(p) }

// IsAtBoundary reports whether it saw whole frames only.
func (f *FrameTracker) IsAtBoundary() bool { return f.isAtBoundary() }

// State returns what else is known.
func (f *FrameTracker) State() (lost, closed bool) { return f.invalid, f.closed }
