package demo_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/demo"
)

func TestEveryServiceAnswersAtItsEndpoints(t *testing.T) {
	s := startDemo(t)
	for service, want := range map[string]int{
		"bigcapital-server:3000": 2, "bigcapital-webapp:80": 1, "corteza-server:80": 1, "corteza-docs:80": 1,
	} {
		addresses := s.Endpoints()[service]
		if len(addresses) != want {
			t.Errorf("%s has %d endpoints, want %d", service, len(addresses), want)
		}
		for n, address := range addresses {
			if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
				t.Errorf("%s has the address %s, %v, want one on 127.0.0.1", service, address, err)
			}
			if got := s.get(s.url(service, n, "/")).status; got >= 500 {
				t.Errorf("%s answers with status %d", service, got)
			}
		}
	}
}

func TestEndpointsReturnsACopy(t *testing.T) {
	s := startDemo(t)
	s.Endpoints()["corteza-docs:80"][0] = "gone"
	if got := s.Endpoints()["corteza-docs:80"][0]; got == "gone" {
		t.Error("a caller changed the addresses for all callers")
	}
}

func TestLogMayBeNil(t *testing.T) {
	backends, err := demo.Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer backends.Close()
	response, err := http.Get("http://" + backends.Endpoints()["bigcapital-server:3000"][0] + "/socket/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

func TestCloseStopsListenersAndGoroutines(t *testing.T) {
	for name, leaveOpen := range map[string]func(*runningDemo){"sockets": leaveSocketsOpen, "requests": leaveRequestsOpen} {
		t.Run(name, func(t *testing.T) {
			s := startDemo(t)
			leaveOpen(s)
			start := time.Now()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("Close took %v", took)
			}
			// Long enough for a goroutine to return, and shorter than Close waits for its clients.
			expectNoGoroutines(t, 500*time.Millisecond)
			for service, addresses := range s.Endpoints() {
				for _, address := range addresses {
					if conn, err := net.Dial("tcp", address); err == nil {
						conn.Close()
						t.Errorf("%s still listens after Close", service)
					}
				}
			}
			if err := s.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
		})
	}
}

func TestCanceledContextStopsTheServers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	backends, err := demo.Start(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	expectNoGoroutines(t, 5*time.Second) // without a call of Close
	if err := backends.Close(); err != nil {
		t.Error(err)
	}
}
