//go:build linux

package gate

import (
	"encoding/json"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sendTimeout is how long an asker may not read; its queue has room for many messages.
const sendTimeout = time.Second

// send sends a message with descriptors.
func (s *Server) send(conn *net.UnixConn, m message, descriptors []syscall.Conn) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_ = conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	return withDescriptors(descriptors, nil, func(fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		_, _, err := conn.WriteMsgUnix(text, rights, nil)
		return err
	})
}

// withDescriptors calls f with the descriptors of connections, none of which is closed meanwhile.
func withDescriptors(conns []syscall.Conn, fds []int, f func(fds []int) error) error {
	if len(conns) == 0 {
		return f(fds)
	}
	raw, err := conns[0].SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = withDescriptors(conns[1:], append(fds, int(fd)), f) })
	return errors.Join(err, failed)
}
