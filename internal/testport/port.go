// Package testport finds ports for the servers of tests.
//
// The obvious way, to listen on port 0 and to close the socket, has a race: until the server listens, the system may give the port to an
// outgoing connection or to another program. A port of this package belongs to the test's process until that ends.
package testport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
	"testing"
)

// Ports are taken from below those that Linux uses for outgoing connections, 32768 and above, and those that Kubernetes publishes, 30000 and
// above.
const minPort, maxPort = 10_000, 29_999

// attempts is how many ports are tried, before a machine has none left.
const attempts = 1000

// Reserve returns a port that is free for TCP and for UDP on all addresses. It returns no port twice on this machine while the process runs.
//
// A TCP socket that is bound to the port, and does not listen, keeps it. A server can listen beside it, provided that it sets SO_REUSEADDR, as
// servers do; connections are refused until then.
func Reserve() (string, error) {
	var failed error
	for range attempts {
		port := minPort + rand.N(maxPort-minPort+1)
		if failed = reserve(port); failed == nil {
			return strconv.Itoa(port), nil
		}
	}
	return "", failed
}

func reserve(port int) error {
	packets, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
	if err != nil {
		return err
	}
	defer packets.Close()
	// The descriptor is never closed: the port is kept until the process ends.
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return err
	}
	// Bound without SO_REUSEADDR, so that another process which has reserved the port is noticed.
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port})
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err != nil {
		return errors.Join(err, syscall.Close(fd))
	}
	return nil
}

// Port returns a port as Reserve does.
func Port(t testing.TB) string {
	t.Helper()
	port, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Address returns an address of loopback with a port of its own.
func Address(t testing.TB) string {
	t.Helper()
	return "127.0.0.1:" + Port(t)
}
