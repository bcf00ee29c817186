package tests

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

const (
	shopURL      = "http://web.localhost"
	shopService  = "web:8080"
	storeURL     = "http://store.localhost"
	storeService = "store:8080"
)

// allMethods are those that a proxy passes on.
var allMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// newShop brings up the stack of tests/rollout.
func newShop(t *testing.T, env ...string) *project {
	t.Helper()
	p := &project{name: "edgeshop" + strings.ToLower(strings.NewReplacer("/", "", "_", "").Replace(t.Name())), files: []string{"rollout/compose.yaml"}}
	var err error
	if p.http, err = freePort(); err != nil {
		t.Fatal(err)
	}
	p.env = append([]string{"SHOP_HTTP=" + p.http}, env...)
	t.Cleanup(func() {
		if t.Failed() {
			logs, err := p.compose("logs", "--no-color", "--tail", "60", "edge")
			t.Logf("the edge's last lines (%v):\n%s", err, logs)
		}
		if _, err := p.compose("down", "--volumes", "--remove-orphans", "--timeout", "1"); err != nil {
			t.Error(err)
		}
	})
	p.must(t, "up", "--detach")
	p.ready(t, shopService, 2)
	p.ready(t, storeService, 1)
	return p
}

// set changes a variable of the compose file.
func (p *project) set(name, value string) { p.env = append(p.env, name+"="+value) }

// rollout returns a rollout that has not been started.
func (p *project) rollout(args ...string) *exec.Cmd {
	all := []string{"rollout", "--project-name", p.name}
	for _, f := range p.files {
		all = append(all, "--file", f)
	}
	cmd := exec.Command(edgeBinary, append(all, args...)...)
	cmd.Env = append(os.Environ(), p.env...)
	return cmd
}

