package demo

import (
	"encoding/json"
	"time"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

// hello is the first event a socket gets.
type hello struct {
	Server    string `json:"server"`
	Transport string `json:"transport"` // polling or websocket
}

// tick is what all sockets of a server get every second.
type tick struct {
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
			b.report(socket.Emit("hello", hello{b.name, transport}))
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

func (b *bigCapital) tick() {
	now := time.Now().UTC().Truncate(time.Millisecond)
	b.report(b.sockets.Broadcast("tick", tick{b.name, now, b.sockets.Connected()}))
}

// report logs an event that could not be sent.
func (b *bigCapital) report(err error) {
	if err != nil {
		b.log(b.name, err.Error())
	}
}
