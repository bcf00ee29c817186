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

// next reads a server's frame.
func next(r *bufio.Reader) (first byte, payload []byte, err error) {
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
	sent, taken atomic.Int64
	more        chan struct{}
	over        <-chan struct{}
}

// take counts what arrived.
func (f *flow) take(n int) {
	f.taken.Add(int64(n))
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// Write takes what arrives.
func (f *flow) Write(p []byte) (int, error) { f.take(len(p)); return len(p), nil }

// talk streams frames of all sizes, whole messages and fragments, cut anywhere: as fast as they are taken, or with a
// pause after each piece.
func (f *flow) talk(conn net.Conn, masked bool, sizes []int, pause time.Duration) {
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
		for f.sent.Add(int64(n)); f.sent.Load()-f.taken.Load() > 32<<10; n = 0 {
			select {
			case <-f.more:
			case <-f.over:
				return
			}
		}
	}
}

// farewell is how a client's stream ended.
type farewell struct {
	code int
	err  error
	at   time.Time
}

// listen reads frames until the close frame, and checks that each is as it was sent.
func listen(conn io.Reader) farewell {
	for r := bufio.NewReader(conn); ; {
		first, payload, err := next(r)
		if err != nil {
			return farewell{err: err}
		}
		if first == final|opClose && len(payload) == 2 {
			return farewell{code: int(binary.BigEndian.Uint16(payload)), at: time.Now()}
		}
		want := bytes.Repeat([]byte{byte(len(payload))}, len(payload))
		if first&^final > opPing || !bytes.Equal(payload, want) {
			return farewell{err: fmt.Errorf("a frame 0x%x with %d bytes that nobody sent", first, len(payload))}
		}
	}
}

// streams opens tunnels whose two sides send, some of them as fast as they can, and waits until all do. What their
// clients see comes from the channel.
func (s *stage) streams(n, fast int, sizes []int, tlsClients bool) <-chan farewell {
	told := make(chan farewell, n)
	var each []*tunnel.Traffic
	start := make(chan struct{})
	for i := range n {
		pause := 200 * time.Millisecond
		if i < fast {
			pause = 0
		}
		traffic := &tunnel.Traffic{Parent: s.traffic}
		each = append(each, traffic)
		s.stream(traffic, start, told, sizes, pause, tlsClients)
	}
	close(start)
	for _, traffic := range each {
		const enough = 20_000
		s.until(func() bool { return traffic.FromClient.Load() > enough && traffic.FromEndpoint.Load() > enough },
			func() any { return traffic.FromClient.Load() })
	}
	return told
}

func (s *stage) stream(traffic *tunnel.Traffic, start <-chan struct{}, told chan<- farewell, sizes []int, pause time.Duration, tlsClient bool) {
	var ends tunnel.Ends
	var client, endpoint net.Conn
	client, ends.Client = connect(s)
	if tlsClient {
		client, ends.Client = asConns(secure(s, client, ends.Client))
	}
	endpoint, ends.Endpoint = connect(s)
	over := make(chan struct{})
	ends.WebSocket, ends.Traffic = true, traffic
	ends.Ended = func(r tunnel.Report) {
		if r.By != tunnel.Edge || r.Reason != "drain" {
			s.Errorf("ended: %+v", r)
		}
		close(over)
	}
	up, down := &flow{more: make(chan struct{}, 1), over: over}, &flow{more: make(chan struct{}, 1), over: over}
	s.group.Open(ends)
	go func() { <-start; up.talk(client, true, sizes, pause) }()
	go func() { <-start; down.talk(endpoint, false, sizes, pause) }()
	go func() {
		_, _ = io.Copy(up, endpoint)
		endpoint.Close()
	}()
	go func() {
		told <- listen(io.TeeReader(client, down))
		client.Close()
	}()
}

func TestInADrainOfStreamsEachClientIsToldAtAFramesEnd(t *testing.T) {
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
			s := newStage(t)
			told := s.streams(test.sockets, test.fast, test.sizes, test.tls)
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
			chart(t, times, window) // how even it is, the tests say whose time nobody else uses
			t.Logf("the last was told after %s; %d MiB were passed on", slices.Max(times).Round(time.Millisecond),
				(s.traffic.FromClient.Load()+s.traffic.FromEndpoint.Load())>>20)
			if err := s.group.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
