package socketio

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// writeTimeout bounds how long a client may take to make room for one packet.
	writeTimeout = 10 * time.Second
	// closeTimeout bounds what a client can do to the end of its session: the wait for room to write, and for its close frame.
	closeTimeout = time.Second
)

// serveWebSocket serves a session that begins as a WebSocket.
func (s *session) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := s.accept(w, r)
	if err != nil {
		s.end()
		return
	}
	s.serveConn(conn)
}

// accept has answered the request if it fails.
func (s *session) accept(w http.ResponseWriter, r *http.Request) (*websocket.Conn, error) {
	// As in the original, any origin may connect: there are no cookies to abuse.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil, fmt.Errorf("accept WebSocket: %w", err)
	}
	conn.SetReadLimit(s.server.options.MaxPayload)
	return conn, nil
}

// serveConn carries the session's packets until it ends, and closes the connection.
func (s *session) serveConn(conn *websocket.Conn) {
	// Not the session's context: the library drops the connection when the context of a read or write ends,
	// and the client is to see a close frame first.
	alive, drop := context.WithCancel(context.Background())
	defer drop()
	defer context.AfterFunc(s.ctx, func() { time.AfterFunc(closeTimeout, drop) })()
	var writer sync.WaitGroup
	writer.Go(func() {
		s.writePackets(alive, conn)
		s.end()
		_ = conn.Close(websocket.StatusGoingAway, "")
	})
	s.readPackets(alive, conn)
	s.end()
	writer.Wait()
}

// readPackets hands on what the client sends, until it breaks the protocol or the connection is gone.
func (s *session) readPackets(ctx context.Context, conn *websocket.Conn) {
	for {
		p, err := readPacket(ctx, conn)
		if err != nil || s.receive(p) != nil {
			return
		}
	}
}

// writePackets sends what waits for the client, until the session ends or the connection is gone.
func (s *session) writePackets(ctx context.Context, conn *websocket.Conn) {
	for {
		packets, changed := s.takeQueue(webSocket)
		for _, p := range packets {
			if writePacket(ctx, conn, p) != nil {
				return
			}
		}
		if len(packets) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return
		}
	}
}

func readPacket(ctx context.Context, conn *websocket.Conn) (packet, error) {
	kind, data, err := conn.Read(ctx)
	if err != nil {
		return packet{}, fmt.Errorf("read WebSocket: %w", err)
	}
	if kind != websocket.MessageText {
		return packet{}, errBinary
	}
	return parsePacket(string(data))
}

func writePacket(ctx context.Context, conn *websocket.Conn, p packet) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(p.String())); err != nil {
		return fmt.Errorf("write WebSocket: %w", err)
	}
	return nil
}
