//go:build linux

package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
)

func TestConnectionsWaitForTheNextProcess(t *testing.T) {
	g := startGate(t, "127.0.0.1")
	expect := func(client net.Conn, want string) {
		t.Helper()
		_ = client.SetDeadline(time.Now().Add(10 * time.Second))
		if got, err := io.ReadAll(client); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	dial := func() net.Conn {
		t.Helper()
		client, err := net.Dial("tcp", g.tcp)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return client
	}

	early := dial() // nobody has asked for the sockets yet
	first := g.ask(t)
	ln := listener(t, first, g.tcp)
	answer(t, ln, "first")
	expect(early, "first")

	_ = ln.Close()
	_ = first.Close()
	waiting := dial()
	second := g.ask(t)
	next := listener(t, second, g.tcp)
	answer(t, next, "second")
	expect(waiting, "second")
}

func TestThePacketsOfAClientStayWithItsProcess(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			g := startGate(t, host)
			old, next := g.ask(t), g.ask(t)
			oldConn, nextConn := packetConn(t, old, g.udp), packetConn(t, next, g.udp)
			kept, other := dialUDP(t, g.udp), dialUDP(t, g.udp)

			// The successor is there and serves, and gets nothing yet.
			serve(t, old)
			serve(t, next)
			for i := range 20 {
				expectPacket(t, kept, oldConn, fmt.Sprint("a", i))
				expectPacket(t, other, oldConn, fmt.Sprint("b", i))
			}
			address := netip.MustParseAddrPort(kept.LocalAddr().String())
			leave(t, old, append(neighbours(address), address)...)
			for i := range 20 {
				expectPacket(t, kept, oldConn, fmt.Sprint("c", i))
				expectPacket(t, other, nextConn, fmt.Sprint("d", i))
			}
			// The old process ends.
			_ = oldConn.Close()
			_ = old.Close()
			within(t, "one asker is left", func() bool { return next.Askers() == 1 })
			expectPacket(t, kept, nextConn, "e")
			expectPacket(t, other, nextConn, "f")

			// The next one gets the socket that is free, and the packets when it is alone.
			third := g.ask(t)
			serve(t, third)
			thirdConn := packetConn(t, third, g.udp)
			expectPacket(t, other, nextConn, "g")
			_ = nextConn.Close()
			_ = next.Close()
			within(t, "one asker is left", func() bool { return third.Askers() == 1 })
			expectPacket(t, kept, thirdConn, "h")

			// It ends, and there is no successor yet: it keeps its clients, and nobody gets the packets of others.
			leave(t, third, address)
			expectPacket(t, kept, thirdConn, "i")
			if _, err := io.WriteString(other, "lost"); err != nil {
				t.Fatal(err)
			}
			expectPacket(t, kept, thirdConn, "j")
			_ = thirdConn.Close()
			_ = third.Close()
			within(t, "no asker is left", func() bool { return g.countLeases() == 0 })
			fourth := g.ask(t)
			if _, err := io.WriteString(other, "lost, since it does not serve"); err != nil {
				t.Fatal(err)
			}
			serve(t, fourth)
			expectPacket(t, other, packetConn(t, fourth, g.udp), "k")
		})
	}
}

