package socketio

import (
	"cmp"
	"encoding/json"
	"time"
)

// Options are the protocol's numbers and what the application is told. A number left zero has
// its default. Any of the functions may be nil; they are called from several goroutines at once and
// must not block, since a session waits for them.
type Options struct {
	PingInterval   time.Duration // from a pong to the next ping; 25 s
	PingTimeout    time.Duration // from a ping to the end of a session that doesn't answer; 20 s
	UpgradeTimeout time.Duration // for each step of a move to WebSocket; 10 s
	MaxPayload     int64         // bytes in one request's body or one WebSocket message; 1,000,000
	MaxSessions    int           // further handshakes are answered 503; 1,000

	// Connected is told of a socket once the client has been let into the namespace.
	Connected func(*Socket)
	// Upgraded is told of a session's move from polling to WebSocket.
	Upgraded func()
	// Received is given a client's event. What it returns goes to the client if that asked for an acknowledgement.
	Received func(socket *Socket, event string, arguments []json.RawMessage) []any
	// Disconnected is told of each socket's end, once. Of one that ends as it connects, it may hear before Connected does.
	Disconnected func(*Socket)
}

func (o Options) withDefaults() Options {
	o.PingInterval = cmp.Or(o.PingInterval, 25*time.Second)
	o.PingTimeout = cmp.Or(o.PingTimeout, 20*time.Second)
	o.UpgradeTimeout = cmp.Or(o.UpgradeTimeout, 10*time.Second)
	o.MaxPayload = cmp.Or(o.MaxPayload, 1_000_000)
	o.MaxSessions = cmp.Or(o.MaxSessions, 1_000)
	if o.Connected == nil {
		o.Connected = func(*Socket) {}
	}
	if o.Upgraded == nil {
		o.Upgraded = func() {}
	}
	if o.Received == nil {
		o.Received = func(*Socket, string, []json.RawMessage) []any { return nil }
	}
	if o.Disconnected == nil {
		o.Disconnected = func(*Socket) {}
	}
	return o
}