// rolledOut runs a rollout that has to succeed, and returns what it printed.
func (p *project) rolledOut(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.rollout(args...).CombinedOutput()
	if err != nil {
		t.Errorf("edge rollout %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// all returns the IDs of a service's containers, sorted.
func (p *project) all(t *testing.T, service string) []string {
	t.Helper()
	ids := strings.Fields(p.must(t, "ps", "--all", "--quiet", "--no-trunc", service))
	slices.Sort(ids)
	return ids
}

// underLoad has change happen under 150 requests a second of all methods, every fifth of which takes 300 ms, and returns
// what came of them.
func (p *project) underLoad(t *testing.T, url string, change func()) *load {
	t.Helper()
	l := &load{outcomes: make(map[string]map[string]int)}
	for _, m := range allMethods {
		l.outcomes[m] = make(map[string]int)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var loading sync.WaitGroup
	loading.Go(func() { l.runAllMethods(ctx, p, url) })
	change()
	cancel()
	loading.Wait()
	for _, m := range allMethods {
		n := l.n(m)
		t.Logf("%s: n=%d %v; lost %d; the 95 %% bound is 3/n = %.2f %%", m, n, l.outcomes[m], l.lost(m), 300/float64(max(n, 1)))
		if l.lost(m) > 0 {
			t.Errorf("%d of %d %s were lost: %v %v", l.lost(m), n, m, l.outcomes[m], l.errors)
		}
	}
	t.Logf("p50 %s p99 %s max %s", l.percentile(0.5), l.percentile(0.99), l.percentile(1))
	return l
}

func (l *load) runAllMethods(ctx context.Context, p *project, url string) {
	client := p.client(true)
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(time.Second / 150)
	defer ticker.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		path := "/_test/echo"
		if i%5 == 0 {
			path = "/_test/slow?d=300ms"
		}
		all.Go(func() { l.one(p, client, allMethods[i%len(allMethods)], url+path, `{"order": 1}`) })
	}
}

// enough fails the test if there were too few requests of a method to say anything.
func (l *load) enough(t *testing.T, n int) {
	t.Helper()
	for _, m := range allMethods {
		if l.n(m) < n {
			t.Errorf("only %d %s, want %d", l.n(m), m, n)
		}
	}
}

// TestNoRequestOfAnyMethodIsLostInARollout: two backends that die rudely, deployed again and again. EDGE_TEST_ROLLOUTS says
// how often; 2 by default.
func TestNoRequestOfAnyMethodIsLostInARollout(t *testing.T) {
	times := 2
	if text := os.Getenv("EDGE_TEST_ROLLOUTS"); text != "" {
		var err error
		if times, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	p := newShop(t)
	before := p.all(t, "web")
	l := p.underLoad(t, shopURL, func() {
		for i := range times {
			p.set("SHOP_VERSION", strconv.Itoa(i+2))
			out := p.rolledOut(t, "web", "--sessions", "2s")
			t.Logf("printed:\n%s", out)
		}
	})
	l.enough(t, 100*times)
	after := p.all(t, "web")
	if len(after) != 2 || slices.ContainsFunc(before, func(id string) bool { return slices.Contains(after, id) }) {
		t.Errorf("before: %v, after: %v", before, after)
	}
	for _, id := range after {
		if env := docker(t, "inspect", "--format", "{{.Config.Env}}", id); !strings.Contains(env, "VERSION="+strconv.Itoa(times+1)) {
			t.Errorf("%s has %s", id, env)
		}
		// The migration came first.
		if logs := p.must(t, "logs", "--no-log-prefix", "migration"); !strings.Contains(logs, "migrating to "+strconv.Itoa(times+1)) {
			t.Errorf("the migration printed %q", logs)
		}
		migrated := docker(t, "inspect", "--format", "{{.State.FinishedAt}}", p.container(t, "migration"))
		if created := docker(t, "inspect", "--format", "{{.Created}}", id); created < migrated {
			t.Errorf("created %s, migrated %s", created, migrated)
		}
	}
	p.must(t, "up", "--detach", "web")
	if again := p.all(t, "web"); !slices.Equal(again, after) {
		t.Errorf("`docker compose up` changed %v to %v", after, again)
	}
	if out := p.rolledOut(t, "web"); !strings.Contains(out, "nothing to do") {
		t.Errorf("a second time: %s", out)
	}
}

// TestANewVersionThatIsBrokenLeavesTheOld: nobody notices, and it says what is wrong.
func TestANewVersionThatIsBrokenLeavesTheOld(t *testing.T) {
	p := newShop(t)
	before := p.all(t, "web")
	for _, c := range []struct{ variable, value, says, line string }{
		{"SHOP_ROLE", "nonsense", "exited with status 1", `app: error: unknown ROLE "nonsense"`},
		{"SHOP_BOOT_DELAY", "1h", "not ready within 3s: ", "is starting"},
		{"SHOP_MIGRATION_STATUS", "3", "migration exited with status 3; nothing else was changed", "migrating to 1"},
	} {
		was := p.env
		p.set(c.variable, c.value)
		p.underLoad(t, shopURL, func() {
			out, err := p.rollout("web", "--timeout", "3s", "--sessions", "0s", "--force").CombinedOutput()
			if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
				t.Errorf("%s: %v, want exit status 1", c.variable, err)
			}
			for _, want := range []string{"edge: error: web: ", c.says, c.line} {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s: %q is missing in\n%s", c.variable, want, out)
				}
			}
		})
		p.env = was
		if after := p.all(t, "web"); !slices.Equal(before, after) {
			t.Errorf("%s: before %v, after %v", c.variable, before, after)
		}
		p.ready(t, shopService, 2)
	}
}

// interruptedAt runs a rollout and sends it a signal when it has printed a text. It returns the rest of what it printed, and
// its exit status.
func (p *project) interruptedAt(t *testing.T, text string, s syscall.Signal, args ...string) (string, int) {
	t.Helper()
	cmd := p.rollout(args...)
	out := &awaited{text: text, found: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-out.found:
	case err := <-ended:
		t.Fatalf("it ended before it printed %q: %v\n%s", text, err, out)
	case <-time.After(time.Minute):
		t.Fatalf("it has not printed %q:\n%s", text, out)
	}
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	<-ended
	return out.String(), cmd.ProcessState.ExitCode()
}

// awaited keeps what is written, and tells when a text has come.
type awaited struct {
	mu    sync.Mutex
	all   strings.Builder
	text  string
	found chan struct{}
	seen  bool
}

func (a *awaited) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all.Write(b)
	if !a.seen && strings.Contains(a.all.String(), a.text) {
		a.seen = true
		close(a.found)
	}
	return len(b), nil
}

func (a *awaited) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all.String()
}

// TestAnInterruptedRolloutLeavesAWorkingService: at whatever step it is.
func TestAnInterruptedRolloutLeavesAWorkingService(t *testing.T) {
	p := newShop(t)
	before := p.all(t, "web")
	for i, at := range []string{"migration has completed", "started ", " ready", "drained "} {
		p.set("SHOP_VERSION", "next"+strconv.Itoa(i))
		p.underLoad(t, shopURL, func() {
			signal := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
			out, status := p.interruptedAt(t, at, signal, "web", "--sessions", "3s")
			after := p.all(t, "web")
			switch {
			case status == 1 && (!strings.Contains(out, "interrupted") || !slices.Equal(before, after)):
				t.Errorf("%s: before %v, after %v, printed\n%s", at, before, after, out)
			case status == 0 && (at != "drained " || len(after) != 2 || slices.Equal(before, after)):
				t.Errorf("%s: it went on: before %v, after %v, printed\n%s", at, before, after, out)
			case status != 0 && status != 1:
				t.Errorf("%s: exit status %d, printed\n%s", at, status, out)
			}
			t.Logf("%s: exit status %d\n%s", at, status, out)
		})
		p.ready(t, shopService, 2)
		before = p.all(t, "web")
	}
}

