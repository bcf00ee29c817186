package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// compose stands in for `docker compose`.
func (w *world) compose(args []string) (stdout, stderr string, err error) {
	service := args[len(args)-1]
	switch args[0] {
	case "config":
		if args[1] == "--hash" {
			return service + " " + w.hashes[service] + "\n", "", nil
		}
		text, err := json.Marshal(map[string]any{"name": "shop", "services": w.services})
		return string(text), "", err
	case "--dry-run":
		harm := w.harm
		if n := w.scale(args, service); n < len(w.of(service)) {
			harm += fmt.Sprintf("DRY-RUN MODE -  Container shop-%s-%d  Stopping\n", service, n+1)
		}
		return "", harm, nil
	case "pull":
		if strings.HasPrefix(w.services[service].Image, "local/") {
			return "", "", errors.New("pull access denied")
		}
		w.images[w.services[service].Image] = "sha256:pulled"
		return "", "", nil
	case "build":
		w.images[w.services[service].image("shop")] = "sha256:built"
		return "", "", nil
	case "up":
		return "", "", w.up(args, service)
	case "exec":
		return w.askEdge(args[4:])
	}
	w.t.Errorf("unexpected: docker compose %v", args)
	return "", "", nil
}

// scale returns how many containers Compose is to have run.
func (w *world) scale(args []string, service string) int {
	for _, arg := range args {
		if _, text, found := strings.Cut(arg, service+"="); found {
			n, err := strconv.Atoi(text)
			if err != nil {
				w.t.Error(err)
			}
			return n
		}
	}
	return w.services[service].replicas()
}

// up stands in for `docker compose up`: it starts what is stopped, replaces what is old unless told not to, and starts as
// many new ones as are missing.
func (w *world) up(args []string, service string) error {
	for _, flag := range []string{"--detach", "--no-deps", "--no-build", "never"} {
		if !slices.Contains(args, flag) {
			w.t.Errorf("docker compose up without %s: %v", flag, args)
		}
	}
	n := w.scale(args, service)
	for _, b := range w.of(service) {
		changed := b.Config.Labels["com.docker.compose.config-hash"] != w.hashes[service]
		if slices.Contains(args, "--force-recreate") || changed && !slices.Contains(args, "--no-recreate") {
			w.end(b, 143)
			w.present = slices.DeleteFunc(w.present, func(other *box) bool { return other == b })
		} else if !b.up() {
			b.State.Status = "running"
		}
	}
	w.create(service, n-len(w.of(service)))
	return nil
}

// askEdge stands in for the edge's commands.
func (w *world) askEdge(args []string) (stdout, stderr string, err error) {
	switch args[0] {
	case "status":
		text, err := json.Marshal(w.routes())
		return string(text), "", err
	case "drain":
		return "{}", "", w.drain(args)
	}
	w.t.Errorf("unexpected: edge %v", args)
	return "", "", nil
}

func (w *world) routes() []route {
	all := []route{{Service: "elsewhere:80"}}
	for _, name := range w.routed {
		r := route{Service: name + ":80"}
		for _, b := range w.of(name) {
			e := endpoint{ID: b.ID, Address: "10.0.0.1:80", State: w.state(b), Reason: "GET / answered 500"}
			if e.State == draining {
				e.Sockets = b.sockets
			}
			if e.State == ready || e.State == draining && time.Since(b.draining) < b.takes {
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

func (w *world) drain(args []string) error {
	var named []*box
	for _, arg := range args[1:] {
		for _, b := range w.present {
			if b.ID == arg && w.state(b) != "" {
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
			b.draining = time.Time{}
		case b.draining.IsZero():
			b.draining = time.Now()
		}
	}
	return nil
}
