package tests

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/clients"
	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// TestManyRolloutsOfTheEdge replaces the edge EDGE_TEST_ROLLOUTS times, under all kinds of traffic at once: requests, uploads and downloads that take longer
// than the rollout, requests that wait for a container, and WebSockets. It reports what is lost, and what gate and edges need. A rollout takes about 45 s.
// `make edge-rollouts` runs it.
func TestManyRolloutsOfTheEdge(t *testing.T) {
	if os.Getenv("EDGE_TEST_ROLLOUTS") == "" {
		t.Skip("a target of its own: make edge-rollouts")
	}
	s := newHTTPSStack(t, "many")
	s.write(t, "front/Caddyfile", strings.ReplaceAll(bothCaddyfile, "shop/web", s.shop.Name+"/web")+
		"http://later.localhost, https://later.localhost {\n\tsanitize_request\n\tedge_proxy "+s.shop.Name+"/later:8080\n}\n")
	s.MustCompose(t, "up", "--detach", "--wait")
	s.startShop(t)
	s.runLater(t)
	s.WaitForStatus(t, "http://later.localhost/_test/echo", http.StatusOK)

	usage := s.watchUsage(t)
	load := s.startLoad(t)
	codes := make(map[int]int)
	opened := 0
	rollouts := harness.Count(t, "EDGE_TEST_ROLLOUTS", 1)
	for i := range rollouts {
		group, err := sockets.Open(t.Context(), sockets.Target{Address: "127.0.0.1:" + s.HTTP, Host: "shop.localhost", Path: "/_test/websocket"}, 500)
		if err != nil {
			t.Fatal(err)
		}
		harness.MustDocker(t, "stop", "--time", "1", s.Name+"-later")
		transfers := s.startTransfers(t, 30*time.Second)
		waiting := s.startWaiting(t, "later.localhost")
		time.Sleep(time.Second)
		began := time.Now()
		returned := make(chan bool)
		go func() {
			defer close(returned)
			time.Sleep(10 * time.Second) // the new edge serves
			harness.MustDocker(t, "start", s.Name+"-later")
		}()
		out := s.rollOutEdge(t, "--drain-timeout", "60s")
		took := time.Since(began)
		<-returned
		waiting.Wait()
		transfers.Wait()
		tally := group.Count(began, 5*time.Second)
		group.Close()
		opened += tally.Opened
		for code, n := range tally.Codes {
			codes[code] += n
		}
		if !strings.Contains(out, "has taken over from") || tally.Alive > 0 {
			t.Errorf("rollout %d: %d WebSockets are still open; it printed\n%s", i+1, tally.Alive, out)
		}
		t.Logf("rollout %d took %s, the WebSockets ended with %v", i+1, took.Round(time.Second), tally.Codes)
	}
	load.Stop(t)
	usage.report(t)
	t.Logf("%d rollouts; %d WebSockets ended with the codes %v", rollouts, opened, codes)
	if codes[1001] != opened {
		t.Errorf("%d of %d WebSockets ended with the code 1001", codes[1001], opened)
	}
}

// runLater starts the container that requests wait for while it is stopped.
func (s *ownStack) runLater(t *testing.T) {
	t.Cleanup(func() { harness.MustDocker(t, "rm", "--force", s.Name+"-later") })
	harness.MustDocker(t, "run", "--detach", "--name", s.Name+"-later", "--network", s.network, "--network-alias", "later",
		"--label", "com.docker.compose.project="+s.shop.Name, "--label", "com.docker.compose.service=later",
		"--label", "com.docker.compose.container-number=1", "--label", "com.docker.compose.oneoff=False",
		"--env", "PORT=8080", "--env", "NAME=later", "edge-test/generic:test")
}

// startWaiting sends a GET and a POST of each kind of client to a service whose container is stopped.
func (s *ownStack) startWaiting(t *testing.T, host string) *sync.WaitGroup {
	var group sync.WaitGroup
	for _, kind := range clients.All(host) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			group.Go(func() {
				client := kind.New(time.Minute)
				defer client.CloseIdleConnections()
				if _, err := clients.Send(client, method, strings.Replace(s.url(kind, "echo"), "shop.localhost", host, 1)); err != nil {
					t.Errorf("%s over %s waits, and fails: %v", method, kind.Name, err)
				}
			})
		}
	}
	return &group
}

