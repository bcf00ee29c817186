package lab

import (
	"net"
	"sync"
)

// Ledger is what the backends write each request into before they carry it out, by UDP: it shows which requests
// arrived, and which arrived twice. It is safe for concurrent use.
type Ledger struct {
	conn net.PacketConn
	done chan struct{}

	mu      sync.Mutex
	entries map[string]int
}

// OpenLedger listens on a free port of a host address.
func OpenLedger(host string) (*Ledger, error) {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	l := &Ledger{conn: conn, done: make(chan struct{}), entries: make(map[string]int)}
	go l.read()
	return l, nil
}

func (l *Ledger) read() {
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

// Address is where backends send to.
func (l *Ledger) Address() string { return l.conn.LocalAddr().String() }

// Times returns how often a request arrived at a backend.
func (l *Ledger) Times(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[id]
}

// Close ends the ledger.
func (l *Ledger) Close() error {
	err := l.conn.Close()
	<-l.done
	return err
}