// TestARolloutThatWasKilledIsTakenUpAgain: with what it left, nobody notices either.
func TestARolloutThatWasKilledIsTakenUpAgain(t *testing.T) {
	p := newShop(t)
	before := p.all(t, "web")
	p.set("SHOP_VERSION", "2")
	p.underLoad(t, shopURL, func() {
		p.interruptedAt(t, " ready", syscall.SIGKILL, "web", "--sessions", "3s")
		eventually(t, 10*time.Second, "four containers are there", func() bool { return len(p.all(t, "web")) == 4 })
		out := p.rolledOut(t, "web", "--sessions", "0s")
		if !strings.Contains(out, "of the new version already run") {
			t.Errorf("printed\n%s", out)
		}
	})
	after := p.all(t, "web")
	if len(after) != 2 || slices.ContainsFunc(before, func(id string) bool { return slices.Contains(after, id) }) {
		t.Errorf("before %v, after %v", before, after)
	}
	p.ready(t, shopService, 2)
}

// TestAServiceThatCanNotHaveTwoIsHeld: it is drained before it is told to stop, so that nothing is cut, and what comes
// meanwhile waits.
func TestAServiceThatCanNotHaveTwoIsHeld(t *testing.T) {
	p := newShop(t)
	before := p.all(t, "store")
	l := p.underLoad(t, storeURL, func() {
		for i := range 2 {
			p.set("SHOP_VERSION", strconv.Itoa(i+2))
			out := p.rolledOut(t, "store")
			if !strings.Contains(out, "two can't run at once: it writes to volume goods") {
				t.Errorf("printed\n%s", out)
			}
			t.Logf("printed:\n%s", out)
		}
	})
	l.enough(t, 100)
	after := p.all(t, "store")
	if len(after) != 1 || slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
	p.must(t, "up", "--detach", "store")
	if again := p.all(t, "store"); !slices.Equal(again, after) {
		t.Errorf("`docker compose up` changed %v to %v", after, again)
	}
}

