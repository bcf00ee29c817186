//go:build !unix

package tunnel

import "net"

// newUnbufferedReader returns nil: on this system, waiting for a file descriptor takes a buffer, so every connection has a
// [bufferedReader].
func newUnbufferedReader(net.Conn) reader { return nil }
