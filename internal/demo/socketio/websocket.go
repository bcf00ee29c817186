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
	// writeTimeout is how long a client may take to read one packet.
	writeTimeout = 10 * time.Second
	// closeTimeout is how long the end of a session waits for the client, to read packets and to answer the close frame.
	closeTimeout = time.Second
)

// serveWebSocket serves a session that starts with a WebSocket.
func (s *session) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := s.accept(w, r)
	if err != nil {
		s.end()
		return
	}
	s.serveConn(conn)
}

// accept accepts a WebSocket. If it returns an error, it has sent the response.
func (s *session) accept(w http.ResponseWriter, r *http.Request) (*websocket.Conn, error) {
	// Any origin may connect, as with the original server: there are no cookies that another site could use.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil, fmt.Errorf("accept WebSocket: %w", err)
	}
	conn.SetReadLimit(s.server.options.MaxPayload)
	return conn, nil
}

// serveConn sends and receives the session's packets until the session ends, and closes the connection.
func (s *session) serveConn(conn *websocket.Conn) {
	// Not the session's context: the library closes the connection when the context of a read or write ends, and the close
	// frame must come first.
	connCtx, closeConn := context.WithCancel(context.Background())
	defer closeConn()
	defer context.AfterFunc(s.ctx, func() { time.AfterFunc(closeTimeout, closeConn) })()
	var writer sync.WaitGroup
	writer.Go(func() {
		s.writePackets(connCtx, conn)
		s.end()
		_ = conn.Close(websocket.StatusGoingAway, "")
	})
	s.readPackets(connCtx, conn)
	s.end()
	writer.Wait()
}

// readPackets handles packets from the client, until one breaks the protocol or the connection closes.
func (s *session) readPackets(ctx context.Context, conn *websocket.Conn) {
	for {
		p, err := readPacket(ctx, conn)
		if err != nil || s.receive(p) != nil {
			return
		}
	}
}

// writePackets sends the queued packets, until the session ends or the connection closes.
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