// TestAllIsWhatTheEdgeRoutesTo, and the rest is not touched unless it is named.
func TestAllIsWhatTheEdgeRoutesTo(t *testing.T) {
	p := newShop(t)
	web, store, worker, edge := p.all(t, "web"), p.all(t, "store"), p.all(t, "worker"), p.all(t, "edge")
	p.set("SHOP_VERSION", "2")
	out := p.rolledOut(t, "--all", "--sessions", "0s")
	if slices.Equal(web, p.all(t, "web")) || slices.Equal(store, p.all(t, "store")) {
		t.Errorf("web or store is as before, printed\n%s", out)
	}
	if !slices.Equal(worker, p.all(t, "worker")) || !slices.Equal(edge, p.all(t, "edge")) {
		t.Errorf("worker or edge is not as before, printed\n%s", out)
	}
	if out := p.rolledOut(t, "worker"); !strings.Contains(out, "the edge has no route to it") || slices.Equal(worker, p.all(t, "worker")) {
		t.Errorf("the worker is as before, or that wasn't said:\n%s", out)
	}
	if out, err := p.rollout("edge").CombinedOutput(); err == nil || !strings.Contains(string(out), "is the edge itself") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWhatStandsInTheWayIsFoundBeforeAnythingIsStarted.
func TestWhatStandsInTheWayIsFoundBeforeAnythingIsStarted(t *testing.T) {
	p := newShop(t)
	before := fmt.Sprint(p.all(t, "web"), p.all(t, "migration"))
	refused := func(want string, args ...string) {
		t.Helper()
		out, err := p.rollout(args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v, want %q in\n%s", args, err, want, out)
		}
		if after := fmt.Sprint(p.all(t, "web"), p.all(t, "migration")); after != before {
			t.Errorf("%v: before %s, after %s", args, before, after)
		}
	}
	p.set("SHOP_VERSION", "2")
	refused(`has no service "wbe"`, "wbe")
	refused("is not on this machine, and is not to be pulled", "web", "--file", "rollout/missing.yaml", "--no-pull")

	was := p.env
	p.set("SHOP_NETWORK_VERSION", "2") // for which Compose would stop everything on the network
	refused("more has changed in the file than a rollout can bring about", "web")
	p.env = was

	docker(t, "pause", before[1:65])
	refused("is paused", "web")
	docker(t, "unpause", before[1:65])

	p.must(t, "stop", "--timeout", "1", "edge")
	refused("0 containers of edge run", "web")
	p.must(t, "start", "edge")
}

// TestTwoRolloutsOfOneServiceDoNotMeet.
func TestTwoRolloutsOfOneServiceDoNotMeet(t *testing.T) {
	p := newShop(t)
	p.set("SHOP_VERSION", "2")
	first := p.rollout("web", "--sessions", "4s")
	out := &awaited{text: " ready", found: make(chan struct{})}
	first.Stdout, first.Stderr = out, out
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	<-out.found
	text, err := p.rollout("web").CombinedOutput()
	if err == nil || !strings.Contains(string(text), "edge: error: another rollout of web is under way") {
		t.Errorf("%v\n%s", err, text)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("the first: %v\n%s", err, out)
	}
}

// TestAnOperatorDrainsByHand: the same thing in single steps.
func TestAnOperatorDrainsByHand(t *testing.T) {
	p := newShop(t)
	id := p.container(t, "web")[:12]
	drain := func(args ...string) (string, error) {
		return p.compose(append([]string{"exec", "-T", "edge", "edge", "drain", id}, args...)...)
	}
	p.underLoad(t, shopURL, func() {
		if out, err := drain("--sessions", "0s", "--wait", "10s"); err != nil || !strings.Contains(out, "draining") {
			t.Errorf("%v\n%s", err, out)
		}
		docker(t, "restart", "--time", "1", id)
		p.ready(t, shopService, 2) // it began anew: the drain ended with what it was
	})
	var slow sync.WaitGroup
	client := p.client(false)
	for range 8 { // some of them go there
		slow.Go(func() {
			if a, err := p.ask(client, http.MethodPost, shopURL+"/_test/slow?d=3s", nil); err != nil || a.status != http.StatusOK {
				t.Errorf("%d, %v", a.status, err)
			}
		})
	}
	eventually(t, 10*time.Second, "a request is under way there", func() bool {
		return slices.ContainsFunc(p.service(t, shopService).Endpoints, func(e registry.EndpointStatus) bool {
			return strings.HasPrefix(e.ID, id) && e.InFlight > 0
		})
	})
	if _, err := drain("--wait", "100ms"); err == nil || !strings.Contains(err.Error(), "still under way after 100ms: web:8080") {
		t.Error(err)
	}
	if out, err := drain("--undo"); err != nil || !strings.Contains(out, "ready") {
		t.Errorf("%v\n%s", err, out)
	}
	slow.Wait()
	p.ready(t, shopService, 2)
	if _, err := p.compose("exec", "-T", "edge", "edge", "drain", "0123456789ab"); err == nil || !strings.Contains(err.Error(), "no endpoint has this ID") {
		t.Error(err)
	}
}

// TestTheShippedStackCanBeRolledOut: what compose.yaml says allows two of all but one.
func TestTheShippedStackCanBeRolledOut(t *testing.T) {
	p := stack(t)
	routed := []string{"bigcapital-server", "bigcapital-webapp", "corteza-docs", "corteza-server"}
	before := make(map[string][]string)
	for _, name := range routed {
		before[name] = p.all(t, name)
	}
	for _, name := range []string{"bigcapital-server:3000", "bigcapital-webapp:80", "corteza-docs:80", "corteza-server:80"} {
		p.ready(t, name, 1)
	}
	out := p.rolledOut(t, "--all", "--force", "--sessions", "1s")
	t.Logf("printed:\n%s", out)
	if n := strings.Count(out, "two can't run at once"); n != 1 || !strings.Contains(out, "corteza-server: two can't run at once: it writes to volume corteza_data") {
		t.Errorf("two can't run of %d services, want corteza-server alone", n)
	}
	if strings.Count(out, "bigcapital-migration has completed") != 1 {
		t.Error("the migration has not run once")
	}
	for _, name := range routed {
		after := p.all(t, name)
		if len(after) != 1 || slices.Equal(before[name], after) {
			t.Errorf("%s: before %v, after %v", name, before[name], after)
		}
		before[name] = after
	}
	p.must(t, "up", "--detach")
	for _, name := range routed {
		if again := p.all(t, name); !slices.Equal(again, before[name]) {
			t.Errorf("`docker compose up` changed %s from %v to %v", name, before[name], again)
		}
	}
}
