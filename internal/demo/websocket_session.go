package demo

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// sendTimeout bounds how long a client may take to make room for one message.
	sendTimeout = 10 * time.Second
	// closeTimeout bounds the wait for a client's close frame.
	closeTimeout = time.Second
)

// statusMessage is the message that a client of Corteza's WebSocket gets of itself.
type statusMessage struct {
	Type   string    `json:"@type"`
	Server string    `json:"server"`
	Time   time.Time `json:"time"`
}

// webSocketSession is the server's end of one WebSocket.
type webSocketSession struct {
	name string
	conn *websocket.Conn
}

func newWebSocketSession(name string, conn *websocket.Conn) *webSocketSession {
	return &webSocketSession{name, conn}
}

// serve returns when the client has gone, or ctx has ended and the client was told.
func (s *webSocketSession) serve(ctx context.Context) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	// Messages have a context of their own: the library drops the connection when it ends, and a close frame is to come first.
	alive, drop := context.WithCancel(context.Background())
	defer drop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(closeTimeout, drop) })()
	var sender sync.WaitGroup
	sender.Go(func() {
		s.sendStatus(ctx, alive)
		_ = s.conn.Close(websocket.StatusGoingAway, "")
	})
	s.echo(alive)
	leave()
	sender.Wait()
}

// sendStatus sends a status at once and then periodically, until ctx ends.
func (s *webSocketSession) sendStatus(ctx, alive context.Context) {
	ticker := time.NewTicker(statusPeriod)
	defer ticker.Stop()
	for {
		text, err := json.Marshal(statusMessage{"status", s.name, time.Now().UTC().Truncate(time.Millisecond)})
		if err != nil {
			panic(err) // strings and a time: can't fail
		}
		if s.send(alive, websocket.MessageText, text) != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *webSocketSession) echo(alive context.Context) {
	for {
		kind, text, err := s.conn.Read(alive)
		if err != nil || s.send(alive, kind, text) != nil {
			return
		}
	}
}

func (s *webSocketSession) send(alive context.Context, kind websocket.MessageType, text []byte) error {
	ctx, cancel := context.WithTimeout(alive, sendTimeout)
	defer cancel()
	return s.conn.Write(ctx, kind, text)
}
