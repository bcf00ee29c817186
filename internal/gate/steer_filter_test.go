//go:build linux

package gate

import (
	"net"
	"testing"
	"time"
)

// TestAProcessThatEndsGetsNoNewConnections: the kernel drops the packets that begin a QUIC connection, of both versions.
func TestAProcessThatEndsGetsNoNewConnections(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := filterPackets(conn.(*net.UDPConn), dropNew); err != nil {
		t.Fatal(err)
	}
	client := dialUDP(t, conn.LocalAddr().String())
	for name, c := range map[string]struct {
		first   byte
		version [4]byte
		isNew   bool
	}{
		"Initial of version 1":       {0xc3, [4]byte{0, 0, 0, 1}, true},
		"Initial of version 2":       {0xd3, [4]byte{0x6b, 0x33, 0x43, 0xcf}, true},
		"0-RTT of version 1":         {0xd3, [4]byte{0, 0, 0, 1}, false},
		"Handshake of version 1":     {0xe3, [4]byte{0, 0, 0, 1}, false},
		"with a short header":        {0x43, [4]byte{1, 2, 3, 4}, false},
		"with another short header":  {0x50, [4]byte{0x6b, 0x33, 0x43, 0xcf}, false},
		"Handshake of version 2":     {0xf3, [4]byte{0x6b, 0x33, 0x43, 0xcf}, false},
		"Retry, which no client has": {0xf0, [4]byte{0, 0, 0, 1}, false},
	} {
		packet := append([]byte{c.first}, append(c.version[:], "rest"...)...)
		if _, err := client.Write(packet); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte("\x40 the next one")); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 100)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, _, err := conn.ReadFrom(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if dropped := buffer[0] != c.first || n != len(packet); dropped != c.isNew {
			t.Errorf("%s: dropped %v", name, dropped)
		}
		if buffer[0] == c.first && n == len(packet) {
			if _, _, err := conn.ReadFrom(buffer); err != nil { // the next one
				t.Fatal(err)
			}
		}
	}
}
