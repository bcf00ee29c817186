package socketio_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

// serveRequest sends a request without a network, so that it uses the clock of synctest.
func serveRequest(s http.Handler, method, query, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, "/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body)))
	return w
}

// openSession starts a session and returns its part of the query.
func openSession(t *testing.T, s http.Handler) string {
	t.Helper()
	body := serveRequest(s, "GET", "", "").Body.String()
	_, rest, _ := strings.Cut(body, `"sid":"`)
	sid, _, found := strings.Cut(rest, `"`)
	if !found {
		t.Fatalf("handshake: %s", body)
	}
	return "&sid=" + sid
}

func TestSessionEndsWithoutPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		s := socketio.New(socketio.Options{Disconnected: func(*socketio.Socket) { close(gone) }})
		defer s.Close()
		session, start := openSession(t, s), time.Now()
		serveRequest(s, "POST", session, "40")
		serveRequest(s, "GET", session, "")
		if got, after := serveRequest(s, "GET", session, "").Body.String(), time.Since(start); got != "2" || after != 25*time.Second {
			t.Errorf("%q after %v, want a ping after 25 s", got, after)
		}
		if got, after := serveRequest(s, "GET", session, "").Body.String(), time.Since(start); got != "1" || after != 45*time.Second {
			t.Errorf("%q after %v, want the end of the session after 45 s", got, after)
		}
		<-gone
		if w := serveRequest(s, "GET", session, ""); w.Code != http.StatusBadRequest {
			t.Errorf("a poll after the end: %d, want 400", w.Code)
		}
	})
}

func TestSessionStaysWhileClientPongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := socketio.New(socketio.Options{})
		defer s.Close()
		session, start := openSession(t, s), time.Now()
		for ping := 1; ping <= 10; ping++ {
			got, after := serveRequest(s, "GET", session, "").Body.String(), time.Since(start)
			if want := time.Duration(ping) * 35 * time.Second; got != "2" || after != want-10*time.Second {
				t.Fatalf("%q after %v, want ping %d after %v", got, after, ping, want-10*time.Second)
			}
			time.Sleep(10 * time.Second) // less than PingTimeout
			serveRequest(s, "POST", session, "3")
			synctest.Wait()
		}
	})
}

func TestUnsolicitedPongsDoNotDelayThePing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := socketio.New(socketio.Options{})
		defer s.Close()
		session, start := openSession(t, s), time.Now()
		time.Sleep(20 * time.Second)
		serveRequest(s, "POST", session, "3\x1e3\x1e3")
		serveRequest(s, "GET", session, "")
		if after := time.Since(start); after != 25*time.Second {
			t.Errorf("ping after %v, want 25 s", after)
		}
	})
}

func TestWebSocketIsClosedWithoutPong(t *testing.T) {
	_, c := startServer(t, socketio.Options{PingInterval: 10 * time.Millisecond, PingTimeout: 20 * time.Millisecond})
	w := c.dial()
	w.receive()
	w.expect("2")
	w.send("3")
	w.expect("2")
	if code := w.waitClosed(t.Context()); code != 1001 {
		t.Errorf("closed with code %d, want 1001", code)
	}
}
