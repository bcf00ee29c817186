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
)

// world stands in for a Docker Engine, Compose and an edge under load: it answers the docker commands of a rollout, as the
// real ones have been seen to, and counts what would be lost. Its time is that of the test's bubble.
type world struct {
	t        *testing.T
	services map[string]service
	hashes   map[string]string // service → what the file says now
	images   map[string]string // image → ID, of those on this machine
	routed   []string          // services with a route
	present  []*box
	numbers  map[string]int
	commands []string
	harm     string // what a dry run foresees
	lost     int    // requests that were cut
	lowest   int    // how few containers of "web" have been serving at once

	onStart func(*box)              // what becomes of a new container
	on      func(i int, cmd string) // called when the i-th command arrives
	fail    func(i int, cmd string, done bool) error
}

// box is a container of a world.
type box struct {
	container
	service  string
	readyAt  time.Time
	draining time.Time // zero: it is not
	takes    time.Duration
	sockets  int
	unknown  bool // to the edge
}

const webImage = "web:1"

// newWorld has an edge and n containers of "web", which serve, and whose file has been changed since.
func newWorld(t *testing.T, n int) *world {
	w := &world{
		t: t, numbers: make(map[string]int), routed: []string{"web"}, lowest: n,
		services: map[string]service{
			"edge": {Image: "edge:dev"}, "web": {Image: webImage, Scale: &n},
		},
		hashes: map[string]string{"edge": "e", "web": "old", "migrate": "m"},
		images: map[string]string{webImage: "sha256:1", "edge:dev": "sha256:e"},
	}
	w.create("edge", 1)
	w.create("web", n)
	w.hashes["web"] = "new"
	return w
}

func (w *world) serving() (n int) {
	for _, b := range w.present {
		if b.service == "web" && w.state(b) == ready {
			n++
		}
	}
	return n
}

func (w *world) state(b *box) string {
	switch {
	case b.State.Status != "running" || b.unknown:
		return ""
	case !b.draining.IsZero():
		return draining
	case time.Now().Before(b.readyAt):
		return "starting"
	default:
		return ready
	}
}

func (w *world) of(service string) (all []*box) {
	for _, b := range w.present {
		if b.service == service {
			all = append(all, b)
		}
	}
	return all
}

// Run implements Docker.
func (w *world) Run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	cmd := strings.Join(args, " ")
	if strings.HasPrefix(cmd, "compose up") && ctx.Done() != nil {
		w.t.Errorf("docker %s could be interrupted, and leave half of what it does", cmd)
	}
	i := len(w.commands)
	w.commands = append(w.commands, cmd)
	if w.on != nil {
		w.on(i, cmd)
	}
	if w.fail != nil {
		err = w.fail(i, cmd, false)
	}
	if err == nil && ctx.Err() != nil {
		err = errors.New("signal: interrupt")
	}
	if err != nil {
		return "", "", fmt.Errorf("docker %s: %w", cmd, err)
	}
	stdout, stderr, err = w.carryOut(args)
	w.lowest = min(w.lowest, w.serving())
	if err == nil && w.fail != nil {
		err = w.fail(i, cmd, true)
	}
	if err != nil {
		err = fmt.Errorf("docker %s: %w", cmd, err)
	}
	return stdout, stderr, err
}

func (w *world) carryOut(args []string) (stdout, stderr string, err error) {
	switch args[0] {
	case "compose":
		return w.compose(args[1:])
	case "info":
		return "ENGINE\n", "", nil
	case "ps":
		return w.ps(args), "", nil
	case "inspect":
		stdout, err = w.inspect(args[3:])
	case "image":
		if stdout = w.images[args[len(args)-1]]; stdout == "" {
			err = errors.New("no such image")
		}
	case "logs":
		return "2026-01-02T03:04:05.000000002Z second\n", "2026-01-02T03:04:05.000000001Z first\n", nil
	case "stop":
		w.stop(args)
	case "rm":
		w.present = slices.DeleteFunc(w.present, func(b *box) bool { return slices.Contains(args, b.ID) && !b.up() })
	default:
		w.t.Errorf("unexpected: docker %v", args)
	}
	return stdout, "", err
}

func (w *world) ps(args []string) string {
	var ids []string
	for _, b := range w.present {
		if slices.Contains(args, "label=com.docker.compose.service="+b.service) {
			ids = append(ids, b.ID)
		}
	}
	return strings.Join(ids, "\n")
}

func (w *world) inspect(ids []string) (string, error) {
	var found []container
	for _, id := range ids {
		i := slices.IndexFunc(w.present, func(b *box) bool { return b.ID == id })
		if i < 0 {
			return "", errors.New("no such container: " + id)
		}
		found = append(found, w.present[i].container)
	}
	text, err := json.Marshal(found)
	return string(text), err
}

func (w *world) stop(args []string) {
	for _, b := range w.present {
		if slices.Contains(args, b.ID) && b.up() {
			w.end(b, 143)
		}
	}
}

// end ends a container, as rudely as can be.
func (w *world) end(b *box, status int) {
	if s := w.state(b); s == ready || s == draining && time.Since(b.draining) < b.takes {
		w.lost++
	}
	b.State.Status, b.State.ExitCode = "exited", status
}

func (w *world) create(service string, n int) {
	for range n {
		w.numbers[service]++
		number := w.numbers[service]
		b := &box{service: service, readyAt: time.Now(), takes: 700 * time.Millisecond}
		b.ID = fmt.Sprintf("%064x", len(w.numbers)*1000+number+int(service[0])<<20)
		b.Name = fmt.Sprintf("/shop-%s-%d", service, number)
		b.Image = w.images[w.services[service].Image]
		b.State.Status = "running"
		b.Config.Labels = map[string]string{
			"com.docker.compose.config-hash": w.hashes[service], "com.docker.compose.container-number": strconv.Itoa(number),
		}
		if w.onStart != nil {
			w.onStart(b)
		}
		w.present = append(w.present, b)
	}
}
