package replication

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// watcherService is the service that runs the [Watcher].
const watcherService = "replication"

// portService is the service with the only port of a host of databases.
const portService = "databases"

// swapped are the variables of the primary and of the replica, which a promotion exchanges.
var swapped = [][2]string{
	{HostVariable, ReplicaVariable},
	{"DATABASES_DOCKER", "DATABASES_REPLICA_DOCKER"},
	{"DATABASES_PROJECT", "DATABASES_REPLICA_PROJECT"},
}

// defaultProject is the name of the project in compose.databases.yaml.
const defaultProject = "infrastructure-databases"

// hostTimeout bounds how long the Engine of another host may take to respond.
const hostTimeout = 15 * time.Second

// Stack is the project of the applications, and what it says of the hosts of its databases.
type Stack struct {
	Project compose.Project
	Edge    string // the service that is the edge
	Out     io.Writer

	// Docker returns the docker command of an Engine; "" is this host's.
	Docker func(host string) compose.StreamingDocker

	stack     *compose.Stack
	config    *Config
	variables map[string]string
	directory string
}

// load reads the compose files.
func (s *Stack) load(ctx context.Context) error {
	text, _, err := s.local().Run(ctx, s.Project.Args("config", "--format", "json")...)
	if err != nil {
		return hint.New(err, "run it where the applications' compose.yaml is, or name the files with --file")
	}
	if s.stack, err = compose.ParseStack(text); err != nil {
		return err
	}
	service := s.stack.Services[watcherService]
	if service == nil {
		return hint.New(fmt.Errorf("the project has no service %s", watcherService), "add compose.replicated.yaml to COMPOSE_FILE: docs/replication.md")
	}
	if s.config, err = ConfigFromService(service); err != nil {
		return err
	}
	s.variables = make(map[string]string)
	for name, value := range service.Environment {
		if value != nil {
			s.variables[name] = *value
		}
	}
	s.directory = cmp.Or(s.Project.Directory, ".")
	return nil
}

func (s *Stack) local() compose.StreamingDocker { return s.Docker("") }

// host is a host of databases, and how its Engine is reached.
type host struct {
	address string
	project string
	url     string
	docker  compose.StreamingDocker
}

// host returns one of the hosts: that of the primary, or of the replica.
func (s *Stack) host(address string) *host {
	side := 0
	if address == s.config.Replica {
		side = 1
	}
	url := cmp.Or(s.variables[swapped[1][side]], "ssh://root@"+address)
	return &host{address, cmp.Or(s.variables[swapped[2][side]], defaultProject), url, s.Docker(url)}
}

// responds reports whether the host's Engine does. The error says why not.
func (h *host) responds(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, hostTimeout, fmt.Errorf("no answer for %s", hostTimeout))
	defer cancel()
	if _, _, err := h.docker.Run(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("the Docker Engine of %s (%s): %w", h.address, h.url, err)
	}
	return nil
}

// container returns the container of a service.
func (h *host) container(ctx context.Context, service string) (compose.Container, error) {
	all, err := compose.Containers(ctx, h.docker, h.project, service)
	if err != nil {
		return compose.Container{}, err
	}
	if len(all) != 1 {
		return compose.Container{}, hint.New(fmt.Errorf("%s: the project %s has %d containers of %s, want 1", h.address, h.project, len(all), service), "docker compose up --detach there; DATABASES_PROJECT and DATABASES_REPLICA_PROJECT name the projects")
	}
	return all[0], nil
}

