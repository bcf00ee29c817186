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

// readFrame reads an unmasked frame.
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

// flow is the stream of one side to the other. It keeps few bytes in flight, or a close frame would arrive seconds after it
// was sent.
type flow struct {
	sent, received atomic.Int64
	progress       chan struct{}
	closed         <-chan struct{}
}

// addReceived counts bytes that arrived.
func (f *flow) addReceived(n int) {
	f.received.Add(int64(n))
	select {
	case f.progress <- struct{}{}:
	default:
	}
}

// Write counts bytes that arrived, and drops them.
func (f *flow) Write(p []byte) (int, error) { f.addReceived(len(p)); return len(p), nil }

// writeFrames writes frames of all sizes, whole messages and fragments, in chunks that end anywhere: as fast as the peer
// reads them, or with a pause after each chunk.
func (f *flow) writeFrames(conn net.Conn, masked bool, sizes []int, pause time.Duration) {
	var frames []byte
	for len(frames) < 64<<10 {
		size := sizes[rand.IntN(len(sizes))]
		payload := bytes.Repeat([]byte{byte(size)}, size)
		frames = append(frames, frame(final|opBinary, masked, payload)...)
		frames = append(frames, frame(opBinary, masked, payload)...)
		frames = append(frames, frame(final|opPing, masked, nil)...)
		frames = append(frames, frame(final, masked, payload)...)
	}
	for rest := frames; ; {
		n := min(len(rest), 1+rand.IntN(8<<10))
		if _, err := conn.Write(rest[:n]); err != nil {
			return
		}
		if rest = rest[n:]; len(rest) == 0 {
			rest = frames
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

// readUntilClose reads frames until the close frame, and checks that each arrives as it was sent.
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
			return streamEnd{err: fmt.Errorf("got frame 0x%x with %d bytes, which nobody sent", first, len(payload))}
		}
	}
}

// openStreams opens n tunnels whose two sides send, fast of them without a pause, and waits until all sides send. The
// channel returns how each client's stream ended.
func (s *fixture) openStreams(n, fast int, sizes []int, tlsClients bool) <-chan streamEnd {
	streamEnds := make(chan streamEnd, n)
	var counters []*tunnel.Traffic
	start := make(chan struct{})
	for i := range n {
		pause := 200 * time.Millisecond
		if i < fast {
			pause = 0
		}
		traffic := &tunnel.Traffic{Parent: s.traffic}
		counters = append(counters, traffic)
		s.openStream(traffic, start, streamEnds, sizes, pause, tlsClients)
	}
	close(start)
	for _, traffic := range counters {
		const enough = 20_000
		s.eventually(func() bool { return traffic.FromClient.Load() > enough && traffic.FromEndpoint.Load() > enough },
			func() any { return traffic.FromClient.Load() })
	}
	return streamEnds
}

func (s *fixture) openStream(traffic *tunnel.Traffic, start <-chan struct{}, streamEnds chan<- streamEnd, sizes []int, pause time.Duration, tlsClient bool) {
	var config tunnel.Config
	var client, endpoint net.Conn
	client, config.Client = tcpPair(s)
	if tlsClient {
		client, config.Client = asConns(startTLS(s, client, config.Client))
	}
	endpoint, config.Endpoint = tcpPair(s)
	closed := make(chan struct{})
	config.WebSocket, config.Traffic = true, traffic
	config.OnClose = func(r tunnel.Report) {
		if r.ClosedBy != tunnel.Edge || r.Reason != "drain" {
			s.Errorf("got report %+v", r)
		}
		close(closed)
	}
	up, down := &flow{progress: make(chan struct{}, 1), closed: closed}, &flow{progress: make(chan struct{}, 1), closed: closed}
	s.group.Open(config)
	go func() { <-start; up.writeFrames(client, true, sizes, pause) }()
	go func() { <-start; down.writeFrames(endpoint, false, sizes, pause) }()
	go func() {
		_, _ = io.Copy(up, endpoint)
		endpoint.Close()
	}()
	go func() {
		streamEnds <- readUntilClose(io.TeeReader(client, down))
		client.Close()
	}()
}

func TestDrainClosesStreamsBetweenFrames(t *testing.T) {
	for _, test := range []struct {
		sockets, fast int
		sizes         []int
		tls           bool
	}{
		{500, 10, []int{0, 1, 5, 125, 126, 300, 4000}, false}, // with more fast ones, each would wait seconds for the CPU
		{20, 20, []int{0, 1, 126, 1000, 4000, 70_000}, false},
		{10, 10, []int{0, 1, 126, 1000, 4000, 70_000}, true},
	} {
		t.Run(fmt.Sprintf("%d of which %d are fast, TLS %v", test.sockets, test.fast, test.tls), func(t *testing.T) {
			const window = 5 * time.Second
			s := newFixture(t)
			s.group.SetFrameTimeout(time.Minute) // on a busy machine a goroutine that has written half a frame can wait for seconds
			streamEnds := s.openStreams(test.sockets, test.fast, test.sizes, test.tls)
			began := time.Now()
			s.group.Drain(window, "drain")
			var times []time.Duration
			for range test.sockets {
				end := <-streamEnds
				if end.code != 1001 {
					t.Errorf("a client got close code %d, %v, want 1001", end.code, end.err)
					continue
				}
				times = append(times, end.at.Sub(began))
			}
			logHistogram(t, times, window) // group_test.go checks how even it is, with the clock of synctest
			t.Logf("the last close frame came after %s; %d MiB were forwarded", slices.Max(times).Round(time.Millisecond),
				(s.traffic.FromClient.Load()+s.traffic.FromEndpoint.Load())>>20)
			if err := s.group.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
