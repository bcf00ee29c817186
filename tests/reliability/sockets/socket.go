package sockets

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Close codes: one of RFC 6455, section 7.4.1, and one for sockets that are open but do not echo.
const (
	CodeNone   = 1006 // the connection ended without a close frame
	CodeSilent = 0    // the connection is open, and no echo comes
)

// Target is the URL of WebSockets and the address of their proxy.
type Target struct {
	Address string      // of the proxy: HOST:PORT or the path of a unix socket
	Host    string      // the host of the service
	Path    string      // "": /_test/websocket
	TLS     *tls.Config // nil: plain
}

// socket is a WebSocket client that answers pings and records how the socket ended. It does not use a library, because thousands of
// sockets run on the machine on which they measure a proxy.
type socket struct {
	conn   net.Conn
	opened time.Time
	echoes chan struct{} // gets a value for each echo
	done   chan struct{} // closed when the socket has ended

	write sync.Mutex
	ended time.Time // valid once done is closed; so is code
	code  int
}

// open opens a WebSocket and starts reading from it.
func open(ctx context.Context, t Target) (*socket, error) {
	network := "tcp"
	if strings.HasPrefix(t.Address, "/") {
		network = "unix"
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, t.Address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if t.TLS != nil {
		conn = tls.Client(conn, t.TLS)
	}
	reader, err := handshake(conn, t)
	if !stop() || err != nil {
		conn.Close()
		return nil, fmt.Errorf("open a WebSocket at %s for %s: %w", t.Address, t.Host, errors.Join(err, ctx.Err()))
	}
	s := &socket{conn: conn, opened: time.Now(), echoes: make(chan struct{}, 1), done: make(chan struct{})}
	go s.read(reader)
	return s, nil
}

// handshake does the opening handshake (RFC 6455, section 4). The key is the RFC's example; it need not be secret.
func handshake(conn net.Conn, t Target) (*bufio.Reader, error) {
	path := t.Path
	if path == "" {
		path = "/_test/websocket"
	}
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, t.Host)
	if err != nil {
		return nil, err
	}
	reader := bufio.NewReaderSize(conn, 512)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body.Close()
		return nil, fmt.Errorf("status %s, want 101", resp.Status)
	}
	return reader, nil
}

// read reads frames until the socket ends.
func (s *socket) read(r *bufio.Reader) {
	s.code = CodeNone
	for {
		op, payload, err := readFrame(r)
		if err != nil {
			break
		}
		if op == opClose {
			if len(payload) >= 2 {
				s.code = int(binary.BigEndian.Uint16(payload))
			}
			_ = s.send(opClose, payload) // the connection may have ended
			break
		}
		if op == opPing {
			_ = s.send(opPong, payload) // if it fails, the next read fails as well
			continue
		}
		select {
		case s.echoes <- struct{}{}:
		default:
		}
	}
	s.ended = time.Now()
	s.conn.Close()
	close(s.done)
}

// echo sends a message and reports whether its echo comes in time.
func (s *socket) echo(within time.Duration) bool {
	select {
	case <-s.echoes: // a late echo of an earlier message
	default:
	}
	if err := s.send(opText, []byte("echo")); err != nil {
		return false
	}
	select {
	case <-s.echoes:
		return true
	case <-s.done:
		return false
	case <-time.After(within):
		return false
	}
}

func (s *socket) send(op byte, payload []byte) error {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err := s.conn.Write(maskedFrame(op, payload))
	return err
}

func (s *socket) alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Opcodes of RFC 6455, section 5.2.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// maskedFrame returns a client's frame with a payload of at most 125 bytes. Its mask is zero, which is allowed and leaves the payload
// unchanged.
func maskedFrame(op byte, payload []byte) []byte {
	frame := append([]byte{0x80 | op, 0x80 | byte(len(payload))}, 0, 0, 0, 0)
	return append(frame, payload...)
}

// readFrame reads one frame of a server. It returns at most 125 bytes of the payload: control frames have no more.
func readFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	head := make([]byte, 2, 8)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	op, size := head[0]&0x0f, uint64(head[1]&0x7f)
	switch size {
	case 126:
		_, err = io.ReadFull(r, head[:2])
		size = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		_, err = io.ReadFull(r, head[:8])
		size = binary.BigEndian.Uint64(head[:8])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, min(size, 125))
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	_, err = io.CopyN(io.Discard, r, int64(size)-int64(len(payload)))
	return op, payload, err
}
