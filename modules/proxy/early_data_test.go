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

// TestReplayedEarlyDataExecutesNoPOST: an attacker can record the datagrams of a resumed connection and send them again.
func TestReplayedEarlyDataExecutesNoPOST(t *testing.T) {
	var executed, safe atomic.Int32
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			executed.Add(1)
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
		if resumed {
			relay.hold()
		}
		conn, err := quic.DialAddrEarly(t.Context(), relay.address(), config, &quic.Config{TokenStore: quic.NewLRUTokenStore(1, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseWithError(0, "")
		stream, err := sendEarly(conn, method)
		if err != nil {
			t.Fatal(err)
		}
		relay.release()
		if status, err = readStatus(stream); err != nil {
			t.Fatal(err)
		}
		relay.stopRecording() // an attacker leaves out the end of the connection, which can be readable before the handshake is done
		if resumed && !conn.ConnectionState().Used0RTT {
			t.Fatalf("%s: the client sent no early data", method)
		}
		return status
	}
	if status := early("GET"); status != "200" { // the first connection gets a ticket
		t.Fatal(status)
	}
	config.ClientSessionCache.(*ticketCache).wait(t)
	resumed = true
	// On a busy machine, the client can send the request after the handshake: then it is not early.
	isEarly := false
	for try := 0; try < 20 && !isEarly; try++ {
		executed.Store(0)
		relay.record()
		isEarly = early("POST") == "425"
	}
	if !isEarly || executed.Load() != 0 {
		t.Fatalf("a POST in early data got 425: %t, and was executed %d times", isEarly, executed.Load())
	}
	relay.replay(t)
	if n := executed.Load(); n != 0 {
		t.Errorf("the backend executed the POST %d times, want 0", n)
	}
	for try := 0; try < 20 && safe.Load() == 0; try++ {
		if status := early("GET"); status != "200" {
			t.Fatalf("a GET in early data: got %s, want 200", status)
		}
	}
	if safe.Load() == 0 {
		t.Error("no GET in early data reached the backend with Early-Data")
	}
}

// sendEarly sends one request on a new QUIC connection, in early data if possible, and returns its stream. quic-go has a data race
// between the handshake and the opening of streams: the relay holds back the server's datagrams meanwhile.
func sendEarly(conn *quic.Conn, method string) (*quic.Stream, error) {
	control, err := conn.OpenUniStream()
	if err != nil {
		return nil, err
	}
	if _, err := control.Write([]byte{0, 4, 0}); err != nil { // a control stream with empty settings (RFC 9114 section 6.2.1)
		return nil, err
	}
	stream, err := conn.OpenStream()
	if err != nil {
		return nil, err
	}
	var head bytes.Buffer
	encoder := qpack.NewEncoder(&head)
	for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/pay"}} {
		if err := encoder.WriteField(qpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return nil, err
		}
	}
	frame := append(quicvarint.Append([]byte{1}, uint64(head.Len())), head.Bytes()...) // HEADERS
	if _, err := stream.Write(frame); err != nil {
		return nil, err
	}
	if err := stream.Close(); err != nil {
		return nil, err
	}
	return stream, nil
}

// readStatus reads the head of a response and returns its status.
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

// ticketCache is a client's cache of session tickets that signals when it has one.
type ticketCache struct {
	tls.ClientSessionCache
	stored chan struct{}
}

func newTicketCache() *ticketCache {
	return &ticketCache{ClientSessionCache: tls.NewLRUClientSessionCache(1), stored: make(chan struct{}, 10)}
}

func (c *ticketCache) Put(key string, state *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, state)
	if state != nil {
		c.stored <- struct{}{}
	}
}

func (c *ticketCache) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.stored:
	case <-time.After(10 * time.Second):
		t.Fatal("the server sent no ticket")
	}
}

// relay forwards datagrams between a client and the site, and records those of the client.
type relay struct {
	clientSide net.PacketConn
	site       *net.UDPAddr

	mu        sync.Mutex
	recording bool
	recorded  [][]byte
	held      chan struct{} // closed to let the site's datagrams pass; nil: they pass
}

func newRelay(t *testing.T, port string) *relay {
	t.Helper()
	site, err := net.ResolveUDPAddr("udp", "127.0.0.1"+port)
	if err != nil {
		t.Fatal(err)
	}
	clientSide, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { clientSide.Close() })
	r := &relay{clientSide: clientSide, site: site}
	go r.run()
	return r
}

func (r *relay) address() string { return r.clientSide.LocalAddr().String() }

func (r *relay) run() {
	siteSides := make(map[string]*net.UDPConn)
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
		siteSide := siteSides[from.String()]
		if siteSide == nil {
			if siteSide, err = net.DialUDP("udp", nil, r.site); err != nil {
				return
			}
			siteSides[from.String()] = siteSide
			go func() {
				response := make([]byte, 64<<10)
				for {
					n, err := siteSide.Read(response)
					if err != nil {
						return
					}
					r.waitForRelease()
					_, _ = r.clientSide.WriteTo(response[:n], from)
				}
			}()
		}
		_, _ = siteSide.Write(buf[:n])
	}
}

// hold keeps back the site's datagrams until release.
func (r *relay) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = make(chan struct{})
}

func (r *relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held != nil {
		close(r.held)
		r.held = nil
	}
}

func (r *relay) waitForRelease() {
	r.mu.Lock()
	held := r.held
	r.mu.Unlock()
	if held != nil {
		<-held
	}
}

// record begins to record datagrams.
func (r *relay) record() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recording, r.recorded = true, nil
}

func (r *relay) stopRecording() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recording = false
}

// replay sends the datagrams again from another socket, until the server takes them for a new connection: it remembers for some
// seconds which connections it has closed.
func (r *relay) replay(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	datagrams := r.recorded
	r.mu.Unlock()
	if len(datagrams) == 0 {
		t.Fatal("the relay has recorded no datagram")
	}
	conn, err := net.DialUDP("udp", nil, r.site)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		for _, d := range datagrams {
			if _, err := conn.Write(d); err != nil {
				t.Fatal(err)
			}
		}
		if isHandshakeAnswered(t, conn) {
			return
		}
	}
	t.Error("the server did not accept the replay")
}

// isHandshakeAnswered reads until the server is silent for a second, and reports whether it has answered with an Initial packet
// (RFC 9000, section 17.2.2) in a datagram of at least 1,200 bytes, as it does for a new connection.
func isHandshakeAnswered(t *testing.T, conn *net.UDPConn) (isAnswered bool) {
	t.Helper()
	for packet := make([]byte, 64<<10); ; {
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(packet)
		if err != nil {
			return isAnswered
		}
		const initial = 0b1100_0000
		isAnswered = isAnswered || n >= 1200 && packet[0]&0b1111_0000 == initial
	}
}
