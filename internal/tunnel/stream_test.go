package tunnel_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// readFrame reads a server's frame.
func readFrame(r *bufio.Reader) (first byte, payload []byte, err error) {
	head := make([]byte, 2)
	if _, err = io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1])
	if size >= 126 {
		wide := make([]byte, 8)
		from := map[uint64]int{126: 6, 127: 0}[size]
		if _, err = io.ReadFull(r, wide[from:]); err != nil {
			return 0, nil, fmt.Errorf("within a length: %w", err)
		}
		size = binary.BigEndian.Uint64(wide)
	}
	payload = make([]byte, size)
	if _, err = io.ReadFull(r, payload); err != nil {
		return 0, nil, fmt.Errorf("within a payload: %w", err)
	}
	return head[0], payload, nil
}

// flow is what one side streams to the other. Little of it is on its way at a time, or a close frame would arrive
// seconds after it was sent.
type flow struct {
	sent, received atomic.Int64
	progress       chan struct{}
	closed         <-chan struct{}
}

// addReceived counts what arrived.
func (f *flow) addReceived(n int) {
	f.received.Add(int64(n))
	select {
	case f.progress <- struct{}{}:
	default:
	}
}

// Write takes what arrives.
func (f *flow) Write(p []byte) (int, error) { f.addReceived(len(p)); return len(p), nil }

// writeFrames streams frames of all sizes, whole messages and fragments, cut anywhere: as fast as they are taken, or with a
// pause after each piece.
func (f *flow) writeFrames(conn net.Conn, masked bool, sizes []int, pause time.Duration) {
	var much []byte
	for len(much) < 64<<10 {
		size := sizes[rand.IntN(len(sizes))]
		payload := bytes.Repeat([]byte{byte(size)}, size)
		much = append(much, frame(final|opBinary, masked, payload)...)
		much = append(much, frame(opBinary, masked, payload)...)
		much = append(much, frame(final|opPing, masked, nil)...)
		much = append(much, frame(final, masked, payload)...)
	}
	for rest := much; ; {
		n := min(len(rest), 1+rand.IntN(8<<10))
		if _, err := conn.Write(rest[:n]); err != nil {
			return
		}
		if rest = rest[n:]; len(rest) == 0 {
			rest = much
		}
		if pause > 0 {
			time.Sleep(pause)
		}
		for f.sent.Add(int64(n)); f.sent.Load()-f.received.Load() > 32<<10; n = 0 {
			select {
			case <-f.progress:
			case <-f.closed:
				return
			}
		}
	}
}

// streamEnd is how a client's stream ended.
type streamEnd struct {
	code int
	err  error
	at   time.Time
}

// readUntilClose reads frames until the close frame, and checks that each is as it was sent.
func readUntilClose(conn io.Reader) streamEnd {
	for r := bufio.NewReader(conn); ; {
		first, payload, err := readFrame(r)
		if err != nil {
			return streamEnd{err: err}
		}
		if first == final|opClose && len(payload) == 2 {
			return streamEnd{code: int(binary.BigEndian.Uint16(payload)), at: time.Now()}
		}
		want := bytes.Repeat([]byte{byte(len(payload))}, len(payload))
		if first&^final > opPing || !bytes.Equal(payload, want) {
			return streamEnd{err: fmt.Errorf("a frame 0x%x with %d bytes that nobody sent", first, len(payload))}
		}
	}
}

// openStreams opens tunnels whose two sides send, some of them as fast as they can, and waits until all do. What their
// clients see comes from the channel.
func (s *fixture) openStreams(n, fast int, sizes []int, tlsClients bool) <-chan streamEnd {
	told := make(chan streamEnd, n)
	var each []*tunnel.Traffic
	start := make(chan struct{})
	for i := range n {
		pause := 200 * time.Millisecond
		if i < fast {
			pause = 0
		}
		traffic := &tunnel.Traffic{Parent: s.traffic}
		each = append(each, traffic)
		s.openStream(traffic, start, told, sizes, pause, tlsClients)
	}
	close(start)
	for _, traffic := range each {
		const enough = 20_000
		s.eventually(func() bool { return traffic.FromClient.Load() > enough && traffic.FromEndpoint.Load() > enough },
			func() any { return traffic.FromClient.Load() })
	}
	return told
}

func (s *fixture) openStream(traffic *tunnel.Traffic, start <-chan struct{}, told chan<- streamEnd, sizes []int, pause time.Duration, tlsClient bool) {
	var ends tunnel.Config
	var client, endpoint net.Conn
	client, ends.Client = tcpPair(s)
	if tlsClient {
		client, ends.Client = asConns(startTLS(s, client, ends.Client))
	}
	endpoint, ends.Endpoint = tcpPair(s)
	over := make(chan struct{})
	ends.WebSocket, ends.Traffic = true, traffic
	ends.OnClose = func(r tunnel.Report) {
		if r.ClosedBy != tunnel.Edge || r.Reason != "drain" {
			s.Errorf("ended: %+v", r)
		}
		close(over)
	}
	up, down := &flow{progress: make(chan struct{}, 1), closed: over}, &flow{progress: make(chan struct{}, 1), closed: over}
	s.group.Open(ends)
	go func() { <-start; up.writeFrames(client, true, sizes, pause) }()
	go func() { <-start; down.writeFrames(endpoint, false, sizes, pause) }()
	go func() {
		_, _ = io.Copy(up, endpoint)
		endpoint.Close()
	}()
	go func() {
		told <- readUntilClose(io.TeeReader(client, down))
		client.Close()
	}()
}

func TestDrainClosesStreamsBetweenFrames(t *testing.T) {
	for _, test := range []struct {
		sockets, fast int
		sizes         []int
		tls           bool
	}{
		{500, 10, []int{0, 1, 5, 125, 126, 300, 4000}, false}, // were all of them fast, each would wait seconds for the CPU
		{20, 20, []int{0, 1, 126, 1000, 4000, 70_000}, false},
		{10, 10, []int{0, 1, 126, 1000, 4000, 70_000}, true},
	} {
		t.Run(fmt.Sprintf("%d of which %d are fast, TLS %v", test.sockets, test.fast, test.tls), func(t *testing.T) {
			const window = 5 * time.Second
			s := newFixture(t)
			told := s.openStreams(test.sockets, test.fast, test.sizes, test.tls)
			began := time.Now()
			s.group.Drain(window, "drain")
			var times []time.Duration
			for range test.sockets {
				f := <-told
				if f.code != 1001 {
					t.Errorf("a client was told %d, %v", f.code, f.err)
					continue
				}
				times = append(times, f.at.Sub(began))
			}
			logHistogram(t, times, window) // how even it is, the tests say whose time nobody else uses
			t.Logf("the last was told after %s; %d MiB were passed on", slices.Max(times).Round(time.Millisecond),
				(s.traffic.FromClient.Load()+s.traffic.FromEndpoint.Load())>>20)
			if err := s.group.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
