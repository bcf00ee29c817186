package tunnel_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/theworklabs/edge/internal/tunnel"
)

// remotePeersEnv tells a child process of the benchmark to be clients and endpoints, so that their memory is not counted:
// the listeners' addresses, and whether clients speak TLS.
const remotePeersEnv = "EDGE_TUNNEL_FAR_ENDS"

func TestMain(m *testing.M) {
	if os.Getenv(remotePeersEnv) == "" {
		os.Exit(m.Run())
	}
	if err := runRemotePeers(); err != nil {
		fmt.Fprintln(os.Stderr, "the far ends:", err)
		os.Exit(1)
	}
}

// idleTunnels is how many there are when memory is measured.
const idleTunnels = 1000

// runRemotePeers opens the connections, sends a message through each tunnel and back, says so, and waits to be killed.
func runRemotePeers() error {
	var clientsTo, endpointsTo string
	var secure bool
	if _, err := fmt.Sscan(os.Getenv(remotePeersEnv), &clientsTo, &endpointsTo, &secure); err != nil {
		return err
	}
	for range idleTunnels {
		client, err := net.Dial("tcp", clientsTo)
		if err != nil {
			return err
		}
		if secure {
			client = tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		}
		if _, err := client.Write(frame(final|opText, true, make([]byte, 200))); err != nil {
			return err
		}
		endpoint, err := net.Dial("tcp", endpointsTo)
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(endpoint, make([]byte, 208)); err != nil {
			return err
		}
		if _, err := endpoint.Write(frame(final|opText, false, make([]byte, 200))); err != nil {
			return err
		}
		if _, err := io.ReadFull(client, make([]byte, 204)); err != nil {
			return err
		}
		openConns = append(openConns, client, endpoint)
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// openConns are connections that the garbage collector must not close.
var openConns []net.Conn

// BenchmarkIdle: what a tunnel costs in which nothing moves, after a message went each way. A plain one's stacks are 2 KiB in
// a process that is new (-benchtime 1x -run NONE), and 4 KiB in one that has had many goroutines: Go gives new ones the
// size that others needed (GODEBUG=adaptivestackstart=0 ends that).
func BenchmarkIdle(b *testing.B) {
	for _, secure := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "tls"}[secure], func(b *testing.B) {
			for b.Loop() {
				heap, stacks, goroutines := measureIdle(b, secure)
				b.ReportMetric(heap, "KiB-heap/tunnel")
				b.ReportMetric(stacks, "KiB-stack/tunnel")
				b.ReportMetric(heap+stacks, "KiB/tunnel")
				b.ReportMetric(goroutines, "goroutines/tunnel")
			}
		})
	}
}

func measureIdle(b *testing.B, secure bool) (heap, stacks, goroutines float64) {
	clients, endpoints := listenLocally(b), listenLocally(b)
	ctx := b.Context()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprint(remotePeersEnv, "=", clients.Addr(), " ", endpoints.Addr(), " ", secure))
	child.Stderr = os.Stderr
	in, inErr := child.StdinPipe()
	out, outErr := child.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		b.Fatal(err)
	}
	config := serverTLSConfig(b)
	before, began := memoryInUse(), runtime.NumGoroutine()
	const kib = idleTunnels << 10
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	group := tunnel.NewGroup(tunnel.NewGroup(nil))
	for range idleTunnels {
		ends := tunnel.Config{Client: accept(b, clients), WebSocket: true, Traffic: new(tunnel.Traffic)}
		if secure {
			server := tls.Server(ends.Client, config)
			if err := server.Handshake(); err != nil {
				b.Fatal(err)
			}
			ends.Client = server
		}
		ends.Endpoint = accept(b, endpoints)
		group.Open(ends)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatal(err)
	}
	after := memoryInUse()
	heap = (float64(after.HeapInuse) - float64(before.HeapInuse)) / kib
	stacks = (float64(after.StackInuse) - float64(before.StackInuse)) / kib
	goroutines = float64(runtime.NumGoroutine()-began) / idleTunnels
	in.Close()
	if err := errors.Join(child.Wait(), group.Wait(ctx)); err != nil {
		b.Fatal(err)
	}
	return heap, stacks, goroutines
}

// memoryInUse returns what is in use when the garbage is gone and stacks have shrunk to what they need.
func memoryInUse() (m runtime.MemStats) {
	for range 5 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m
}

func listenLocally(b *testing.B) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	return ln
}

func accept(b *testing.B, ln net.Listener) net.Conn {
	conn, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

// noSpliceConn hides what lets io.Copy leave the work to the kernel, which counts nothing.
type noSpliceConn struct{ net.Conn }

// BenchmarkCopy: one direction at full speed, beside io.Copy with a buffer of the same size, and with splice.
func BenchmarkCopy(b *testing.B) {
	for _, way := range []struct {
		name string
		open func(client, endpoint net.Conn)
	}{
		{"tunnel", func(client, endpoint net.Conn) {
			tunnel.NewGroup(nil).Open(tunnel.Config{Client: client, Endpoint: endpoint, WebSocket: true, Traffic: new(tunnel.Traffic)})
		}},
		{"io.CopyBuffer", func(client, endpoint net.Conn) {
			go func() {
				_, _ = io.CopyBuffer(noSpliceConn{endpoint}, struct{ io.Reader }{client}, make([]byte, 32<<10))
				endpoint.Close()
			}()
		}},
		{"splice", func(client, endpoint net.Conn) {
			go func() { _, _ = io.Copy(endpoint, client); endpoint.Close() }()
		}},
	} {
		for _, secure := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/tls=%v", way.name, secure), func(b *testing.B) { measureCopy(b, secure, way.open) })
		}
	}
}

func measureCopy(b *testing.B, tlsClient bool, open func(client, endpoint net.Conn)) {
	client, near := tcpPair(b)
	endpoint, nearEndpoint := tcpPair(b)
	if tlsClient {
		client, near = asConns(startTLS(b, client, near))
	}
	open(near, nearEndpoint)
	block := frame(final|opBinary, true, make([]byte, 64<<10))
	b.SetBytes(int64(len(block)))
	done := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, struct{ io.Reader }{endpoint})
		done <- n
	}()
	sent := int64(0)
	for b.Loop() {
		n, err := client.Write(block)
		if err != nil {
			b.Fatal(err)
		}
		sent += int64(n)
	}
	client.Close()
	if n := <-done; n != sent {
		b.Errorf("%d bytes arrived, want %d", n, sent)
	}
	endpoint.Close()
}