// startTransfers begins an upload and a download with each kind of client.
func (s *ownStack) startTransfers(t *testing.T, duration time.Duration) *sync.WaitGroup {
	const interval = 100 * time.Millisecond
	pieces := int(duration / interval)
	var group sync.WaitGroup
	for _, kind := range clients.All("shop.localhost") {
		group.Go(func() {
			client := kind.New(2 * time.Minute)
			defer client.CloseIdleConnections()
			body, writer := io.Pipe()
			go func() {
				for range pieces {
					_, _ = writer.Write(make([]byte, 1000))
					time.Sleep(interval)
				}
				_ = writer.Close()
			}()
			resp, err := client.Post(s.url(kind, "upload"), "application/octet-stream", body)
			if err != nil {
				t.Errorf("an upload over %s: %v", kind.Name, err)
				return
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), fmt.Sprintf(`"bytes":%d`, pieces*1000)) {
				t.Errorf("an upload over %s: %s %v", kind.Name, text, err)
			}
		})
		group.Go(func() {
			client := kind.New(2 * time.Minute)
			defer client.CloseIdleConnections()
			text, err := clients.Send(client, http.MethodGet, s.url(kind, fmt.Sprintf("events?interval=%s&count=%d", interval, pieces)))
			if err != nil || !strings.HasSuffix(text, fmt.Sprintf("data: %d\n\n", pieces)) {
				t.Errorf("a download over %s: %d bytes, %v", kind.Name, len(text), err)
			}
		})
	}
	return &group
}

// usage is the most that the containers of gate and edges have needed at a time.
type usage struct {
	stop   func()
	memory map[string]int64   // bytes, by what the container is
	cpu    map[string]float64 // percent of a core
}

// watchUsage looks at the containers until report is called. The edge that was started last is the new one, while there are two.
func (s *ownStack) watchUsage(t *testing.T) *usage {
	u := &usage{memory: make(map[string]int64), cpu: make(map[string]float64)}
	end, done := make(chan bool), make(chan bool)
	u.stop = func() {
		close(end)
		<-done
	}
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			default:
				u.look(t, s)
			}
		}
	}()
	return u
}

func (u *usage) look(t *testing.T, s *ownStack) {
	edges, err := harness.RunDocker(t.Context(), "ps", "--quiet", "--filter", "label=com.docker.compose.project="+s.Name, "--filter", "label=com.docker.compose.service=edge")
	gate, gateErr := harness.RunDocker(t.Context(), "ps", "--quiet", "--filter", "label=com.docker.compose.project="+s.Name, "--filter", "label=com.docker.compose.service=gate")
	ids := append(strings.Fields(edges), strings.Fields(gate)...) // the newest first
	if err != nil || gateErr != nil || len(ids) < 2 {
		return
	}
	out, err := harness.RunDocker(t.Context(), append([]string{"stats", "--no-stream", "--format", "{{.ID}} {{.MemUsage}} {{.CPUPerc}}"}, ids...)...)
	if err != nil {
		return // one of them is gone
	}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line) // ID, memory, /, limit, CPU
		if len(fields) != 5 {
			continue
		}
		memory, ok := parseSize(fields[1])
		if !ok {
			continue
		}
		what := "the edge"
		switch {
		case strings.HasPrefix(gate, fields[0]):
			what = "the gate"
		case len(ids) == 3 && fields[0] == ids[0]:
			what = "the new edge, while there are two"
		case len(ids) == 3:
			what = "the old edge, while there are two"
		}
		cpu, _ := strconv.ParseFloat(strings.TrimSuffix(fields[4], "%"), 64)
		u.memory[what], u.cpu[what] = max(u.memory[what], memory), max(u.cpu[what], cpu)
	}
}

func (u *usage) report(t *testing.T) {
	t.Helper()
	u.stop()
	for _, what := range slices.Sorted(maps.Keys(u.memory)) {
		t.Logf("%s: at most %.1f MiB, and %.0f %% of a core", what, float64(u.memory[what])/(1<<20), u.cpu[what])
	}
}
