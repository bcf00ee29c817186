package handover

import (
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/listeners"
	"github.com/theworklabs/edge/tests/clients"
	"github.com/theworklabs/edge/tests/harness"
)

// replacements returns how often an edge is replaced under load: EDGE_TEST_REPLACEMENTS, by default 3. Each takes about 4 s.
func replacements(t *testing.T) int {
	t.Helper()
	return harness.Count(t, "EDGE_TEST_REPLACEMENTS", 3)
}

// TestASuccessorTakesOver is what `edge rollout edge` does: the successor is ready before the predecessor leaves.
func TestASuccessorTakesOver(t *testing.T) {
	l := newLab(t)
	old := l.startEdge()
	l.waitServing(old)
	if code := old.act(edge.HandoverLeave); code != http.StatusConflict {
		t.Errorf("an edge without a successor leaves: %d", code)
	}
	f := l.startLoad()
	time.Sleep(time.Second)
	for range replacements(t) {
		next := l.startEdge()
		next.waitState(listeners.StateStandby)
		if code := next.act(edge.HandoverTake); code != http.StatusOK {
			t.Fatal(code)
		}
		if code := old.act(edge.HandoverLeave); code != http.StatusOK {
			t.Fatal(code)
		}
		time.Sleep(2 * time.Second)
		old.stop(syscall.SIGTERM)
		old = next
		time.Sleep(time.Second)
	}
	f.Stop(t)
}

// TestAnEdgeIsRestarted is what `docker compose up --force-recreate edge` does: the next edge starts after the end of the last one.
func TestAnEdgeIsRestarted(t *testing.T) {
	l := newLab(t)
	e := l.startEdge()
	l.waitServing(e)
	f := l.startLoad()
	time.Sleep(time.Second)
	for range replacements(t) {
		start := time.Now()
		e.stop(syscall.SIGTERM)
		t.Logf("the edge has ended after %s", time.Since(start).Round(time.Millisecond))
		e = l.startEdge()
		e.waitState(listeners.StateServing)
		time.Sleep(2 * time.Second)
	}
	f.Stop(t)
}

