package attacks

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Conn is an HTTP/2 connection on which a test can send any frame.
type http2Conn struct {
	conn *tls.Conn
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder

	closed chan struct{} // closed when the edge has closed the connection
	goaway http2.ErrCode
	totals *floodTotals // of this connection, or of those of a flood
}

// dialHTTP2 opens a connection. What comes on it is added to the totals.
func (s *attacker) dialHTTP2(totals *floodTotals) (*http2Conn, error) {
	conn, err := s.dialTLS("h2")
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p := &http2Conn{conn: conn, Framer: http2.NewFramer(conn, conn), closed: make(chan struct{}), totals: totals}
	p.encoder = hpack.NewEncoder(&p.block)
	p.AllowIllegalWrites = true
	if err := p.WriteSettings(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	totals.opened.Add(1)
	go p.read()
	return p, nil
}

// read records what the edge sends, until the connection ends.
func (p *http2Conn) read() {
	defer close(p.closed)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := p.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			p.goaway = f.ErrCode
		case *http2.RSTStreamFrame:
			p.totals.resets.Add(1)
		case *http2.MetaHeadersFrame:
			p.totals.mu.Lock()
			p.totals.statuses[f.PseudoValue("status")]++
			p.totals.mu.Unlock()
		}
	}
}

// headers encodes fields, names and values in turn.
func (p *http2Conn) headers(fields ...string) []byte {
	p.block.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = p.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // a buffer does not fail
	}
	return p.block.Bytes()
}
