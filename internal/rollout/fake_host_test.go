package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/traffic"
)

// fakeHost is a fake of the docker command on a host with Compose, an edge and clients. It answers the commands of a rollout as
// the real ones do, and counts the requests that would be aborted. It uses the fake clock of the test's synctest bubble.
type fakeHost struct {
	t               *testing.T
	services        map[string]*compose.Service
	configHashes    map[string]string // service → hash of its definition in the compose file
	imageIDs        map[string]string // image on this machine → ID
	routedServices  []string          // services that the edge has a route to
	containers      []*fakeContainer
	lastNumber      map[string]int
	commands        []string
	swarmServices   string   // of the Swarm whose manager the Engine is
	otherProjects   string   // projects that run a service "blog"
	foreignEdges    []string // containers of the service "edge" of other projects, PROJECT/NAME
	isInDirectory   bool     // Compose was told the directory of projectFiles
	projectFiles    string   // where the containers of the project come from: DIRECTORY, tab, FILES
	dryRunOutput    string   // what Compose's dry run prints
	abortedRequests int      // requests that were aborted
	stdin           string   // of the last command with one
	drainAnswer     string   // of edge drain; "" means {}
	drainTakes      time.Duration
	traffic         map[string][]traffic.Point // what the edge has counted, by route
	minServing      int                        // the lowest number of containers of "web" that served at one time

	onCreate  func(*fakeContainer)    // changes a new container
	onCommand func(i int, cmd string) // called before the i-th command
	// failCommand is called before and after the i-th command; its error fails the command.
	failCommand func(i int, cmd string, done bool) error
}

// fakeContainer is a container of a fakeHost.
type fakeContainer struct {
	container
	service       string
	readyAt       time.Time
	drainedSince  time.Time // zero if it is not draining
	drainDuration time.Duration
	sockets       int
	unknownToEdge bool
	edge          fakeEdge // if it is one
}

const webImage = "web:1"

// newFakeHost returns a host with an edge and n containers of "web". They serve, and are outdated: the compose file has changed.
func newFakeHost(t *testing.T, n int) *fakeHost {
	w := &fakeHost{
		t: t, lastNumber: make(map[string]int), routedServices: []string{"web"}, minServing: n,
		services: map[string]*compose.Service{
			"edge": {Image: "edge:dev"}, "web": {Image: webImage, Scale: &n},
		},
		configHashes: map[string]string{"edge": "e", "web": "old", "migrate": "m", "api": "a"},
		imageIDs:     map[string]string{webImage: "sha256:1", "edge:dev": "sha256:e"},
	}
	w.create("edge", 1)
	w.create("web", n)
	w.configHashes["web"] = "new"
	return w
}

func (w *fakeHost) servingCount() (n int) {
	for _, b := range w.containers {
		if b.service == "web" && w.endpointState(b) == stateReady {
			n++
		}
	}
	return n
}

func (w *fakeHost) endpointState(b *fakeContainer) string {
	switch {
	case b.State.Status != "running" || b.unknownToEdge:
		return ""
	case !b.drainedSince.IsZero():
		return stateDraining
	case time.Now().Before(b.readyAt):
		return "starting"
	default:
		return stateReady
	}
}

func (w *fakeHost) containersOf(service string) (all []*fakeContainer) {
	for _, b := range w.containers {
		if b.service == service {
			all = append(all, b)
		}
	}
	return all
}

// Run implements [compose.Docker].
func (w *fakeHost) Run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	cmd := strings.Join(args, " ")
	if strings.HasPrefix(cmd, "compose up") && ctx.Done() != nil {
		w.t.Errorf("docker %s is bound to a context, which can interrupt it half-way", cmd)
	}
	i := len(w.commands)
	w.commands = append(w.commands, cmd)
	if w.onCommand != nil {
		w.onCommand(i, cmd)
	}
	if w.failCommand != nil {
		err = w.failCommand(i, cmd, false)
	}
	if err == nil && ctx.Err() != nil {
		err = errors.New("signal: interrupt")
	}
	if err != nil {
		return "", "", fmt.Errorf("docker %s: %w", cmd, err)
	}
	stdout, stderr, err = w.execute(args)
	w.minServing = min(w.minServing, w.servingCount())
	if err == nil && w.failCommand != nil {
		err = w.failCommand(i, cmd, true)
	}
	if err != nil {
		err = fmt.Errorf("docker %s: %w", cmd, err)
	}
	return stdout, stderr, err
}

