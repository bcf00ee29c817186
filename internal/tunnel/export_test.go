package tunnel

import "time"

// SetFrameTimeout replaces the frame timeout of the group's tunnels. It is called before the first one opens.
func (g *Group) SetFrameTimeout(timeout time.Duration) { g.frameTimeout = timeout }

// FrameTracker exports frameTracker to the tests.
type FrameTracker struct{ frameTracker }

// NewFrameTracker returns a tracker of a client's frames, or of a server's.
func NewFrameTracker(masked bool) *FrameTracker { return &FrameTracker{newFrameTracker(masked)} }

// Track reads p and returns the offset behind the last frame that ends in it, or 0.
func (f *FrameTracker) Track(p []byte) (frameEnd int) { return f.track(p) }

// IsAtBoundary reports whether only whole frames were read.
func (f *FrameTracker) IsAtBoundary() bool { return f.isAtBoundary() }

// State returns whether the bytes are not frames, and whether a close frame has passed.
func (f *FrameTracker) State() (invalid, closed bool) { return f.invalid, f.closed }
