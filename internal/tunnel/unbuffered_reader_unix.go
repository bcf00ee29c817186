//go:build unix

package tunnel

import (
	"io"
	"net"
	"os"
	"syscall"
)

// unbufferedReader waits until the kernel has bytes, and only then borrows a buffer.
type unbufferedReader struct {
	raw      syscall.RawConn
	readFunc func(fd uintptr) bool
	buf      *buffer
	n        int
	err      error
}

// newUnbufferedReader returns nil for a connection that may hold bytes which its descriptor doesn't show.
func newUnbufferedReader(conn net.Conn) reader {
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
	s := &unbufferedReader{raw: raw}
	s.readFunc = s.tryRead // made once: each method value is an allocation
	return s
}

func (s *unbufferedReader) read() ([]byte, error) {
	if err := s.raw.Read(s.readFunc); err != nil {
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

// tryRead reports whether there is a result; if not, the runtime waits for the descriptor and calls it again.
func (s *unbufferedReader) tryRead(fd uintptr) bool {
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

func (s *unbufferedReader) release() {
	if s.buf != nil {
		buffers.Put(s.buf)
		s.buf = nil
	}
}
