package listeners

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/gate"
	"github.com/theworklabs/edge/internal/gateways"
)

// GateVariable is the environment variable with the path of the gate's socket.
const GateVariable = "EDGE_GATE"

// handedSockets are the sockets that a gate, or systemd, has opened for this process.
type handedSockets struct {
	opening sync.Mutex // held while the process asks for them
	isOpen  bool       // it has asked, and got an answer; guarded by opening

	acceptor gate.Acceptor
	// own is for the sockets of this process's own container, beside those of the gate. They are accepted from as long as the process runs.
	own gate.Acceptor

	// remembersClients says that the clients of HTTP/3 are remembered for a successor.
	remembersClients atomic.Bool

	mu       sync.Mutex   // guards the following
	sockets  gate.Sockets // nil: the process opens its own
	lease    *gate.Lease  // nil: there is no gate
	isReady  bool         // the first configuration has started
	hasTaken bool         // it serves, or has served
	isLast   bool         // it leaves
	isEnding bool         // it accepts nothing more, whatever others do
}

// handed are those of this process.
var handed handedSockets

// get returns the sockets, and asks for them if it has none yet.
func (h *handedSockets) get(ctx context.Context, log *zap.Logger) (gate.Sockets, error) {
	h.opening.Lock()
	defer h.opening.Unlock()
	if !h.isOpen {
		if err := h.open(ctx, log); err != nil {
			return nil, err
		}
		h.isOpen = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sockets, nil
}

// gateTimeout is how long a process waits at its start for a gate that starts at the same time.
const (
	gateTimeout = 10 * time.Second
	gatePoll    = 100 * time.Millisecond
)

func (h *handedSockets) open(ctx context.Context, log *zap.Logger) error {
	path := os.Getenv(GateVariable)
	if path == "" {
		activated, err := gate.TakeActivated()
		if err == nil && activated != nil {
			h.set(activated, nil)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, gateTimeout)
	defer cancel()
	for {
		lease, err := gate.Ask(ctx, path)
		if err == nil {
			h.set(lease, lease)
			h.remembersClients.Store(true)
			go h.follow(lease, log)
			return nil
		}
		select {
		case <-time.After(gatePoll):
		case <-ctx.Done():
			return fmt.Errorf("%w; %s names its socket: start the gate, or leave %s empty", err, GateVariable, GateVariable)
		}
	}
}

func (h *handedSockets) set(sockets gate.Sockets, lease *gate.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sockets, h.lease = sockets, lease
}

// follow begins to serve when the predecessor has ended. When the gate has ended, nobody reaches its sockets any more, or no successor gets
// them: follow ends this process, for whose next start the next gate has sockets.
func (h *handedSockets) follow(lease *gate.Lease, log *zap.Logger) {
	for {
		select {
		case <-lease.Changed():
			h.update(log)
		case <-lease.Ended():
			log.Error("the gate has ended; this process ends too, as soon as the gate is back, to be started again with new sockets")
			waitForGate()
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
			return
		}
	}
}

// waitForGate waits until a gate answers. It does not wait for ever: on the same host, a gate can't open its sockets while this process has
// them.
func waitForGate() {
	ctx, cancel := context.WithTimeout(context.Background(), gateTimeout)
	defer cancel()
	for gate.Health(ctx, os.Getenv(GateVariable)) != nil && ctx.Err() == nil {
		time.Sleep(gatePoll)
	}
}

// update does what the gate has decided: it begins to accept connections, or lets a successor have them.
func (h *handedSockets) update(log *zap.Logger) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.isLast && h.lease != nil:
		switch {
		case h.lease.Others(gate.Serving):
			h.acceptOnlyKnown()
		case h.hasTaken && !h.isEnding && !h.acceptor.IsOn(): // the successor has ended
			h.serve(log)
		}
	case h.isLast:
	case !h.isReady || h.hasTaken:
	case h.lease == nil || h.lease.Role() == gate.Serving:
		h.serve(log)
	}
}

// serve begins to accept connections and packets. The caller holds h.mu.
func (h *handedSockets) serve(log *zap.Logger) {
	h.hasTaken = true
	if h.sockets != nil {
		if err := h.sockets.Serve(); err != nil {
			log.Error("there is no HTTP/3", zap.Error(err))
		}
	}
	h.acceptor.Set(true)
}

// ready is called when a configuration has started, and can serve.
func (h *handedSockets) ready(log *zap.Logger) {
	h.mu.Lock()
	isFirst := !h.isReady
	h.isReady = true
	if isFirst && h.lease != nil {
		if h.lease.Others(gate.Serving) {
			log.Info("another process serves the sockets of the gate: this one waits until that ends, or leaves")
		}
		h.lease.SayReady()
	}
	h.mu.Unlock()
	h.own.Set(true)
	h.update(log)
}

// addresses returns where the TCP sockets of the gate listen; none without a gate.
func (h *handedSockets) addresses() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lease == nil {
		return nil
	}
	for _, a := range h.lease.Addresses() {
		if a.Network == "tcp" {
			all = append(all, a.Address)
		}
	}
	return all
}

// hasGate reports whether a gate has opened the sockets.
func (h *handedSockets) hasGate() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lease != nil
}

// Gateways returns the addresses under which Docker hides clients: the gateways of the container that publishes the ports.
func Gateways() []netip.Addr {
	handed.mu.Lock()
	defer handed.mu.Unlock()
	if handed.lease != nil {
		return handed.lease.Gateways()
	}
	return gateways.Default()
}

// listener returns a TCP listener of the sockets, or nil if none has the address.
func (h *handedSockets) listener(ctx context.Context, address string, log *zap.Logger) (net.Listener, error) {
	sockets, err := h.get(ctx, log)
	if sockets == nil || err != nil {
		return nil, err
	}
	ln, err := sockets.Listener(address)
	if err != nil {
		return nil, err
	}
	if ln == nil {
		log.Warn("the sockets that were opened for this process have none of an address; it opens its own, whose connections are lost when the process is replaced", zap.String("address", address))
		return nil, nil
	}
	return h.acceptor.Wrap(ln), nil
}

// packetConn returns a UDP socket, likewise.
func (h *handedSockets) packetConn(ctx context.Context, address string, log *zap.Logger) (net.PacketConn, error) {
	sockets, err := h.get(ctx, log)
	if sockets == nil || err != nil {
		return nil, err
	}
	conn, err := sockets.PacketConn(address)
	if conn == nil || err != nil {
		return nil, err
	}
	return conn, nil
}
