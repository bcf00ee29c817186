package socketio

// A client that is this far behind has stopped reading, and its session ends.
const (
	queuedPackets  = 256
	queuedPayloads = 8 // of the largest size, in bytes
)

// put queues a packet for whichever transport carries the session.
func (s *session) put(p packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enqueue(p)
}

// enqueue is put for those who hold the lock.
func (s *session) enqueue(p packet) {
	s.queueSize += int64(len(p.data))
	if len(s.queue) >= queuedPackets || s.queueSize > queuedPayloads*s.server.options.MaxPayload {
		s.end()
		return
	}
	s.queue = append(s.queue, p)
	s.wake()
}

// wake lets those look again who wait for a change. The lock is held.
func (s *session) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// take empties the queue, and returns what to wait for if it was empty. It gives nothing to a transport that no longer
// carries the session, so that a late poll can't swallow what belongs to the WebSocket.
func (s *session) take(t transport) (packets []packet, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over == t {
		packets, s.queue, s.queueSize = s.queue, nil, 0
	}
	return packets, s.changed
}
