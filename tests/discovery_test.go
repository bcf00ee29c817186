package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestContainerChangesAreRoutedQuickly measures, 20 times, the time from the moment at which a container listens to its first routed
// request, and the time from its end to the moment at which the edge sends it no more requests.
func TestContainerChangesAreRoutedQuickly(t *testing.T) {
	const times = 20
	for _, mode := range []struct {
		name, endpoint string
		bound          time.Duration // of the median
	}{
		{"engine", "tcp://docker-guard:2375", 100 * time.Millisecond},
		{"dns", "", 1200 * time.Millisecond},
	} {
		t.Run(mode.name, func(t *testing.T) {
			p := newLab(t, "LAB_ENDPOINT="+mode.endpoint)
			p.waitReady(t, labService, 1)
			var added, removed []time.Duration
			for i := range times {
				a, r := p.measureDiscovery(t, fmt.Sprintf("probe-%d", i))
				added, removed = append(added, a), append(removed, r)
			}
			slices.Sort(added)
			slices.Sort(removed)
			t.Logf("%s, n = %d: listening → first routed request: median %s, max %s; end → no longer ready: median %s, max %s",
				mode.name, times, added[times/2], added[times-1], removed[times/2], removed[times-1])
			if added[times/2] > mode.bound || removed[times/2] > mode.bound {
				t.Errorf("a median is above %s", mode.bound)
			}
		})
	}
}

// measureDiscovery starts a container of the service and kills it again. It returns how long the edge takes to use the container,
// and to stop using it.
func (p *project) measureDiscovery(t *testing.T, name string) (added, removed time.Duration) {
	t.Helper()
	client := p.client(true)
	defer client.CloseIdleConnections()
	id := p.runServiceContainer(t, "api", name, "--env", "BOOT_DELAY=300ms")
	var first time.Time
	harness.Eventually(t, name+" gets a request", func() bool {
		// The pause of Eventually is longer than what is measured here.
		for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(time.Millisecond) {
			a, err := p.do(client, http.MethodGet, labURL, nil)
			if err == nil && strings.Contains(a.body, `"`+name+`"`) {
				first = time.Now()
				return true
			}
		}
		return false
	})
	added = first.Sub(listeningSince(t, id))
	address := harness.MustDocker(t, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id) + ":8080"
	done := make(chan time.Time)
	go func() {
		for p.hasReadyEndpoint(t, address) {
		}
		done <- time.Now()
	}()
	harness.MustDocker(t, "kill", id)
	last := <-done
	ended, err := time.Parse(time.RFC3339Nano, harness.MustDocker(t, "inspect", "--format", "{{.State.FinishedAt}}", id))
	if err != nil {
		t.Fatal(err)
	}
	return added, max(last.Sub(ended), 0)
}

// hasReadyEndpoint reports whether the edge has a ready endpoint with an address.
func (p *project) hasReadyEndpoint(t *testing.T, address string) bool {
	for _, e := range p.serviceStatus(t, labService).Endpoints {
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
