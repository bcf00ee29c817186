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

// TestContainerChangesAreRoutedQuickly measures, 20 times, from the moment a container listens to its first routed
// request, and from its end to the moment it is no longer given any.
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
			var found, left []time.Duration
			for i := range times {
				f, l := p.measureDiscovery(t, fmt.Sprintf("probe-%d", i))
				found, left = append(found, f), append(left, l)
			}
			slices.Sort(found)
			slices.Sort(left)
			t.Logf("%s, n = %d: listening → first routed request: median %s, max %s; end → last attempt: median %s, max %s",
				mode.name, times, found[times/2], found[times-1], left[times/2], left[times-1])
			if found[times/2] > mode.bound || left[times/2] > mode.bound {
				t.Errorf("a median is above %s", mode.bound)
			}
		})
	}
}

// measureDiscovery starts a container of the service and kills it again.
func (p *project) measureDiscovery(t *testing.T, name string) (found, left time.Duration) {
	t.Helper()
	client := p.client(true)
	defer client.CloseIdleConnections()
	id := p.runServiceContainer(t, "api", name, "--env", "BOOT_DELAY=300ms")
	var first time.Time
	harness.Eventually(t, name+" gets a request", func() bool {
		for range 20 {
			a, err := p.do(client, http.MethodGet, labURL, nil)
			if err == nil && strings.Contains(a.body, `"`+name+`"`) {
				first = time.Now()
				return true
			}
		}
		return false
	})
	found = first.Sub(listeningSince(t, id))
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
	return found, max(last.Sub(ended), 0)
}

// hasReadyEndpoint reports whether the edge would give a request to an address.
func (p *project) hasReadyEndpoint(t *testing.T, address string) bool {
	for _, e := range p.serviceStatus(t, labService).Endpoints {
		if e.Address == address && e.State == "ready" {
			return true
		}
	}
	return false
}

// listeningSince reads from a container's log when it began to listen.
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
	t.Fatalf("it never listened: %s", logs)
	return time.Time{}
}
