package tunnel_test

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// bundle holds writes back, so that several TLS records travel in one segment.
type bundle struct {
	net.Conn
	held bytes.Buffer
	hold bool
}

func (b *bundle) Write(p []byte) (int, error) {
	if b.hold {
		return b.held.Write(p)
	}
	return b.Conn.Write(p)
}

func TestRecordsThatWereReadAheadDoNotStall(t *testing.T) {
	for _, size := range []int{1, 100, 511, 512, 513, 1024, 16 << 10} {
		s := newStage(t)
		var ends tunnel.Ends
		far, near := connect(t)
		wire := &bundle{Conn: far}
		s.client, ends.Client = asConns(secure(t, wire, near))
		s.endpoint, ends.Endpoint = connect(t)
		s.start(ends)
		wire.hold = true
		const records = 9
		for i := range records {
			s.says(s.client, strings.Repeat(string(rune('a'+i)), size))
		}
		wire.hold = false
		s.says(wire, wire.held.String())
		for i := range records { // and nothing follows
			s.hears(s.endpoint, strings.Repeat(string(rune('a'+i)), size))
		}
		s.client.Close()
		s.endpoint.Close()
		s.over("", "")
	}
}

func TestASlowReaderStopsTheWriter(t *testing.T) {
	each(t, func(s *stage) {
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
		s.over("", "")
	})
}
