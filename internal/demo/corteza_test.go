package demo_test

import (
	"strings"
	"testing"
)

func TestCortezaPathsAndStatusCodes(t *testing.T) {
	s := startDemo(t)
	for name, test := range map[string]struct {
		method, path string
		status       int
		want         string
	}{
		"page":         {"GET", "/", 200, "<h1>Corteza (demo)</h1>"},
		"page by HEAD": {"HEAD", "/", 405, ""},
		"health":       {"GET", "/healthcheck", 200, "PASS Primary store"},
		"unknown":      {"GET", "/nothing", 404, ""},
		"no upgrade":   {"GET", "/api/websocket", 426, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.do(test.method, s.url("corteza-server:80", 0, test.path), "")
			if got.status != test.status || !strings.Contains(got.body, test.want) {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
}

func TestCortezaWebSocketSendsStatusAndEchoes(t *testing.T) {
	s := startDemo(t)
	k := s.dial("corteza-server:80", 0, "/api/websocket")
	k.readUntil(`{"@type":"status","server":"corteza-server","time":"`)
	k.send("anything")
	k.readUntil("anything")
	_ = k.conn.CloseNow()
	s.waitForLog("corteza-server: socket closed")
}
