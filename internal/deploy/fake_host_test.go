package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/rollout"
	"github.com/theworklabs/edge/internal/traffic"
)

// fakeHost is a fake of the docker command, of rollouts and of the edge, on a host with a project in a directory of its own. A rollout has a service run the image of
// the pins or, without one, that of the compose file.
type fakeHost struct {
	t         *testing.T
	directory string
	services  map[string]*compose.Service
	images    map[string]string   // name on this machine → ID
	digests   map[string][]string // ID → RepoDigests
	registry  map[string]string   // name in the registry → ID
	running   map[string]string   // service → the name of the image that its container was made from
	runningID map[string]string   // service → the ID of that image
	starts    map[string]int      // service → how often its container was replaced
	second    map[string]string   // service → the ID of the image of a second container, the newer one

	rollouts   []string // the services of each rollout
	failAt     int      // the number of the rollout that fails; 0: none
	killAt     int      // the number of the rollout in which the process is killed; 0: none
	isUnready  bool     // what is up to date is not ready
	isGone     bool     // the Engine answers nothing after a rollout has failed
	stopsFirst bool     // a rollout that fails has replaced the containers already
	isLocked   bool     // another rollout is under way
	locks      int      // how many locks are held
	onRollout  func()   // is called in the middle of each rollout, and onUnlock after it, unless they are nil
	onUnlock   func()
	events     []Event
	points     func() map[string][]traffic.Point
	out        strings.Builder
}

// newFakeHost returns a host that runs web:1, which was built there, after migration:1 has completed.
func newFakeHost(t *testing.T) *fakeHost {
	h := &fakeHost{
		t: t, directory: t.TempDir(),
		services: map[string]*compose.Service{
			"web":       {Image: "shop/web:1", DependsOn: map[string]compose.Dependency{"migration": {Condition: "service_completed_successfully"}}},
			"migration": {Image: "shop/migration:1"},
			"edge":      {Image: "edge:dev"},
		},
		images:    map[string]string{"shop/web:1": imageID(1), "shop/migration:1": imageID(11)},
		digests:   make(map[string][]string),
		registry:  make(map[string]string),
		running:   map[string]string{"web": "shop/web:1", "migration": "shop/migration:1"},
		runningID: map[string]string{"web": imageID(1), "migration": imageID(11)},
		starts:    make(map[string]int),
		second:    make(map[string]string),
	}
	h.write("compose.yaml", "services: {}\n")
	return h
}

// imageID returns the ID of the n-th image, which is also its digest in a registry.
func imageID(n int) string { return fmt.Sprintf("sha256:%012x%052x", n, n) }

