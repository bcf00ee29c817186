package demo

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// sendTimeout is how long a client may take to read one message.
	sendTimeout = 10 * time.Second
	// closeTimeout is how long a session waits for the client's close frame.
	closeTimeout = time.Second
)

// statusMessage is the message that the server sends to each WebSocket.
type statusMessage struct {
	Type   string    `json:"@type"`
	Server string    `json:"server"`
	Time   time.Time `json:"time"`
}

// webSocketSession is the server side of one WebSocket.
type webSocketSession struct {
	name string
	conn *websocket.Conn
}

func newWebSocketSession(name string, conn *websocket.Conn) *webSocketSession {
	return &webSocketSession{name, conn}
}

// serve serves the WebSocket until the client closes it or ctx ends. When ctx ends, it sends a close frame.
func (s *webSocketSession) serve(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Reads and writes have a context of their own: the library closes the connection when that ends, and the close frame
	// must come first.
	connCtx, closeConn := context.WithCancel(context.Background())
	defer closeConn()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(closeTimeout, closeConn) })()
	var sender sync.WaitGroup
	sender.Go(func() {
		s.sendStatus(ctx, connCtx)
		_ = s.conn.Close(websocket.StatusGoingAway, "")
	})
	s.echo(connCtx)
	stop()
	sender.Wait()
}

// sendStatus sends a status at once and then periodically, until ctx ends.
func (s *webSocketSession) sendStatus(ctx, connCtx context.Context) {
	ticker := time.NewTicker(statusPeriod)
	defer ticker.Stop()
	for {
		text, err := json.Marshal(statusMessage{"status", s.name, time.Now().UTC().Truncate(time.Millisecond)})
		if err != nil {
			panic(err) // impossible for strings and a time
		}
		if s.send(connCtx, websocket.MessageText, text) != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *webSocketSession) echo(connCtx context.Context) {
	for {
		kind, text, err := s.conn.Read(connCtx)
		if err != nil || s.send(connCtx, kind, text) != nil {
			return
		}
	}
}

func (s *webSocketSession) send(connCtx context.Context, kind websocket.MessageType, text []byte) error {
	ctx, cancel := context.WithTimeout(connCtx, sendTimeout)
	defer cancel()
	return s.conn.Write(ctx, kind, text)
}
