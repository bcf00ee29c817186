package tunnel_test

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// batchingConn holds writes back, so that several TLS records travel in one segment.
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
		var ends tunnel.Config
		far, near := tcpPair(t)
		wire := &batchingConn{Conn: far}
		s.client, ends.Client = asConns(startTLS(t, wire, near))
		s.endpoint, ends.Endpoint = tcpPair(t)
		s.start(ends)
		wire.isBatching = true
		const records = 9
		for i := range records {
			s.send(s.client, strings.Repeat(string(rune('a'+i)), size))
		}
		wire.isBatching = false
		s.send(wire, wire.buffered.String())
		for i := range records { // and nothing follows
			s.expect(s.endpoint, strings.Repeat(string(rune('a'+i)), size))
		}
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed("", "")
	}
}

func TestSlowReaderBlocksTheWriter(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		for _, way := range [][2]net.Conn{{s.client, s.endpoint}, {s.endpoint, s.client}} {
			if err := way[0].SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			const chunk, most = 64 << 10, 64 << 20
			taken := 0
			var err error
			for err == nil && taken < most {
				var n int
				n, err = way[0].Write(make([]byte, chunk))
				taken += n
			}
			if err == nil {
				t.Errorf("%d bytes were taken although nobody reads them", taken)
			}
		}
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed("", "")
	})
}
