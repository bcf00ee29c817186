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

// remotePeersEnv makes a child process of the benchmark play the clients and endpoints, so that their memory is not
// counted. It holds the listeners' addresses, and whether clients use TLS.
const remotePeersEnv = "EDGE_TUNNEL_REMOTE_PEERS"

func TestMain(m *testing.M) {
	if os.Getenv(remotePeersEnv) == "" {
		os.Exit(m.Run())
	}
	if err := runRemotePeers(); err != nil {
		fmt.Fprintln(os.Stderr, "remote peers:", err)
		os.Exit(1)
	}
}

// idleTunnels is the number of tunnels for which memory is measured.
const idleTunnels = 1000

// runRemotePeers opens the connections, sends a message through each tunnel in both directions, prints "ready", and exits
// when its input is closed.
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

// openConns keeps the garbage collector from closing the connections.
var openConns []net.Conn

// BenchmarkIdle measures the memory of an idle tunnel, after a message was sent in each direction. The stacks of a plain
// one take 2 KiB in a new process (-benchtime 1x -run NONE), and 4 KiB in one that has had many goroutines: Go starts
// goroutines with the stack size that others needed (GODEBUG=adaptivestackstart=0 turns that off).
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
		tunnelConfig := tunnel.Config{Client: accept(b, clients), WebSocket: true, Traffic: new(tunnel.Traffic)}
		if secure {
			server := tls.Server(tunnelConfig.Client, config)
			if err := server.Handshake(); err != nil {
				b.Fatal(err)
			}
			tunnelConfig.Client = server
		}
		tunnelConfig.Endpoint = accept(b, endpoints)
		group.Open(tunnelConfig)
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

// memoryInUse returns the memory in use after garbage collections, which also shrink stacks.
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

// noSpliceConn hides the methods with which io.Copy uses splice, which counts no bytes.
type noSpliceConn struct{ net.Conn }

// BenchmarkCopy measures one direction at full speed, and compares it with io.Copy with a buffer of the same size and with
// splice.
func BenchmarkCopy(b *testing.B) {
	for _, variant := range []struct {
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
			b.Run(fmt.Sprintf("%s/tls=%v", variant.name, secure), func(b *testing.B) { measureCopy(b, secure, variant.open) })
		}
	}
}

func measureCopy(b *testing.B, tlsClient bool, open func(client, endpoint net.Conn)) {
	client, localClient := tcpPair(b)
	endpoint, localEndpoint := tcpPair(b)
	if tlsClient {
		client, localClient = asConns(startTLS(b, client, localClient))
	}
	open(localClient, localEndpoint)
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
