package tunnel

import (
	"net"
	"time"
)

// largeBufferTimeout is how long a large buffer is kept for more of what flows.
const largeBufferTimeout = time.Millisecond

// bufferedReader waits in Read, with a small buffer of its own: what the connection has read ahead, its descriptor doesn't show.
// As long as more flows than the small buffer holds, it reads into a large one.
type bufferedReader struct {
	conn     net.Conn
	deadline *deadline
	large    *buffer
	small    [512]byte
}

func (s *bufferedReader) read() ([]byte, error) {
	begun := 0
	if s.large == nil {
		n, err := s.conn.Read(s.small[:])
		if n < len(s.small) || err != nil {
			return s.small[:n], err
		}
		s.large = buffers.Get().(*buffer)
		begun = copy(s.large[:], s.small[:])
	}
	s.deadline.limitNextRead(largeBufferTimeout) // or a message that just fills the small buffer would keep the large one for ever
	n, err := s.conn.Read(s.large[begun:])
	p := s.large[:begun+n]
	if err != nil && len(p) <= len(s.small) {
		p = s.small[:copy(s.small[:], p)]
		buffers.Put(s.large)
		s.large = nil
	}
	return p, err
}

// release keeps the large buffer. The next read gives it back if nothing follows.
func (*bufferedReader) release() {}
