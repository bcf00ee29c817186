package gate

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Acceptor decides when the listeners of a process accept connections: not before it can serve, and not any more when it ends. Meanwhile,
// connections wait in the queue of the kernel. The zero Acceptor does not accept.
type Acceptor struct {
	mu        sync.Mutex
	isOn      bool
	changed   chan struct{} // closed when isOn changes; nil if nobody waits
	listeners map[*pausable]struct{}
}

// Set begins or ends accepting. A connection that is accepted at the same instant is not lost: Accept returns it.
func (a *Acceptor) Set(isOn bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isOn == isOn {
		return
	}
	a.isOn = isOn
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
	for l := range a.listeners {
		l.setDeadline(isOn)
	}
}

// IsOn reports whether connections are accepted.
func (a *Acceptor) IsOn() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.isOn
}

// state returns whether connections are accepted, and a channel that is closed when that changes.
func (a *Acceptor) state() (isOn bool, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.isOn, a.changed
}

// Wrap returns a listener that accepts when the Acceptor says so.
func (a *Acceptor) Wrap(ln *net.TCPListener) net.Listener {
	l := &pausable{TCPListener: ln, acceptor: a, closed: make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listeners == nil {
		a.listeners = make(map[*pausable]struct{})
	}
	a.listeners[l] = struct{}{}
	l.setDeadline(a.isOn)
	return l
}

func (a *Acceptor) remove(l *pausable) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.listeners, l)
}

// pausable is a listener whose Accept waits while the Acceptor is off.
type pausable struct {
	*net.TCPListener
	acceptor *Acceptor
	closed   chan struct{}
	close    sync.Once
}

// setDeadline ends a pending Accept, or allows the next one.
func (l *pausable) setDeadline(isOn bool) {
	deadline := time.Time{}
	if !isOn {
		deadline = time.Unix(1, 0)
	}
	_ = l.SetDeadline(deadline) // it fails if the listener is closed
}

// Accept implements net.Listener.
func (l *pausable) Accept() (net.Conn, error) {
	for {
		isOn, changed := l.acceptor.state()
		if isOn {
			conn, err := l.TCPListener.Accept()
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				return conn, err
			}
			continue
		}
		select {
		case <-changed:
		case <-l.closed:
			return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
		}
	}
}

// Close implements net.Listener.
func (l *pausable) Close() error {
	err := net.ErrClosed
	l.close.Do(func() {
		l.acceptor.remove(l)
		close(l.closed)
		err = l.TCPListener.Close()
	})
	return err
}
