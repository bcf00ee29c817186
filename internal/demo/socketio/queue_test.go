package socketio_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

func TestClientThatStopsReadingLosesItsSession(t *testing.T) {
	for name, test := range map[string]struct {
		count, size int
		status      int
	}{
		"some packets":     {200, 10, http.StatusOK},
		"too many packets": {300, 10, http.StatusBadRequest},
		"too many bytes":   {9, 1000, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			s := socketio.New(socketio.Options{MaxPayload: 1000})
			defer s.Close()
			session := openSession(t, s)
			serveRequest(s, "POST", session, "40")
			for range test.count {
				if err := s.Broadcast("news", strings.Repeat("x", test.size)); err != nil {
					t.Fatal(err)
				}
			}
			if w := serveRequest(s, "GET", session, ""); w.Code != test.status {
				t.Errorf("poll: %d, want %d", w.Code, test.status)
			}
		})
	}
}
