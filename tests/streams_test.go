package tests

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/socketio"
)

// zeros is a reader of zeros, n bytes.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// edgeMemory returns the memory of the edge's container in bytes, without the page cache, as `docker stats` counts it.
func edgeMemory(t *testing.T, p *project) int64 {
	t.Helper()
	text := harness.MustDocker(t, "stats", "--no-stream", "--format", "{{.MemUsage}}", p.container(t, "edge"))
	used, _, _ := strings.Cut(text, " /")
	n, ok := parseSize(used)
	if !ok {
		t.Fatalf("docker stats printed %q", text)
	}
	return n
}

// parseSize returns the bytes of a size as `docker stats` prints it, such as 1.5MiB; false if it is none: a container that has just ended has 0B, or --.
func parseSize(text string) (int64, bool) {
	for unit, factor := range map[string]float64{"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseFloat(number, 64)
			return int64(n * factor), err == nil
		}
	}
	return 0, false
}

// TestLargeBodiesStream uploads and downloads 200 MB. The edge's memory must not grow with the size.
func TestLargeBodiesStream(t *testing.T) {
	p := readyStack(t)
	const size = 200 << 20
	const maxGrowth = 48 << 20 // for buffers and garbage, but not for the body
	before := edgeMemory(t, p)
	peak := before
	stop, sampled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sampled)
		for {
			select {
			case <-stop:
				return
			default:
				peak = max(peak, edgeMemory(t, p))
			}
		}
	}()

	began := time.Now()
	a, err := harness.Do(p.Client(true, nil), http.MethodPost, accounting+"/api/upload", zeros(size))
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("upload: %v %d %s", err, a.Status, a.Body)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, zeros(size)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(a.Body, hex.EncodeToString(hash.Sum(nil))) {
		t.Errorf("the backend has got a different body: %s", a.Body)
	}
	up := time.Since(began)

	began = time.Now()
	resp, err := p.Client(true, nil).Get(accounting + "/api/download?bytes=" + strconv.Itoa(size))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n != size {
		t.Fatalf("download: %d bytes, %v", n, err)
	}
	close(stop)
	<-sampled
	t.Logf("200 MB up in %s, down in %s; memory %d MiB before, at most %d MiB", up, time.Since(began), before>>20, peak>>20)
	if peak-before > maxGrowth {
		t.Errorf("the edge's memory grows by %d MiB, want at most %d", (peak-before)>>20, maxGrowth>>20)
	}
}

func TestABodyAboveTheLimitGets413(t *testing.T) {
	p := readyStack(t)
	// The request has no Content-Length: the edge reaches the limit while it forwards the body. (tests/attacks has the other case.)
	a, err := harness.Do(p.Client(false, nil), http.MethodPost, accounting+"/api/upload", zeros(520<<20))
	if err != nil || a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("520 MiB to BigCapital: %v %d, want 413", err, a.Status)
	}
	body := `{"x":"` + strings.Repeat("x", 101<<10) + `"}`
	a, err = harness.Do(p.Client(false, nil), http.MethodPost, accounting+"/api/json", strings.NewReader(body), "Content-Type", "application/json")
	if err != nil || a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("101 kB of JSON: %v %d, want the application's own 413", err, a.Status)
	}
}

func TestServerSentEventsArriveOneByOne(t *testing.T) {
	p := readyStack(t)
	for _, encoding := range []string{"identity", "gzip"} {
		req, err := http.NewRequest(http.MethodGet, accounting+"/api/events?interval=300ms&count=4", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", encoding)
		resp, err := p.Client(false, nil).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got := resp.Header.Get("Content-Encoding"); got != "" {
			t.Errorf("the edge encodes events with %s", got)
		}
		var times []time.Time
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "data:") {
				times = append(times, time.Now())
			}
		}
		if len(times) != 4 {
			t.Fatalf("%d events, want 4", len(times))
		}
		if spread := times[3].Sub(times[0]); spread < 700*time.Millisecond {
			t.Errorf("4 events that are sent every 300 ms arrive within %s: the edge buffers them", spread)
		}
	}
}

// TestSlowResponseIsNotCutOff waits for a response, as for a large PDF: 65 s, longer than the default timeout of most proxies; in the long form, 130 s.
func TestSlowResponseIsNotCutOff(t *testing.T) {
	p := readyStack(t)
	wait := 65 * time.Second
	if harness.IsLong() {
		wait = 130 * time.Second
	}
	began := time.Now()
	ended := make(chan error, 1)
	go func() {
		a, err := harness.Do(p.Client(false, nil), http.MethodGet, fmt.Sprintf("%s/api/slow?d=%.0fs", accounting, wait.Seconds()), nil)
		if err == nil && a.Status != http.StatusOK {
			err = fmt.Errorf("status %d", a.Status)
		}
		if took := time.Since(began); err == nil && took < wait {
			err = errors.New("the application has not sent the response yet")
		}
		if err != nil {
			err = fmt.Errorf("after %s: %w", time.Since(began), err)
		}
		ended <- err
	}()
	t.Parallel() // it waits beside the other tests, also beside those that are not parallel
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// TestSocketIOEchoesOverEveryTransport runs the real client from npm on both paths, over polling and WebSocket.
func TestSocketIOEchoesOverEveryTransport(t *testing.T) {
	p := readyStack(t)
	for _, path := range []string{"/socket", "/socket.io"} {
		for _, transports := range []string{"polling", "websocket", "polling,websocket"} {
			client := socketio.EchoOptions{URL: accounting + ":" + p.HTTPS, Path: path, Transports: transports, Messages: 20}
			if err := socketio.Echo(client); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCortezasWebSocketEchoes(t *testing.T) {
	p := readyStack(t)
	if err := echoOverWebSocket(t, p, "wss://crm.localhost/api/websocket", 20); err != nil {
		t.Error(err)
	}
}

// testMessage is a message that a test sends.
func testMessage(i int) string { return fmt.Sprintf("message %d", i) }
