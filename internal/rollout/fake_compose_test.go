package rollout

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// runCompose fakes `docker compose`.
func (w *fakeHost) runCompose(args []string) (stdout, stderr string, err error) {
	for strings.HasPrefix(args[0], "--") && args[0] != "--dry-run" { // the project's flags
		if directory, _, _ := strings.Cut(w.projectFiles, "\t"); args[0] == "--project-directory" && args[1] == directory {
			w.isInDirectory = true
		}
		args = args[2:]
	}
	if w.projectFiles != "" && !w.isInDirectory {
		return "", "", errors.New("no configuration file provided: not found")
	}
	service := args[len(args)-1]
	switch args[0] {
	case "config":
		if args[1] == "--hash" {
			return service + " " + w.configHashes[service] + "\n", "", nil
		}
		text, err := json.Marshal(map[string]any{"name": "shop", "services": w.services})
		return string(text), "", err
	case "--dry-run":
		output := w.dryRunOutput
		if n := w.scaleFromArgs(args, service); n < len(w.containersOf(service)) {
			output += fmt.Sprintf("DRY-RUN MODE -  Container shop-%s-%d  Stopping\n", service, n+1)
		}
		return "", output, nil
	case "pull":
		if strings.HasPrefix(w.services[service].Image, "local/") {
			return "", "", errors.New("pull access denied")
		}
		w.imageIDs[w.services[service].Image] = "sha256:pulled"
		return "", "", nil
	case "build":
		w.imageIDs[w.imageName(service)] = "sha256:built"
		return "", "", nil
	case "up":
		return "", "", w.composeUp(args, service)
	case "exec":
		return w.execEdge(args[4:])
	}
	w.t.Errorf("unexpected: docker compose %v", args)
	return "", "", nil
}

// imageName returns the image of a service.
func (w *fakeHost) imageName(service string) string {
	return (&compose.Stack{Name: "shop"}).ImageName(&compose.Service{Name: service, Image: w.services[service].Image})
}

// scaleFromArgs returns how many containers `docker compose up` has to run.
func (w *fakeHost) scaleFromArgs(args []string, service string) int {
	for _, arg := range args {
		if _, text, found := strings.Cut(arg, service+"="); found {
			n, err := strconv.Atoi(text)
			if err != nil {
				w.t.Error(err)
			}
			return n
		}
	}
	return w.services[service].Replicas()
}

// composeUp fakes `docker compose up`: it starts stopped containers, replaces outdated ones unless the flags forbid it, and creates
// the missing ones.
func (w *fakeHost) composeUp(args []string, service string) error {
	for _, flag := range []string{"--detach", "--no-deps", "--no-build", "never"} {
		if !slices.Contains(args, flag) {
			w.t.Errorf("docker compose up without %s: %v", flag, args)
		}
	}
	n := w.scaleFromArgs(args, service)
	for _, b := range w.containersOf(service) {
		changed := b.Config.Labels["com.docker.compose.config-hash"] != w.configHashes[service]
		if slices.Contains(args, "--force-recreate") || changed && !slices.Contains(args, "--no-recreate") {
			w.exit(b, 143)
			w.containers = slices.DeleteFunc(w.containers, func(other *fakeContainer) bool { return other == b })
		} else if !b.IsUp() {
			b.State.Status = "running"
		}
	}
	w.create(service, n-len(w.containersOf(service)))
	return nil
}

// execEdge fakes the edge's commands.
func (w *fakeHost) execEdge(args []string) (stdout, stderr string, err error) {
	switch args[0] {
	case "status":
		if len(args) > 2 {
			text, err := json.Marshal(w.traffic)
			return string(text), "", err
		}
		text, err := json.Marshal(w.routes())
		return string(text), "", err
	case "drain":
		time.Sleep(w.drainTakes)
		return cmp.Or(w.drainAnswer, "{}"), "", w.drain(args)
	}
	w.t.Errorf("unexpected: edge %v", args)
	return "", "", nil
}

// routes returns what `edge status --json` prints.
func (w *fakeHost) routes() []route {
	all := []route{{Service: "elsewhere:80"}}
	for _, name := range w.routedServices {
		r := route{Service: name + ":80"}
		for _, b := range w.containersOf(name) {
			e := endpoint{ID: b.ID, Address: "10.0.0.1:80", State: w.endpointState(b), Reason: "GET / answered 500"}
			if e.State == stateDraining {
				e.Sockets = b.sockets
			}
			if e.State == stateReady || e.State == stateDraining && time.Since(b.drainedSince) < b.drainDuration {
				e.InFlight = 1
			}
			if e.State != "" {
				r.Endpoints = append(r.Endpoints, e)
			}
		}
		all = append(all, r)
	}
	return all
}

// drain fakes `edge drain`. It fails, as the edge does, if it does not know one of the containers.
func (w *fakeHost) drain(args []string) error {
	var named []*fakeContainer
	for _, arg := range args[1:] {
		for _, b := range w.containers {
			if b.ID == arg && w.endpointState(b) != "" {
				named = append(named, b)
			}
		}
	}
	if want := len(slices.DeleteFunc(slices.Clone(args[1:]), func(a string) bool { return len(a) != 64 })); len(named) != want {
		return fmt.Errorf("edge: error: no endpoint has this ID: of %v", args)
	}
	for _, b := range named {
		switch {
		case args[1] == "--undo":
			b.drainedSince = time.Time{}
		case b.drainedSince.IsZero():
			b.drainedSince = time.Now()
		}
	}
	return nil
}