func (h *fakeHost) write(name, text string) {
	if err := os.WriteFile(filepath.Join(h.directory, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *fakeHost) read(name string) string {
	text, err := os.ReadFile(filepath.Join(h.directory, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return string(text)
}

// push puts an image into the registry.
func (h *fakeHost) push(name string, n int) {
	h.registry[name] = imageID(n)
	repository, _, _ := splitImage(name)
	h.registry[repository+"@"+imageID(n)] = imageID(n)
	h.digests[imageID(n)] = []string{"elsewhere/" + repository + "@" + imageID(999), repository + "@" + imageID(n)}
}

func (h *fakeHost) deploy(images ...string) *Deploy {
	d := &Deploy{Docker: h, Project: compose.Project{Directory: h.directory}, By: "me", Out: &h.out}
	for pair := range slices.Chunk(images, 2) {
		d.Images = append(d.Images, ServiceImage{pair[0], pair[1]})
	}
	d.NewRollout = func(p compose.Project, o RolloutOptions) Rollout {
		if last := p.Files[len(p.Files)-1]; last != filepath.Join(h.directory, PinsFile) && h.read(PinsFile) != "" {
			h.t.Errorf("the rollout reads %v, without the pins at the end", p.Files)
		}
		return &fakeRollout{h, o, slices.ContainsFunc(p.Files, isPinsFile)}
	}
	return d
}

func (h *fakeHost) mustDeploy(images ...string) {
	h.t.Helper()
	if err := h.deploy(images...).Run(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *fakeHost) mustUndo(service string) {
	h.t.Helper()
	if err := h.deploy().Undo(h.t.Context(), service); err != nil {
		h.t.Fatal(err)
	}
}

// Run implements [compose.Docker].
func (h *fakeHost) Run(_ context.Context, args ...string) (stdout, stderr string, err error) {
	last := args[len(args)-1]
	if repository, _, digest := splitImage(last); digest != "" { // Docker does not look at the tag then
		last = repository + digest
	}
	switch {
	case slices.Contains(args, "--environment"):
		return h.environment(args), "", nil
	case args[0] == "compose" && slices.Contains(args, "config"):
		text, err := json.Marshal(map[string]any{"name": "shop", "services": h.services})
		return string(text), "", err
	case args[0] == "image" && args[1] == "rm":
		delete(h.images, last)
		return "", "", nil
	case args[0] == "image":
		id := h.images[last]
		if id == "" && slices.Contains(slices.Collect(values(h.images)), last) {
			id = last
		}
		if id == "" {
			return "", "Error: No such image: " + last, errors.New("exit status 1")
		}
		text, err := json.Marshal([]localImage{{ID: id, RepoDigests: h.digests[id]}})
		return string(text), "", err
	case args[0] == "pull":
		id := h.registry[last]
		if id == "" {
			return "", "", errors.New("exit status 1: pull access denied")
		}
		h.images[last] = id
		if repository, _, digest := splitImage(last); digest == "" {
			h.images[repository+"@"+id] = id
		}
		return "", "", nil
	case args[0] == "tag":
		h.images[last] = args[1]
		return "", "", nil
	case args[0] == "ps" && h.isGone && len(h.rollouts) > 0:
		return "", "", errors.New("cannot connect to the Docker daemon")
	case args[0] == "ps":
		for _, a := range args {
			if service, found := strings.CutPrefix(a, "label=com.docker.compose.service="); found && h.running[service] != "" {
				ids := fmt.Sprintf("%s-%d", service, h.starts[service])
				if h.second[service] != "" {
					ids += "\n" + service + "-second"
				}
				return ids, "", nil
			}
		}
		return "", "", nil
	case args[0] == "inspect":
		var all []compose.Container
		for i, id := range args[3:] {
			service, suffix, _ := strings.Cut(id, "-")
			c := compose.Container{ID: id, Name: "shop-" + id, Image: h.runningID[service]}
			if suffix == "second" {
				c.Image = h.second[service]
			}
			c.Config.Image, c.State.Status = h.running[service], "running"
			c.Config.Labels = map[string]string{"com.docker.compose.container-number": fmt.Sprint(i + 1)}
			all = append(all, c)
		}
		text, err := json.Marshal(all)
		return string(text), "", err
	}
	h.t.Errorf("unexpected: docker %s", strings.Join(args, " "))
	return "", "", errors.New("unexpected")
}

// environment answers as `docker compose config --environment`: with the variables of this process, and those of the .env of the project's directory in the simplest form.
func (h *fakeHost) environment(args []string) string {
	var all strings.Builder
	directory := args[slices.Index(args, "--project-directory")+1]
	content, err := os.ReadFile(filepath.Join(directory, ".env"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Error(err)
	}
	for _, name := range []string{filesVariable, separatorVariable} {
		value := os.Getenv(name)
		for line := range strings.Lines(string(content)) {
			if of, is, found := strings.Cut(strings.TrimSpace(line), "="); found && of == name && value == "" {
				value = strings.Trim(is, `"'`)
			}
		}
		if value != "" {
			fmt.Fprintf(&all, "%s=%s\n", name, value)
		}
	}
	return all.String()
}

func values(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// fakeRollout is a rollout on a fakeHost.
type fakeRollout struct {
	host      *fakeHost
	options   RolloutOptions
	readsPins bool
}

// Lock implements [Rollout].
func (r *fakeRollout) Lock(context.Context) (unlock func(), err error) {
	if r.host.isLocked {
		return nil, errors.New("another rollout of web is under way")
	}
	r.host.locks++
	return func() {
		r.host.locks--
		if r.host.onUnlock != nil {
			r.host.onUnlock()
		}
	}, nil
}

// Run implements [Rollout].
func (r *fakeRollout) Run(context.Context) error {
	h := r.host
	if !r.options.IsLocked || h.locks == 0 {
		h.t.Errorf("a rollout of %v without a lock", r.options.Services)
	}
	h.rollouts = append(h.rollouts, strings.Join(r.options.Services, " "))
	if h.onRollout != nil {
		h.onRollout()
	}
	if h.killAt == len(h.rollouts) {
		panic(errKilled)
	}
	if h.isUnready && !slices.ContainsFunc(r.options.Services, func(name string) bool { return h.isOutdated(name) }) {
		return fmt.Errorf("web: %w", &rollout.UnreadyError{Service: "web"})
	}
	fails := len(h.rollouts) == h.failAt
	if fails && !h.stopsFirst {
		return errors.New("web: it does not become ready\nits log")
	}
	var services []string
	for _, name := range r.options.Services {
		if !h.isOutdated(name) && !r.options.Force {
			continue // up to date
		}
		services = append(services, name)
		for dependency := range h.services[name].DependsOn {
			if !r.options.SkipOneShots {
				services = append(services, dependency)
			}
		}
	}
	for _, name := range services {
		image := h.wanted(name)
		id := h.idOf(image)
		if id == "" {
			h.t.Errorf("%s is to run %s, which this machine does not have", name, image)
		}
		h.running[name], h.runningID[name] = image, id
		h.starts[name]++
		delete(h.second, name)
	}
	if fails {
		return errors.New("web: it does not become ready")
	}
	return nil
}

// wanted returns the image that a service is to run.
func (h *fakeHost) wanted(service string) string {
	pins, err := ReadPins(h.directory)
	if err != nil {
		h.t.Fatal(err)
	}
	return cmp.Or(pins.Services[service].Image, h.services[service].Image)
}

// isOutdated reports whether not all containers of a service have the image that they are to run.
func (h *fakeHost) isOutdated(service string) bool {
	id := h.idOf(h.wanted(service))
	return id != h.runningID[service] || h.second[service] != "" && h.second[service] != id
}

// errKilled is the panic that ends a process in a rollout.
var errKilled = errors.New("killed")

// kill deploys, and ends the process in the rollout of a number.
func (h *fakeHost) kill(n int, images ...string) {
	h.t.Helper()
	h.killAt = n
	defer func() {
		h.killAt = 0
		if got := recover(); got != errKilled {
			h.t.Errorf("it ends with %v", got)
		}
	}()
	_ = h.deploy(images...).Run(h.t.Context())
}

// idOf returns the ID of the image of a name.
func (h *fakeHost) idOf(image string) string {
	if _, _, digest := splitImage(image); digest != "" {
		return strings.TrimPrefix(digest, "@")
	}
	return h.images[image]
}

// CheckReady implements [Rollout].
func (r *fakeRollout) CheckReady(context.Context) error {
	if r.host.isUnready {
		return fmt.Errorf("web: %w", &rollout.UnreadyError{Service: "web"})
	}
	return nil
}

// Traffic implements [Rollout].
func (r *fakeRollout) Traffic(context.Context) (map[string][]traffic.Point, error) {
	if r.host.points == nil || len(r.host.rollouts) == 0 && r.readsPins && r.host.read(PinsFile) == "" {
		return nil, errors.New("unknown flag: --history")
	}
	return r.host.points(), nil
}

// RunInEdge implements [Rollout].
func (r *fakeRollout) RunInEdge(_ context.Context, args ...string) error {
	if !slices.Equal(args[:2], []string{"deploy", "--notify-edge"}) {
		r.host.t.Errorf("unexpected: edge %v", args)
	}
	var e Event
	if err := json.Unmarshal([]byte(args[2]), &e); err != nil {
		return err
	}
	r.host.events = append(r.host.events, e)
	return nil
}

// expectRunning checks the image that a service runs, and that the file pins it, too.
func (h *fakeHost) expectRunning(service, image, pinned string) {
	h.t.Helper()
	pins, err := ReadPins(h.directory)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.runningID[service] != image || pins.Services[service].Image != pinned {
		h.t.Errorf("%s runs %s, pinned is %q; want %s, %q", service, h.runningID[service], pins.Services[service].Image, image, pinned)
	}
}

// results returns the results of a service's deployments.
func (h *fakeHost) results(service string) (all []Result) {
	h.t.Helper()
	pins, err := ReadPins(h.directory)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, d := range pins.Deployments[service] {
		all = append(all, d.Result)
	}
	return all
}

// history returns points of five seconds from a time on, each with so many requests and errors.
func history(from time.Time, n int, requests, errors uint32) (points []traffic.Point) {
	for i := range n {
		points = append(points, traffic.Point{Start: from.Add(time.Duration(i) * traffic.HistoryInterval), Requests: requests, Errors: errors})
	}
	return points
}