// TestTheGateChoosesWhoServes: exactly one process does, unless a second one takes over.
func TestTheGateChoosesWhoServes(t *testing.T) {
	g := startGate(t, "127.0.0.1")
	a, b, c := g.ask(t), g.ask(t), g.ask(t)
	expect := func(roles ...Role) {
		t.Helper()
		for i, l := range []*Lease{a, b, c} {
			if i < len(roles) {
				hasRole(t, l, roles[i])
			}
		}
	}
	expect(Starting, Starting, Starting)
	b.SayReady() // the first that is ready
	expect(Starting, Serving, Starting)
	a.SayReady()
	c.SayReady()
	expect(Ready, Serving, Ready)
	b.SayReady() // again
	b.SayLeave()
	expect(Serving, Leaving, Ready) // the oldest of two
	b.SayTake()                     // it stays
	expect(Serving, Serving, Ready)
	b.SayLeave()
	a.SayLeave()
	expect(Leaving, Leaving, Serving)
	c.SayLeave()
	expect(Leaving, Leaving, Leaving) // nobody is left
	_ = c.Close()
	c = g.ask(t)
	c.SayReady()
	expect(Leaving, Leaving, Serving)
	_ = a.Close()
	_ = b.Close()
	a, b = g.ask(t), g.ask(t)
	a.SayReady()
	b.SayReady()
	expect(Ready, Ready)
	_ = c.Close() // it is killed
	expect(Serving, Ready)
	b.SayLeave() // one that does not serve
	expect(Serving, Starting)
	if _, err := b.conn.Write([]byte{'?'}); err != nil { // of another version
		t.Fatal(err)
	}
	b.SayReady()
	expect(Serving, Ready)
}

// TestProcessesThatStartAtOnceDoNotWaitForEachOther many times.
func TestProcessesThatStartAtOnceDoNotWaitForEachOther(t *testing.T) {
	g := startGate(t, "127.0.0.1")
	for range 50 {
		leases := []*Lease{g.ask(t), g.ask(t), g.ask(t)}
		for _, l := range leases {
			go l.SayReady()
		}
		within(t, "one serves, and two are ready", func() bool {
			count := make(map[Role]int)
			for _, l := range leases {
				count[l.Role()]++
			}
			return count[Serving] == 1 && count[Ready] == 2
		})
		for _, l := range leases {
			_ = l.Close()
		}
		within(t, "all have gone", func() bool { return g.countLeases() == 0 })
	}
}

// neighbours returns more clients than one chunk of a filter has, but not those of the test's.
func neighbours(of netip.AddrPort) []netip.AddrPort {
	var all []netip.AddrPort
	for i := range 3 * chunk {
		all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), of.Port()))
	}
	return all
}

// TestTheFilterFollowsTheSuccessor: the successor ends, and a third process becomes it.
func TestTheFilterFollowsTheSuccessor(t *testing.T) {
	g := startGate(t, "127.0.0.1")
	old, failed := g.ask(t), g.ask(t)
	client := dialUDP(t, g.udp)
	serve(t, old)
	serve(t, failed)
	leave(t, old)
	expectPacket(t, client, packetConn(t, failed, g.udp), "a")
	_ = failed.Close()
	within(t, "one asker is left", func() bool { return old.Askers() == 1 })
	idle, next := g.ask(t), g.ask(t)
	serve(t, next)
	newest := g.ask(t) // and serves nobody yet, as idle does
	within(t, "the old process knows of it", func() bool { return old.Askers() == 4 && old.Others(Serving) })
	expectPacket(t, client, packetConn(t, next, g.udp), "b")
	// One that does not serve has no say when it ends.
	idle.SayLeave()
	_ = newest.Close()
	within(t, "it has ended", func() bool { return old.Askers() == 3 })
	expectPacket(t, client, packetConn(t, next, g.udp), "c")
}

func TestMoreClientsThanAFilterHasRoomFor(t *testing.T) {
	g := startGate(t, "127.0.0.1")
	old := g.ask(t)
	serve(t, old)
	var clients []netip.AddrPort
	for i := range maxClients + 7 {
		clients = append(clients, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1))
	}
	err := old.KeepClients(func() []netip.AddrPort { return clients })
	if err == nil || !strings.Contains(err.Error(), "QUIC connections end") {
		t.Errorf("got error %v", err)
	}
}

func TestWhoGetsNoSockets(t *testing.T) {
	g := startGate(t, "127.0.0.1")
	for range maxAskers {
		g.ask(t)
	}
	if _, err := Ask(t.Context(), g.path); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no more may") {
		t.Errorf("one asker too many: %v", err)
	}
	for name, text := range map[string]string{"an unknown question": "X", "a long question": "SS", "garbage": strings.Repeat("GET / HTTP/1.1\r\n", 200)} {
		conn, err := net.Dial("unixpacket", g.path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, _, err := receive(conn.(*net.UnixConn)); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		_ = conn.Close()
	}
	silent, err := net.Dial("unixpacket", g.path)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_ = silent.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := silent.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who asks nothing gets %d bytes, %v", n, err)
	}
	if err := Health(t.Context(), g.path); err != nil {
		t.Error(err)
	}
}