// stop stops services on the host. A container that somebody has stopped does not start again when the host does.
func (h *host) stop(ctx context.Context, services ...string) error {
	for _, service := range services {
		all, err := compose.Containers(ctx, h.docker, h.project, service)
		if err != nil {
			return err
		}
		for _, c := range all {
			args := []string{"stop", c.ID}
			if service == portService { // it would wait for its clients
				args = []string{"stop", "--time", "1", c.ID}
			}
			if _, _, err := h.docker.Run(ctx, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *host) start(ctx context.Context, services ...string) error {
	for _, service := range services {
		c, err := h.container(ctx, service)
		if err != nil {
			return err
		}
		if _, _, err := h.docker.Run(ctx, "start", c.ID); err != nil {
			return err
		}
	}
	return nil
}

// readState reads what the watcher has written, also if it does not run; nil if it has written nothing.
func (s *Stack) readState(ctx context.Context) (*State, error) {
	out, _, err := s.local().Run(ctx, s.Project.Args("run", "--rm", "--no-deps", "--no-TTY", watcherService, "replica", "state")...)
	if err != nil {
		return nil, fmt.Errorf("read what is known of the replica: %w", err)
	}
	out = strings.TrimSpace(out)
	if out == "" || out == "null" {
		return nil, nil
	}
	state := new(State)
	if err := json.Unmarshal([]byte(out), state); err != nil {
		return nil, fmt.Errorf("read what is known of the replica: %w", err)
	}
	return state, nil
}

// State returns what is known of the primary and the replica.
func (s *Stack) State(ctx context.Context) (*State, error) {
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	state, err := s.readState(ctx)
	if err == nil && state == nil {
		err = hint.New(errors.New("nothing is known of the replica yet"), "docker compose up --detach "+watcherService)
	}
	return state, err
}

// databaseServices returns the services of this project that stand for databases, also of those that are not replicated.
func (s *Stack) databaseServices() []string {
	var names []string
	for _, name := range s.stack.ServiceNames() {
		if value := s.stack.Services[name].Environment[HostVariable]; value != nil && name != watcherService {
			names = append(names, name)
		}
	}
	return names
}

// applications returns the services that depend on those of databases, and run.
func (s *Stack) applications() []string {
	databases := s.databaseServices()
	var names []string
	for _, name := range s.stack.ServiceNames() {
		for dependency := range s.stack.Services[name].DependsOn {
			if slices.Contains(databases, dependency) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// maintenance has the edge show its maintenance page for services, or end that. It returns those for which it did: not every service has a route.
func (s *Stack) maintenance(ctx context.Context, operation string, services []string, flags ...string) (done []string) {
	for _, service := range services {
		args := append([]string{"exec", "--no-TTY", s.Edge, "edge", "maintenance", operation, service}, flags...)
		if _, _, err := s.local().Run(ctx, s.Project.Args(args...)...); err == nil {
			done = append(done, service)
		}
	}
	return done
}

// step runs a part of an operation, and prints how long it took.
func (s *Stack) step(what string, f func() error) error {
	start := time.Now()
	if err := f(); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "%s (%.1fs)\n", what, time.Since(start).Seconds())
	return nil
}

// swapVariables exchanges the hosts in the environment file, and reads the compose files again.
func (s *Stack) swapVariables(ctx context.Context) error {
	want := s.config.Replica
	file := filepath.Join(s.directory, ".env")
	if len(s.Project.EnvFiles) > 0 {
		file = s.Project.EnvFiles[len(s.Project.EnvFiles)-1]
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if err := writeFile(file, swapLines(text), info.Mode().Perm(), true); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	if s.config.Primary != want {
		return hint.New(fmt.Errorf("%s in %s is not what Compose uses: it has %s, want %s", HostVariable, file, s.config.Primary, want), "set "+HostVariable+" and "+ReplicaVariable+" in that file alone, and call it again")
	}
	return nil
}

// swapLines exchanges the values of the variables of both hosts. All other lines stay as they are.
func swapLines(text []byte) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	find := func(name string) int { // the last one counts
		found := -1
		for i, line := range lines {
			if key, _, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == name {
				found = i
			}
		}
		return found
	}
	var added bytes.Buffer
	for _, names := range swapped {
		var values [2]string
		at := [2]int{find(names[0]), find(names[1])}
		for side, i := range at {
			if i >= 0 {
				_, value, _ := strings.Cut(lines[i], "=")
				values[side] = strings.TrimRight(value, "\r\n")
			}
		}
		for side, i := range at {
			line := names[side] + "=" + values[1-side] + "\n"
			switch {
			case i >= 0:
				lines[i] = line
			case values[1-side] != "":
				added.WriteString(line)
			}
		}
	}
	all := strings.Join(lines, "")
	if added.Len() > 0 && all != "" && !strings.HasSuffix(all, "\n") {
		all += "\n"
	}
	return append([]byte(all), added.Bytes()...)
}

// servers are the two servers of a database.
type servers struct {
	Database
	primary, replica Server
}

// open opens the servers of all databases. Nothing is connected yet.
func open(c *Config) (all []servers, closeAll func(), err error) {
	closeAll = func() {
		for _, s := range all {
			for _, one := range []Server{s.primary, s.replica} {
				if one != nil {
					one.Close()
				}
			}
		}
	}
	for _, d := range Databases {
		s := servers{Database: d}
		var primaryErr, replicaErr error
		s.primary, primaryErr = d.Open(c, c.Primary)
		s.replica, replicaErr = d.Open(c, c.Replica)
		all = append(all, s)
		if err := errors.Join(primaryErr, replicaErr); err != nil {
			closeAll()
			return nil, nil, err
		}
	}
	return all, closeAll, nil
}

// eventually calls f each half second until it returns true, or ctx ends.
func eventually(ctx context.Context, f func(ctx context.Context) bool) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, queryTimeout)
		ok := f(attempt)
		cancel()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
