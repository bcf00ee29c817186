package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// websocket is a client that sends a message and waits for its echo.
type websocket struct {
	conn   net.Conn
	reader *bufio.Reader
	frame  []byte
}

// maxMessage is the largest message whose length needs no more than seven bits.
const maxMessage = 125

func newWebSocket(ctx context.Context, r Request) (client, error) {
	if r.Body > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes: want %d at most", r.Body, maxMessage)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.Address)
	if err != nil {
		return nil, err
	}
	w := &websocket{conn: conn, reader: bufio.NewReader(conn)}
	if err := w.handshake(r.Path); err != nil {
		_ = conn.Close()
		return nil, err
	}
	// A binary message that is masked with zeros.
	w.frame = append([]byte{0x82, 0x80 | byte(r.Body), 0, 0, 0, 0}, make([]byte, r.Body)...)
	return w, nil
}

func (w *websocket) handshake(path string) error {
	_, err := fmt.Fprintf(w.conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path)
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(w.reader, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the response is %s, not 101", resp.Status)
	}
	return nil
}

func (w *websocket) close() { _ = w.conn.Close() }

func (w *websocket) do() error {
	if _, err := w.conn.Write(w.frame); err != nil {
		return err
	}
	head, err := w.reader.Peek(2)
	if err != nil {
		return err
	}
	length := int(binary.BigEndian.Uint16(head) & 0x7f)
	if head[0] != 0x82 || length != len(w.frame)-6 {
		return errors.New("the frame is no echo")
	}
	_, err = w.reader.Discard(2 + length)
	return err
}