// TestAnEdgeOfSystemdIsRestarted: systemd keeps the sockets.
func TestAnEdgeOfSystemdIsRestarted(t *testing.T) {
	l := newLab(t)
	if err := l.gate.Stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var sockets []*os.File
	for _, port := range []string{l.http, l.https} {
		ln, err := net.Listen("tcp", ":"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		file, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		sockets = append(sockets, file)
	}
	pc, err := net.ListenPacket("udp", ":"+l.https)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	file, err := pc.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sockets = append(sockets, file)

	e := l.startActivated(sockets)
	l.waitServing(e)
	if s, err := e.status(); err != nil || s.Sockets != "systemd" {
		t.Errorf("got %+v, %v", s, err)
	}
	f := l.startLoad()
	time.Sleep(time.Second)
	for range replacements(t) {
		e.stop(syscall.SIGTERM)
		e = l.startActivated(sockets)
		e.waitState(listeners.StateServing)
		time.Sleep(2 * time.Second)
	}
	f.Stop(t)
}

// TestAnEdgeIsKilled: the requests that it had got are lost, at most one of each client; those that had not been sent are not. Over HTTP/3,
// clients notice the end only after their idle timeout, so that they are not part of this.
func TestAnEdgeIsKilled(t *testing.T) {
	l := newLab(t)
	e := l.startEdge()
	l.waitServing(e)
	f := l.startLoad(clients.HTTP3)
	time.Sleep(time.Second)
	for range replacements(t) {
		e.stop(syscall.SIGKILL)
		e = l.startEdge()
		e.waitState(listeners.StateServing)
		time.Sleep(time.Second)
	}
	f.FinishKills(t, replacements(t))
}

// TestASecondEdgeWaitsForItsTurn: it serves when the first one has been killed.
func TestASecondEdgeWaitsForItsTurn(t *testing.T) {
	l := newLab(t)
	first := l.startEdge()
	l.waitServing(first)
	second := l.startEdge()
	second.waitState(listeners.StateStandby)
	first.stop(syscall.SIGKILL)
	l.waitServing(second)
}

// TestEdgesThatStartAtOnce: one of them serves.
func TestEdgesThatStartAtOnce(t *testing.T) {
	l := newLab(t)
	// Caddy's authority for local names can't be made by several processes at once: one of them ends with an error then.
	author := l.startEdge()
	l.waitServing(author)
	author.stop(syscall.SIGKILL)
	edges := []*edgeProcess{l.startEdge(), l.startEdge(), l.startEdge()}
	count := func() map[string]int {
		states := make(map[string]int)
		for _, e := range edges {
			if s, err := e.status(); err == nil {
				states[s.State]++
			}
		}
		return states
	}
	harness.EventuallyWithin(t, 30*time.Second, "one edge serves, and two wait", func() bool {
		states := count()
		return states[listeners.StateServing] == 1 && states[listeners.StateStandby] == 2
	})
	client := clients.All("localhost")[0].New(5 * time.Second)
	defer client.CloseIdleConnections()
	if _, err := clients.Send(client, http.MethodGet, "http://localhost:"+l.http+"/"); err != nil {
		t.Error(err)
	}
}

// TestAStandbyTakesOverFromAnEdgeThatStops: while that finishes a long request, the other one serves already, also over HTTP/3.
func TestAStandbyTakesOverFromAnEdgeThatStops(t *testing.T) {
	l := newLab(t)
	first := l.startEdge()
	l.waitServing(first)
	second := l.startEdge()
	second.waitState(listeners.StateStandby)
	long := make(chan error, 2)
	for _, i := range []int{0, 5} { // HTTP/1.1 and HTTP/3
		kind := clients.All("localhost")[i]
		go func() {
			client := kind.New(30 * time.Second)
			defer client.CloseIdleConnections()
			_, err := clients.Send(client, http.MethodPost, l.url(kind)+"/?wait=5s")
			long <- err
		}()
	}
	time.Sleep(time.Second)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		first.stop(syscall.SIGTERM)
	}()
	second.waitState(listeners.StateServing)
	l.waitServing(second)
	select {
	case <-stopped:
		t.Error("the first edge has not waited for its requests")
	default:
	}
	for range 2 {
		if err := <-long; err != nil {
			t.Errorf("a long request is lost: %v", err)
		}
	}
	<-stopped
}

// TestALeavingEdgeServesAgain when its successor dies.
func TestALeavingEdgeServesAgain(t *testing.T) {
	l := newLab(t)
	first := l.startEdge()
	l.waitServing(first)
	second := l.startEdge()
	second.waitState(listeners.StateStandby)
	if code := first.act(edge.HandoverLeave); code != http.StatusOK {
		t.Fatal(code)
	}
	second.waitState(listeners.StateServing) // the gate has chosen it
	second.stop(syscall.SIGKILL)
	client := clients.All("localhost")[1].New(5 * time.Second)
	if _, err := clients.Send(client, http.MethodGet, "http://localhost:"+l.http+"/"); err != nil {
		t.Error(err)
	}
	first.waitState(listeners.StateLeaving)
	third := l.startEdge()
	l.waitServing(third)
}

// TestTheGateIsRestarted: the edge ends, for its supervisor to start it again.
func TestTheGateIsRestarted(t *testing.T) {
	l := newLab(t)
	e := l.startEdge()
	l.waitServing(e)
	if err := l.gate.Stop(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	harness.EventuallyWithin(t, 30*time.Second, "the edge has ended", e.HasEnded)
	if err := e.Wait(); err != nil {
		t.Errorf("the edge has ended with %v", err)
	}
	l.startGate()
	l.waitServing(l.startEdge())
}

// TestAnEdgeWithoutItsGateDoesNotStart: the error says what to do.
func TestAnEdgeWithoutItsGateDoesNotStart(t *testing.T) {
	l := newLab(t)
	if err := l.gate.Stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	e := l.startEdge()
	if err := e.Wait(); err == nil {
		t.Error("it ends without an error")
	}
	if out := e.Output(); !strings.Contains(out, "EDGE_GATE names its socket: start the gate, or leave EDGE_GATE empty") {
		t.Errorf("it has printed %s", out)
	}
}
