package socketio

// A client that is this far behind has stopped reading, and its session ends.
const (
	maxQueuedPackets  = 256
	maxQueuedPayloads = 8 // of the largest size, in bytes
)

// push queues a packet for whichever transport carries the session.
func (s *session) push(p packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushLocked(p)
}

// pushLocked is put for those who hold the lock.
func (s *session) pushLocked(p packet) {
	s.queueBytes += int64(len(p.data))
	if len(s.queue) >= maxQueuedPackets || s.queueBytes > maxQueuedPayloads*s.server.options.MaxPayload {
		s.end()
		return
	}
	s.queue = append(s.queue, p)
	s.notifyLocked()
}

// notifyLocked lets those look again who wait for a change. The lock is held.
func (s *session) notifyLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// takeQueue empties the queue, and returns what to wait for if it was empty. It gives nothing to a transport that no longer
// carries the session, so that a late poll can't swallow what belongs to the WebSocket.
func (s *session) takeQueue(t transport) (packets []packet, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport == t {
		packets, s.queue, s.queueBytes = s.queue, nil, 0
	}
	return packets, s.changed
}
