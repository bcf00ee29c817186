//go:build unix

package tunnel

import (
	"io"
	"net"
	"os"
	"syscall"
)

// unbufferedReader waits until the kernel has bytes to read, and only then takes a buffer.
type unbufferedReader struct {
	raw      syscall.RawConn
	readFunc func(fd uintptr) bool
	buf      *buffer
	n        int
	err      error
}

// newUnbufferedReader returns nil for a connection that may hold bytes which its file descriptor does not show.
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
	r := &unbufferedReader{raw: raw}
	r.readFunc = r.tryRead // once, since each method value is an allocation
	return r
}

func (r *unbufferedReader) read() ([]byte, error) {
	if err := r.raw.Read(r.readFunc); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, os.NewSyscallError("read", r.err)
	}
	if r.n == 0 {
		return nil, io.EOF
	}
	return r.buf[:r.n], nil
}

// tryRead reports whether the read has a result. If not, the runtime waits for the file descriptor and calls it again.
func (r *unbufferedReader) tryRead(fd uintptr) bool {
	r.buf = buffers.Get().(*buffer)
	for {
		r.n, r.err = syscall.Read(int(fd), r.buf[:])
		if r.err != syscall.EINTR {
			break
		}
	}
	if r.err == syscall.EAGAIN {
		r.release()
		return false
	}
	return true
}

func (r *unbufferedReader) release() {
	if r.buf != nil {
		buffers.Put(r.buf)
		r.buf = nil
	}
}
