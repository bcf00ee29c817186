//go:build unix

package tunnel

import (
	"io"
	"net"
	"os"
	"syscall"
)

// descriptor waits until the kernel has bytes, and only then borrows a buffer.
type descriptor struct {
	raw syscall.RawConn
	try func(fd uintptr) bool
	buf *buffer
	n   int
	err error
}

// newDescriptor returns nil for a connection that may hold bytes which its descriptor doesn't show.
func newDescriptor(conn net.Conn) source {
	var raw syscall.RawConn
	var err error
	switch conn := conn.(type) {
	case *net.TCPConn:
		raw, err = conn.SyscallConn()
	case *net.UnixConn:
		raw, err = conn.SyscallConn()
	}
	if raw == nil || err != nil {
		return nil
	}
	s := &descriptor{raw: raw}
	s.try = s.attempt // made once: each method value is an allocation
	return s
}

func (s *descriptor) read() ([]byte, error) {
	if err := s.raw.Read(s.try); err != nil {
		return nil, err
	}
	if s.err != nil {
		return nil, os.NewSyscallError("read", s.err)
	}
	if s.n == 0 {
		return nil, io.EOF
	}
	return s.buf[:s.n], nil
}

// attempt reports whether there is a result; if not, the runtime waits for the descriptor and calls it again.
func (s *descriptor) attempt(fd uintptr) bool {
	s.buf = buffers.Get().(*buffer)
	for {
		s.n, s.err = syscall.Read(int(fd), s.buf[:])
		if s.err != syscall.EINTR {
			break
		}
	}
	if s.err == syscall.EAGAIN {
		s.release()
		return false
	}
	return true
}

func (s *descriptor) release() {
	if s.buf != nil {
		buffers.Put(s.buf)
		s.buf = nil
	}
}
