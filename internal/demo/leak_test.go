package demo_test

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// leaveSocketsOpen opens WebSockets and never reads from them, so that they answer no close frame.
func leaveSocketsOpen(s *runningDemo) {
	s.dial("bigcapital-server:3000", 0, "/socket/?EIO=4&transport=websocket")
	s.dial("bigcapital-server:3000", 0, "/socket.io/?EIO=4&transport=websocket").send("40")
	s.waitForLog("bigcapital-server-1: socket connected over websocket")
	s.dial("corteza-server:80", 0, "/api/websocket")
	s.waitForLog("corteza-server: socket connected")
}

// leaveRequestsOpen starts one of each kind of request that does not end by itself.
func leaveRequestsOpen(s *runningDemo) {
	sendRaw(s, "GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
	s.waitForLog("bigcapital-server-2: event stream opened")
	sendRaw(s, "POST /api/invoices HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
	sendRaw(s, "") // a connection without a request
	session := decodeSID(s.t, s.get(s.url("bigcapital-server:3000", 1, "/socket/?EIO=4&transport=polling")))
	sendRaw(s, "GET /socket/?EIO=4&transport=polling&sid="+session+" HTTP/1.1\r\nHost: x\r\n\r\n")
}

// sendRaw sends bytes to the second BigCapital server and keeps the connection open.
func sendRaw(s *runningDemo, text string) {
	conn, err := net.Dial("tcp", s.Endpoints()["bigcapital-server:3000"][1])
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		s.t.Fatal(err)
	}
}

// expectNoGoroutines fails the test if goroutines of the demo are left after the given time.
func expectNoGoroutines(t *testing.T, within time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(within); ; runtime.Gosched() {
		left := demoGoroutines()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left:\n\n%s", len(left), strings.Join(left, "\n\n"))
		}
	}
}

// demoGoroutines returns the stacks of the goroutines that belong to the servers of the demo. That of the test itself has
// only functions of package demo_test.
func demoGoroutines() (left []string) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		for _, function := range []string{"/internal/demo.", "/internal/demo/socketio.", "net/http.(*Server)", "net/http.(*conn)"} {
			if strings.Contains(stack, function) {
				left = append(left, stack)
				break
			}
		}
	}
	return left
}