func TestAnotherUserGetsNothing(t *testing.T) {
	g := startGate(t, "127.0.0.1")
	g.stop()
	g.user++
	g.start(t)
	if _, err := Ask(t.Context(), g.path); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the asker is user") {
		t.Errorf("the sockets: %v", err)
	}
	if err := Health(t.Context(), g.path); !errors.Is(err, ErrRefused) {
		t.Errorf("its health: %v", err)
	}
}

func TestAThousandAskers(t *testing.T) {
	g := startGate(t, "127.0.0.1")
	first := g.ask(t)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 50)
	for i := range 1000 {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			switch i % 3 {
			case 0:
				if l, err := Ask(context.Background(), g.path); err == nil {
					_ = l.Close()
				} else if !errors.Is(err, ErrRefused) {
					t.Error(err)
				}
			case 1:
				if err := Health(context.Background(), g.path); err != nil {
					t.Error(err)
				}
			default: // goes away at once
				if conn, err := net.Dial("unixpacket", g.path); err == nil {
					_ = conn.Close()
				}
			}
		})
	}
	wg.Wait()
	within(t, "one asker is left", func() bool { return g.countLeases() == 1 })
	serve(t, first)
	client := dialUDP(t, g.udp)
	expectPacket(t, client, packetConn(t, first, g.udp), "the first one has the packets")
	for _, s := range g.sockets {
		if s.udp != nil && len(s.udp.members) > maxAskers+1 {
			t.Errorf("the gate has %d sockets for %s", len(s.udp.members), s.address)
		}
	}
}

func TestALeaseEndsWithItsGate(t *testing.T) {
	g := startGate(t, "127.0.0.1")
	l := g.ask(t)
	g.stop()
	select {
	case <-l.Ended():
	case <-time.After(10 * time.Second):
		t.Fatal("the lease does not end")
	}
	// The socket of a gate that was killed stays behind.
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: g.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
	if _, err := Ask(t.Context(), g.path); err == nil {
		t.Error("there is no gate, and no error")
	}
	_ = l.Close() // as long as one process has the sockets, their addresses are in use
	g.start(t)
	g.ask(t)
}

func TestGatesThatDoNotOpen(t *testing.T) {
	g := startGate(t, "127.0.0.1")
	open := func(path string, addresses ...Address) error {
		s, err := Open(t.Context(), path, addresses, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err == nil {
			s.close()
		}
		return err
	}
	free := Address{"tcp", testport.Address(t)}
	shared := filepath.Join(privateDir(t), "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"the address is taken":         {open(filepath.Join(privateDir(t), "s"), Address{"tcp", g.tcp}), "address already in use"},
		"another gate has the path":    {open(g.path, free), "another gate serves it"},
		"others can use the directory": {open(filepath.Join(shared, "s"), free), "must belong to user"},
		"there is no directory":        {open(filepath.Join(shared, "none", "s"), free), "the directory of the gate's socket"},
		"no address":                   {open(filepath.Join(privateDir(t), "s")), "name at least one address"},
		"too many addresses":           {open(filepath.Join(privateDir(t), "s"), make([]Address, maxSockets+1)...), "at most 64"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: got error %v, want %q", name, test.err, test.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{":443": "tcp/:443", "udp/:443": "udp/:443", "tcp/127.0.0.1:80": "tcp/127.0.0.1:80", "udp/[::1]:443": "udp/[::1]:443"} {
		if got, err := ParseAddress(text); err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "443", ":", ":0", ":99999", "unix//run/x", "sctp/:443", "example.com:443", ":80-90"} {
		if got, err := ParseAddress(text); err == nil {
			t.Errorf("%q: got %s", text, got)
		}
	}
}
