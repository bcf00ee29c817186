package demo

import (
	"encoding/json"
	"time"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

// helloEvent is the first event a socket gets.
type helloEvent struct {
	Server    string `json:"server"`
	Transport string `json:"transport"` // polling or websocket
}

// tickEvent is what all sockets of a server get every second.
type tickEvent struct {
	Server   string    `json:"server"`
	Time     time.Time `json:"time"`
	Visitors int       `json:"visitors"` // sockets on this server
}

// newSockets returns the server's sockets. Sessions stay with this server alone, as in the real application: there is no adapter
// that would share them.
func (b *bigCapital) newSockets() *socketio.Server {
	return socketio.New(socketio.Options{
		Connected: func(socket *socketio.Socket) {
			transport := socket.Transport()
			b.log(b.name, "socket connected over "+transport)
			b.logError(socket.Emit("hello", helloEvent{b.name, transport}))
		},
		Upgraded: func() { b.log(b.name, "socket moved to websocket") },
		Received: func(_ *socketio.Socket, event string, arguments []json.RawMessage) []any {
			if event != "echo" {
				return nil
			}
			echoed := make([]any, len(arguments))
			for i, argument := range arguments {
				echoed[i] = argument
			}
			return echoed
		},
		Disconnected: func(*socketio.Socket) { b.log(b.name, "socket closed") },
	})
}

func (b *bigCapital) broadcastTick() {
	now := time.Now().UTC().Truncate(time.Millisecond)
	b.logError(b.sockets.Broadcast("tick", tickEvent{b.name, now, b.sockets.Connected()}))
}

// logError logs an event that could not be sent.
func (b *bigCapital) logError(err error) {
	if err != nil {
		b.log(b.name, err.Error())
	}
}
