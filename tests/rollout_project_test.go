package tests

import (
	"context"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

const (
	webURL       = "http://web.localhost"
	webService   = "web:8080"
	storeURL     = "http://store.localhost"
	storeService = "store:8080"
)

// allMethods are the methods that the edge forwards.
var allMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// newRolloutProject starts the stack of tests/rollout; env are more variables.
func newRolloutProject(t *testing.T, env ...string) *project {
	t.Helper()
	p := newProject(t, "rollout", "rollout/compose.yaml")
	p.Env = append([]string{"ROLLOUT_HTTP=" + p.HTTP}, env...)
	p.MustCompose(t, "up", "--detach")
	p.WaitReady(t, webService, 2)
	p.WaitReady(t, storeService, 1)
	return p
}

// rolloutCommand returns the command `edge rollout`, not yet started.
func (p *project) rolloutCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(harness.Edge(t), append(append([]string{"rollout"}, p.FileArgs()...), args...)...)
	cmd.Env = p.Environ()
	return cmd
}

// mustRollout runs a rollout and returns its output. The test fails if the rollout does.
func (p *project) mustRollout(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.rolloutCommand(t, args...).CombinedOutput()
	if err != nil {
		t.Errorf("edge rollout %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// containerIDs returns the sorted IDs of a service's containers, including stopped ones.
func (p *project) containerIDs(t *testing.T, service string) []string {
	t.Helper()
	ids := strings.Fields(p.MustCompose(t, "ps", "--all", "--quiet", "--no-trunc", service))
	slices.Sort(ids)
	return ids
}

// loadAllMethodsDuring sends requests of all methods at loadRate while change runs, to the paths echo and slow below url. Every fifth request takes 300 ms. It repeats
// change until at least n requests of each method have ended, however fast the machine is. The test fails if a request is lost.
func (p *project) loadAllMethodsDuring(t *testing.T, url string, n int, change func()) {
	t.Helper()
	l := p.measureAllMethodsDuring(t, url, n, change)
	for _, m := range allMethods {
		if l.lost(m) > 0 {
			t.Errorf("%d of %d %s are lost: %v %v", l.lost(m), l.count(m), m, l.outcomes[m], l.errors)
		}
	}
}

// measureAllMethodsDuring is loadAllMethodsDuring without the check.
func (p *project) measureAllMethodsDuring(t *testing.T, url string, n int, change func()) *loadResult {
	t.Helper()
	l := &loadResult{outcomes: make(map[string]map[string]int)}
	for _, m := range allMethods {
		l.outcomes[m] = make(map[string]int)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var loading sync.WaitGroup
	loading.Go(func() { l.runAllMethods(ctx, p, url) })
	change()
	for tries := 0; l.leastCount() < n && !t.Failed(); tries++ {
		if tries == 20 {
			t.Errorf("the load has stopped: of one method, there were %d requests", l.leastCount())
		}
		change()
	}
	cancel()
	loading.Wait()
	for _, m := range allMethods {
		n := l.count(m)
		t.Logf("%s: n=%d %v; lost %d; the 95 %% bound is 3/n = %.2f %%", m, n, l.outcomes[m], l.lost(m), 300/float64(max(n, 1)))
	}
	t.Logf("p50 %s p99 %s max %s", l.percentile(0.5), l.percentile(0.99), l.percentile(1))
	return l
}

// maxWaiting is how many requests of all methods wait for their answers at a time. Docker's proxy of a published port takes up to six file descriptors for a connection, and in some
// containers the Engine has no more than 20,000: then the proxy closes connections that the edge would have held.
const maxWaiting = 2000

func (l *loadResult) runAllMethods(ctx context.Context, p *project, url string) {
	client := p.Client(true, nil)
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(time.Second / time.Duration(loadRate()))
	defer ticker.Stop()
	waiting := make(chan struct{}, maxWaiting)
	var all sync.WaitGroup
	defer all.Wait()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		path := "/echo"
		if i%5 == 0 {
			path = "/slow?d=300ms"
		}
		waiting <- struct{}{}
		all.Go(func() {
			defer func() { <-waiting }()
			l.send(p, client, allMethods[i%len(allMethods)], url+path, `{"order": 1}`)
		})
	}
}

// leastCount returns how many requests have ended of the method that has the fewest.
func (l *loadResult) leastCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.count(allMethods[0])
	for _, m := range allMethods {
		n = min(n, l.count(m))
	}
	return n
}
