// Package load sends requests for benchmarks, with little work for each, and measures how many a server responds to, or how long it takes.
package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// The versions of HTTP.
const (
	HTTP1    = "HTTP/1.1"
	HTTP1TLS = "HTTP/1.1 with TLS"
	HTTP2    = "HTTP/2"
	HTTP3    = "HTTP/3"
	// WebSocket is a message and its echo, over HTTP/1.1.
	WebSocket = "WebSocket"
)

// Request is a request that is sent again and again. The host is localhost.
type Request struct {
	Version string // of HTTP
	Address string // HOST:PORT
	Method  string
	Path    string
	Body    int // bytes
}

// client sends one request after the other on a connection of its own.
type client interface {
	do() error
	close()
}

// newClient returns a client for a request.
func newClient(ctx context.Context, r Request) (client, error) {
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MinVersion: tls.VersionTLS13}
	switch r.Version {
	case HTTP1, HTTP1TLS:
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.Address)
		if err != nil {
			return nil, err
		}
		if r.Version == HTTP1TLS {
			conn = tls.Client(conn, config)
		}
		return newHTTP1(conn, r), nil
	case WebSocket:
		return newWebSocket(ctx, r)
	case HTTP2:
		config.NextProtos = []string{"h2"}
		return newOther(r, &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}), nil
	case HTTP3:
		config.NextProtos = []string{"h3"}
		return newOther(r, &http3.Transport{TLSClientConfig: config, Dial: func(ctx context.Context, _ string, tls *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, r.Address, tls, config)
		}}), nil
	}
	return nil, fmt.Errorf("unknown version %q", r.Version)
}

// http1 is a client for HTTP/1.1. It is no client of net/http, which would cost more than the proxies.
type http1 struct {
	conn   net.Conn
	reader *bufio.Reader
	head   []byte
	body   []byte
}

func newHTTP1(conn net.Conn, r Request) *http1 {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmark\r\nAccept: */*\r\n", r.Method, r.Path)
	if r.Method == http.MethodPost {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", r.Body)
	}
	c := &http1{conn: conn, reader: bufio.NewReaderSize(conn, 64<<10), head: []byte(head + "\r\n"), body: make([]byte, r.Body)}
	if r.Body <= 4<<10 { // one packet
		c.head, c.body = append(c.head, c.body...), nil
	}
	return c
}

func (c *http1) close() { _ = c.conn.Close() }

func (c *http1) do() error {
	if _, err := c.conn.Write(c.head); err != nil {
		return err
	}
	if len(c.body) > 0 {
		if _, err := c.conn.Write(c.body); err != nil {
			return err
		}
	}
	length, err := c.readHead()
	if err != nil {
		return err
	}
	_, err = c.reader.Discard(length)
	return err
}

// readHead reads the head of a response, and returns the length of its body.
func (c *http1) readHead() (length int, err error) {
	length = -1
	for isFirst := true; ; isFirst = false {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if isFirst {
			if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
				return 0, fmt.Errorf("the response is %q", line)
			}
			continue
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, errors.New("the response has no Content-Length")
	}
	return length, nil
}

// other is a client for the other versions.
type other struct {
	request   Request
	transport http.RoundTripper
	body      []byte
	buf       []byte
}

func newOther(r Request, transport http.RoundTripper) *other {
	return &other{request: r, transport: transport, body: make([]byte, r.Body), buf: make([]byte, 64<<10)}
}

func (c *other) close() {
	switch t := c.transport.(type) {
	case *http.Transport:
		t.CloseIdleConnections()
	case *http3.Transport:
		_ = t.Close()
	}
}

func (c *other) do() error {
	var body io.Reader
	if c.request.Method == http.MethodPost {
		body = bytes.NewReader(c.body)
	}
	req, err := http.NewRequest(c.request.Method, "https://"+c.request.Address+c.request.Path, body)
	if err != nil {
		return err
	}
	req.Host = "localhost"
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the response is %s", resp.Status)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, c.buf)
	return err
}
