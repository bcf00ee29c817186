package lab

import (
	"net"
	"sync"
)

// ArrivalLog counts the requests that arrive at backends. A backend reports each request by UDP before it processes it. It is safe for
// concurrent use.
type ArrivalLog struct {
	conn net.PacketConn
	done chan struct{}

	mu      sync.Mutex
	entries map[string]int
}

// OpenArrivalLog listens on a free port of a host address.
func OpenArrivalLog(host string) (*ArrivalLog, error) {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	l := &ArrivalLog{conn: conn, done: make(chan struct{}), entries: make(map[string]int)}
	go l.read()
	return l, nil
}

func (l *ArrivalLog) read() {
	defer close(l.done)
	line := make([]byte, 512)
	for {
		n, _, err := l.conn.ReadFrom(line)
		if err != nil {
			return // closed
		}
		l.mu.Lock()
		l.entries[string(line[:n])]++
		l.mu.Unlock()
	}
}

// Address returns the address to which backends report.
func (l *ArrivalLog) Address() string { return l.conn.LocalAddr().String() }

// Times returns how often a request has arrived at a backend.
func (l *ArrivalLog) Times(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[id]
}

// Close closes the log and waits until it has ended.
func (l *ArrivalLog) Close() error {
	err := l.conn.Close()
	<-l.done
	return err
}