func (w *fakeHost) execute(args []string) (stdout, stderr string, err error) {
	switch args[0] {
	case "compose":
		return w.runCompose(args[1:])
	case "info":
		return "ENGINE\n", "", nil
	case "service":
		if w.swarmServices == "" {
			return "", "", errors.New("this node is not a swarm manager")
		}
		return w.swarmServices, "", nil
	case "ps":
		return w.ps(args), "", nil
	case "exec":
		if i := slices.IndexFunc(w.containers, func(b *fakeContainer) bool { return b.service == "edge" && slices.Contains(args, b.ID) }); i >= 0 {
			return w.execInEdge(w.containers[i], args[slices.Index(args, "edge")+1:])
		}
		if !slices.ContainsFunc(w.foreignEdges, func(e string) bool { return strings.HasSuffix(e, "/"+args[1]) }) {
			w.t.Errorf("docker exec in %s, which is no edge", args[1])
		}
		return w.execEdge(args[3:])
	case "inspect":
		stdout, err = w.inspect(args[3:])
	case "image":
		if stdout = w.imageIDs[args[len(args)-1]]; stdout == "" {
			err = errors.New("no such image")
		}
	case "logs":
		return "2026-01-02T03:04:05.000000002Z second\n", "2026-01-02T03:04:05.000000001Z first\n", nil
	case "stop":
		w.stop(args)
	case "rm":
		w.containers = slices.DeleteFunc(w.containers, func(b *fakeContainer) bool { return slices.Contains(args, b.ID) && !b.IsUp() })
	default:
		w.t.Errorf("unexpected: docker %v", args)
	}
	return stdout, "", err
}

func (w *fakeHost) ps(args []string) string {
	if slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "config_files") }) {
		return w.projectFiles
	}
	if slices.ContainsFunc(args, func(arg string) bool { return strings.HasSuffix(arg, "/{{.Names}}") }) {
		return w.psEdges(args)
	}
	if args[len(args)-1] == `{{.Label "com.docker.compose.project"}}` {
		if slices.Contains(args, "label=com.docker.compose.service=blog") {
			return w.otherProjects
		}
		return ""
	}
	var ids []string
	for _, b := range w.containers {
		if slices.Contains(args, "label=com.docker.compose.service="+b.service) {
			ids = append(ids, b.ID)
		}
	}
	return strings.Join(ids, "\n")
}

// psEdges lists the edges of other projects.
func (w *fakeHost) psEdges(args []string) string {
	if !slices.Contains(args, "label=com.docker.compose.service=edge") {
		return ""
	}
	var lines []string
	for _, e := range w.foreignEdges {
		project, _, _ := strings.Cut(e, "/")
		isFiltered := strings.Contains(strings.Join(args, " "), "com.docker.compose.project=")
		if !isFiltered || slices.Contains(args, "label=com.docker.compose.project="+project) {
			lines = append(lines, e)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func (w *fakeHost) inspect(ids []string) (string, error) {
	var found []container
	for _, id := range ids {
		i := slices.IndexFunc(w.containers, func(b *fakeContainer) bool { return b.ID == id })
		if i < 0 {
			return "", errors.New("no such container: " + id)
		}
		found = append(found, w.containers[i].container)
	}
	text, err := json.Marshal(found)
	return string(text), err
}

func (w *fakeHost) stop(args []string) {
	for _, b := range w.containers {
		if slices.Contains(args, b.ID) && b.IsUp() {
			w.exit(b, 143)
		}
	}
}

// exit ends a container, and aborts its requests.
func (w *fakeHost) exit(b *fakeContainer, status int) {
	if s := w.endpointState(b); s == stateReady || s == stateDraining && time.Since(b.drainedSince) < b.drainDuration {
		w.abortedRequests++
	}
	b.State.Status, b.State.ExitCode = "exited", status
}

func (w *fakeHost) create(service string, n int) {
	for range n {
		w.lastNumber[service]++
		number := w.lastNumber[service]
		b := &fakeContainer{service: service, readyAt: time.Now(), drainDuration: 700 * time.Millisecond}
		b.ID = fmt.Sprintf("%064x", len(w.lastNumber)*1000+number+int(service[0])<<20)
		b.Name = fmt.Sprintf("/shop-%s-%d", service, number)
		b.Image = w.imageIDs[w.services[service].Image]
		b.State.Status = "running"
		b.Config.Labels = map[string]string{
			"com.docker.compose.config-hash": w.configHashes[service], "com.docker.compose.container-number": strconv.Itoa(number),
		}
		if w.onCreate != nil {
			w.onCreate(b)
		}
		w.containers = append(w.containers, b)
	}
}
