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
	// partingTimeout bounds the wait for a client's close frame.
	partingTimeout = time.Second
)

// status is the message that a client of Corteza's WebSocket gets of itself.
type status struct {
	Type   string    `json:"@type"`
	Server string    `json:"server"`
	Time   time.Time `json:"time"`
}

// station is the server's end of one WebSocket.
type station struct {
	name string
	conn *websocket.Conn
}

func newStation(name string, conn *websocket.Conn) *station { return &station{name, conn} }

// serve returns when the client has gone, or ctx has ended and the client was told.
func (s *station) serve(ctx context.Context) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	// Messages have a context of their own: the library drops the connection when it ends, and a close frame is to come first.
	alive, drop := context.WithCancel(context.Background())
	defer drop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(partingTimeout, drop) })()
	var sender sync.WaitGroup
	sender.Go(func() {
		s.announce(ctx, alive)
		_ = s.conn.Close(websocket.StatusGoingAway, "")
	})
	s.echo(alive)
	leave()
	sender.Wait()
}

// announce sends a status at once and then periodically, until ctx ends.
func (s *station) announce(ctx, alive context.Context) {
	ticker := time.NewTicker(statusPeriod)
	defer ticker.Stop()
	for {
		text, err := json.Marshal(status{"status", s.name, time.Now().UTC().Truncate(time.Millisecond)})
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

func (s *station) echo(alive context.Context) {
	for {
		kind, text, err := s.conn.Read(alive)
		if err != nil || s.send(alive, kind, text) != nil {
			return
		}
	}
}

func (s *station) send(alive context.Context, kind websocket.MessageType, text []byte) error {
	ctx, cancel := context.WithTimeout(alive, sendTimeout)
	defer cancel()
	return s.conn.Write(ctx, kind, text)
}
