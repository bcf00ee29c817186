package attacks

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
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

// joinLines joins the lines that attackers have printed.
func joinLines(lines []string) string { return strings.Join(lines, "\n") }
