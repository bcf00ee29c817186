package tests

import (
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestContainerChangesAreRoutedQuickly measures, EDGE_TEST_DISCOVERIES times (7 by default, about 1 minute), the time from the moment at which a container listens to its first routed
// request, and the time from its end to the moment at which the edge sends it no more requests. In the same moments it measures how
// long it takes to see both without the edge, by a client of the container and by `docker wait`: that is what the machine takes.
func TestContainerChangesAreRoutedQuickly(t *testing.T) {
	times := harness.Count(t, "EDGE_TEST_DISCOVERIES", 7)
	for _, mode := range []struct {
		name, dockerHost string
		bound            time.Duration // of the median, beyond that of the control
	}{
		{"engine", "tcp://docker-guard:2375", 100 * time.Millisecond},
		{"dns", "", 1200 * time.Millisecond},
	} {
		t.Run(mode.name, func(t *testing.T) {
			p := newLab(t, "LAB_DOCKER_HOST="+mode.dockerHost)
			p.WaitReady(t, labService, 1)
			var added, removed, directAdded, directRemoved []time.Duration
			for i := range times {
				edge, control := p.measureDiscovery(t, fmt.Sprintf("probe-%d", i))
				added, removed = append(added, edge.added), append(removed, edge.removed)
				directAdded, directRemoved = append(directAdded, control.added), append(directRemoved, control.removed)
			}
			checkMedian(t, "listening → first routed request", added, directAdded, mode.bound)
			checkMedian(t, "end → no longer ready", removed, directRemoved, mode.bound)
		})
	}
}

// checkMedian fails the test if the median of the times is more than bound above that of the control.
func checkMedian(t *testing.T, what string, times, control []time.Duration, bound time.Duration) {
	t.Helper()
	slices.Sort(times)
	slices.Sort(control)
	middle, last := len(times)/2, len(times)-1
	t.Logf("%s, n = %d: median %s, max %s; without the edge: median %s, max %s", what, len(times), times[middle], times[last], control[middle], control[last])
	if times[middle] > control[middle]+bound {
		t.Errorf("%s: the median is more than %s above that without the edge", what, bound)
	}
}

// discoveryTimes are how long it takes to use a container that has begun to listen, and to notice that it has ended.
type discoveryTimes struct{ added, removed time.Duration }

// measureDiscovery starts a container of the service and kills it again, and returns how long the edge takes to see that, and how
// long it takes without the edge.
func (p *project) measureDiscovery(t *testing.T, name string) (edge, control discoveryTimes) {
	t.Helper()
	id := p.runServiceContainer(t, "api", name, "--env", "BOOT_DELAY=300ms")
	address := harness.MustDocker(t, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id) + ":8080"
	direct := make(chan time.Time, 1)
	go func() { direct <- p.firstAnswer(t, "http://"+address+"/_test/echo", name) }()
	routed, seen := p.firstAnswer(t, labURL, name), <-direct
	if t.Failed() {
		t.FailNow()
	}
	listening := listeningSince(t, id)
	edge.added, control.added = routed.Sub(listening), seen.Sub(listening)

	removed, ended := make(chan time.Time, 1), make(chan time.Time, 1)
	wait := exec.Command("docker", "wait", id)
	if err := wait.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = wait.Wait() // if it fails, docker inspect fails below as well
		ended <- time.Now()
	}()
	go func() {
		for p.hasReadyEndpoint(t, address) {
			time.Sleep(2 * time.Millisecond)
		}
		removed <- time.Now()
	}()
	harness.MustDocker(t, "kill", id)
	edgeSaw, waitSaw := <-removed, <-ended
	end, err := time.Parse(time.RFC3339Nano, harness.MustDocker(t, "inspect", "--format", "{{.State.FinishedAt}}", id))
	if err != nil {
		t.Fatal(err)
	}
	edge.removed, control.removed = max(edgeSaw.Sub(end), 0), max(waitSaw.Sub(end), 0)
	return edge, control
}

// firstAnswer returns when the container answers at a URL for the first time. It fails the test after StateTimeout.
func (p *project) firstAnswer(t *testing.T, url, container string) time.Time {
	client := &http.Client{Timeout: time.Second}
	if url == labURL {
		client = p.Client(true, nil)
	}
	defer client.CloseIdleConnections()
	// The pause of harness.Eventually is longer than what is measured here.
	for began := time.Now(); time.Since(began) < harness.StateTimeout; time.Sleep(2 * time.Millisecond) {
		a, err := harness.Do(client, http.MethodGet, url, nil)
		if err == nil && strings.Contains(a.Body, `"`+container+`"`) {
			return time.Now()
		}
	}
	t.Errorf("%s has not answered at %s within %s", container, url, harness.StateTimeout)
	return time.Now()
}

// hasReadyEndpoint reports whether the edge has a ready endpoint with an address.
func (p *project) hasReadyEndpoint(t *testing.T, address string) bool {
	for _, e := range p.ServiceStatus(t, labService).Endpoints {
		if e.Address == address && e.State == "ready" {
			return true
		}
	}
	return false
}

// listeningSince returns the time at which a container began to listen, from its log.
func listeningSince(t *testing.T, id string) time.Time {
	t.Helper()
	logs := harness.MustDocker(t, "logs", "--timestamps", id)
	for _, line := range strings.Split(logs, "\n") {
		if !strings.Contains(line, "listening") {
			continue
		}
		stamp, _, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	t.Fatalf("the container has not listened: %s", logs)
	return time.Time{}
}
