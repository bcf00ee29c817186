package harness

import (
	"errors"
	"net"
	"sync"
	"testing"
)

var (
	portsMu sync.Mutex
	ports   = make(map[string]bool) // that ReservePort has returned
)

// ReservePort returns a port of 127.0.0.1 that is free for TCP and for UDP. It returns no port twice, because tests that run at
// the same time must not share one, and because two edges can listen on one port (SO_REUSEPORT).
func ReservePort() (string, error) {
	portsMu.Lock()
	defer portsMu.Unlock()
	for {
		port, isFree, err := probePort()
		if err != nil {
			return "", err
		}
		if isFree && !ports[port] {
			ports[port] = true
			return port, nil
		}
	}
}

// probePort returns a free TCP port, and whether it is free for UDP as well.
func probePort() (port string, isFree bool, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", false, err
	}
	_, port, err = net.SplitHostPort(ln.Addr().String())
	packets, udpErr := net.ListenPacket("udp", ln.Addr().String())
	if udpErr == nil {
		err = errors.Join(err, packets.Close())
	}
	return port, udpErr == nil, errors.Join(err, ln.Close())
}

// FreePort returns a port as ReservePort does.
func FreePort(t testing.TB) string {
	t.Helper()
	port, err := ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
