package tunnel_test

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// batchingConn buffers writes, so that several TLS records are sent in one segment.
type batchingConn struct {
	net.Conn
	buffered   bytes.Buffer
	isBatching bool
}

func (b *batchingConn) Write(p []byte) (int, error) {
	if b.isBatching {
		return b.buffered.Write(p)
	}
	return b.Conn.Write(p)
}

func TestBufferedTLSRecordsDoNotStall(t *testing.T) {
	for _, size := range []int{1, 100, 511, 512, 513, 1024, 16 << 10} {
		s := newFixture(t)
		var config tunnel.Config
		remote, local := tcpPair(t)
		batching := &batchingConn{Conn: remote}
		s.client, config.Client = asConns(startTLS(t, batching, local))
		s.endpoint, config.Endpoint = tcpPair(t)
		s.start(config)
		batching.isBatching = true
		const records = 9
		for i := range records {
			s.send(s.client, strings.Repeat(string(rune('a'+i)), size))
		}
		batching.isBatching = false
		s.send(batching, batching.buffered.String())
		for i := range records { // all of them, although nothing follows
			s.expect(s.endpoint, strings.Repeat(string(rune('a'+i)), size))
		}
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed("", "")
	}
}

func TestSlowReaderBlocksTheWriter(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		for _, pair := range [][2]net.Conn{{s.client, s.endpoint}, {s.endpoint, s.client}} {
			if err := pair[0].SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			const chunk, most = 64 << 10, 64 << 20
			written := 0
			var err error
			for err == nil && written < most {
				var n int
				n, err = pair[0].Write(make([]byte, chunk))
				written += n
			}
			if err == nil {
				t.Errorf("%d bytes were accepted although nobody reads them", written)
			}
		}
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed("", "")
	})
}
