package proxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// TestReplayedEarlyDataExecutesNoPOST: whoever records the datagrams of a resumed connection can send them again.
func TestReplayedEarlyDataExecutesNoPOST(t *testing.T) {
	var carriedOut, safe atomic.Int32
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			carriedOut.Add(1)
		case r.Header.Get("Early-Data") == "1":
			safe.Add(1)
		}
		fmt.Fprint(w, "ok")
	}).start(t)
	url := serveTLS(t, a.address, "edge_proxy api:80")
	relay := newRelay(t, strings.TrimPrefix(url, "https://localhost"))
	config := insecureTLSConfig()
	config.ServerName, config.NextProtos = "localhost", []string{"h3"}
	config.ClientSessionCache = newTicketCache()
	resumed := false
	early := func(method string) (status string) {
		conn, err := quic.DialAddrEarly(t.Context(), relay.address(), config, &quic.Config{TokenStore: quic.NewLRUTokenStore(1, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseWithError(0, "")
		status, err = sendEarly(conn, method)
		if err != nil {
			t.Fatal(err)
		}
		if resumed && !conn.ConnectionState().Used0RTT {
			t.Fatalf("%s: no early data was used", method)
		}
		return status
	}
	if status := early("GET"); status != "200" { // which gets a ticket
		t.Fatal(status)
	}
	config.ClientSessionCache.(*ticketCache).wait(t)
	resumed = true
	relay.record()
	if status := early("POST"); status != "425" {
		t.Errorf("a POST in early data: %s, want 425", status)
	}
	relay.replay(t)
	if n := carriedOut.Load(); n != 0 {
		t.Errorf("the backend carried the POST out %d times", n)
	}
	if status := early("GET"); status != "200" || safe.Load() == 0 {
		t.Errorf("a GET in early data: %s, %d with Early-Data", status, safe.Load())
	}
}

// sendEarly sends one request on a new QUIC connection, as early as that allows, and returns the status of the answer.
func sendEarly(conn *quic.Conn, method string) (string, error) {
	control, err := conn.OpenUniStream()
	if err != nil {
		return "", err
	}
	if _, err := control.Write([]byte{0, 4, 0}); err != nil { // a control stream with empty settings (RFC 9114 section 6.2.1)
		return "", err
	}
	stream, err := conn.OpenStream()
	if err != nil {
		return "", err
	}
	var head bytes.Buffer
	encoder := qpack.NewEncoder(&head)
	for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/pay"}} {
		if err := encoder.WriteField(qpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return "", err
		}
	}
	frame := append(quicvarint.Append([]byte{1}, uint64(head.Len())), head.Bytes()...) // HEADERS
	if _, err := stream.Write(frame); err != nil {
		return "", err
	}
	if err := stream.Close(); err != nil {
		return "", err
	}
	return readStatus(stream)
}

// readStatus reads the head of an answer.
func readStatus(stream io.Reader) (string, error) {
	reader := quicvarint.NewReader(stream)
	if kind, err := quicvarint.Read(reader); err != nil || kind != 1 {
		return "", fmt.Errorf("frame %d: %w", kind, err)
	}
	length, err := quicvarint.Read(reader)
	if err != nil {
		return "", err
	}
	head := make([]byte, length)
	if _, err := io.ReadFull(reader, head); err != nil {
		return "", err
	}
	decode := qpack.NewDecoder().Decode(head)
	for {
		field, err := decode()
		if err != nil {
			return "", err
		}
		if field.Name == ":status" {
			return field.Value, nil
		}
	}
}

// ticketCache is a client's cache of tickets that tells when it has one.
type ticketCache struct {
	tls.ClientSessionCache
	stored chan struct{}
}

func newTicketCache() *ticketCache {
	return &ticketCache{ClientSessionCache: tls.NewLRUClientSessionCache(1), stored: make(chan struct{}, 10)}
}

func (s *ticketCache) Put(key string, state *tls.ClientSessionState) {
	s.ClientSessionCache.Put(key, state)
	if state != nil {
		s.stored <- struct{}{}
	}
}

func (s *ticketCache) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.stored:
	case <-time.After(10 * time.Second):
		t.Fatal("the server gave no ticket")
	}
}

// relay passes datagrams between a client and the site, and remembers the client's.
type relay struct {
	clientSide net.PacketConn
	site       *net.UDPAddr

	mu        sync.Mutex
	recording bool
	recorded  [][]byte
}

func newRelay(t *testing.T, port string) *relay {
	t.Helper()
	site, err := net.ResolveUDPAddr("udp", "127.0.0.1"+port)
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	r := &relay{clientSide: front, site: site}
	go r.run()
	return r
}

func (r *relay) address() string { return r.clientSide.LocalAddr().String() }

func (r *relay) run() {
	backs := make(map[string]*net.UDPConn)
	buf := make([]byte, 64<<10)
	for {
		n, from, err := r.clientSide.ReadFrom(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		if r.recording {
			r.recorded = append(r.recorded, bytes.Clone(buf[:n]))
		}
		r.mu.Unlock()
		back := backs[from.String()]
		if back == nil {
			if back, err = net.DialUDP("udp", nil, r.site); err != nil {
				return
			}
			backs[from.String()] = back
			go func() {
				answer := make([]byte, 64<<10)
				for {
					n, err := back.Read(answer)
					if err != nil {
						return
					}
					_, _ = r.clientSide.WriteTo(answer[:n], from)
				}
			}()
		}
		_, _ = back.Write(buf[:n])
	}
}

// record begins to remember datagrams.
func (r *relay) record() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recording, r.recorded = true, nil
}

// replay sends the datagrams again from other sockets, until the server takes them for a new connection: it remembers for some
// seconds which ones it has closed.
func (r *relay) replay(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	r.recording = false
	datagrams := r.recorded
	r.mu.Unlock()
	if len(datagrams) == 0 {
		t.Fatal("nothing was recorded")
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if answered := r.replayOnce(t, datagrams); answered >= len(datagrams) {
			return
		}
	}
	t.Error("the server took no notice of the replay")
}

// replayOnce returns how many datagrams the server answered with.
func (r *relay) replayOnce(t *testing.T, datagrams [][]byte) (answered int) {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, r.site)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, d := range datagrams {
		if _, err := conn.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := conn.Read(make([]byte, 64<<10)); err != nil {
			return answered
		}
		answered++
	}
}
