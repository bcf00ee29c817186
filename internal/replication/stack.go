package replication

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	s.directory = s.Project.Directory
	if s.directory == "" && len(s.Project.Files) > 0 {
		s.directory = filepath.Dir(s.Project.Files[0])
	}
	s.directory = cmp.Or(s.directory, ".")
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

// stop stops services on the host, each of which has to be there. A container that somebody has stopped does not start again when the host does.
func (h *host) stop(ctx context.Context, services ...string) error {
	for _, service := range services {
		c, err := h.container(ctx, service)
		if err != nil {
			return err
		}
		args := []string{"stop", c.ID}
		if service == portService { // it would wait for its clients
			args = []string{"stop", "--time", "1", c.ID}
		}
		if _, _, err := h.docker.Run(ctx, args...); err != nil {
			return err
		}
		if c, err = h.container(ctx, service); err == nil && c.IsUp() {
			err = fmt.Errorf("%s still runs on %s", service, h.address)
		}
		if err != nil {
			return err
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

// applications returns the services that depend on those of databases.
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

// maintenance has the edge show its maintenance page for services, or end that. Services without a route have none.
func (s *Stack) maintenance(ctx context.Context, operation string, services []string, flags ...string) {
	for _, service := range services {
		args := append([]string{"exec", "--no-TTY", s.Edge, "edge", "maintenance", operation, service}, flags...)
		_, _, _ = s.local().Run(ctx, s.Project.Args(args...)...) // what is in maintenance afterwards is looked at by whoever needs it
	}
}

// closedServices returns the services that are in maintenance.
func (s *Stack) closedServices(ctx context.Context) (names []string, err error) {
	out, _, err := s.local().Run(ctx, s.Project.Args("exec", "--no-TTY", s.Edge, "edge", "maintenance", "--json")...)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Services []struct{ Service string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return nil, err
	}
	for _, s := range answer.Services {
		for address := range strings.SplitSeq(s.Service, ",") {
			name, _, _ := strings.Cut(address, ":")
			if _, after, hasProject := strings.Cut(name, "/"); hasProject {
				name = after
			}
			names = append(names, name)
		}
	}
	return names, nil
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

// environmentFile returns the file with the variables of the project.
func (s *Stack) environmentFile() string {
	if n := len(s.Project.EnvFiles); n > 0 {
		return s.Project.EnvFiles[n-1]
	}
	return filepath.Join(s.directory, ".env")
}

// checkSwap fails if a change of the environment file would not have Compose use the other host as the primary.
func (s *Stack) checkSwap(ctx context.Context) error {
	file := s.environmentFile()
	text, err := os.ReadFile(file)
	if err != nil {
		return hint.New(err, "that file has "+HostVariable+" and "+ReplicaVariable+"; name the directory with --project-directory")
	}
	trial := filepath.Join(filepath.Dir(file), ".edge-promotion.env")
	if err := os.WriteFile(trial, setPrimary(text, s.config.Replica), 0o600); err != nil {
		return err
	}
	defer os.Remove(trial)
	other := *s
	other.Project.EnvFiles = append(slices.Clone(s.Project.EnvFiles[:max(0, len(s.Project.EnvFiles)-1)]), trial)
	if err := other.load(ctx); err != nil {
		return err
	}
	if other.config.Primary != s.config.Replica || other.config.Replica != s.config.Primary || other.config.Epoch != s.config.Epoch+1 {
		return hint.New(fmt.Errorf("%s, %s and %s do not come from %s, which a promotion changes", HostVariable, ReplicaVariable, EpochVariable, file),
			"set them in that file alone: not in the shell, and not in the compose files")
	}
	return nil
}

// setHosts makes a host the primary in the environment file, and reads the compose files again. It may be called again.
func (s *Stack) setHosts(ctx context.Context, primary string) error {
	file := s.environmentFile()
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := writeFile(file, setPrimary(text, primary), 0o600); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	if s.config.Primary != primary {
		return hint.New(fmt.Errorf("%s is %s, want %s", HostVariable, s.config.Primary, primary), "set it in "+file+" alone, and call it again")
	}
	return nil
}

// setPrimary makes a host the primary in the text of an environment file, and counts that. It changes nothing if it is the primary already.
func setPrimary(text []byte, primary string) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	if _, value := lastValue(lines, HostVariable); value == primary {
		return text
	}
	var added []string
	set := func(name, value string) {
		line := name + "=" + value + "\n"
		if i, _ := lastValue(lines, name); i >= 0 {
			lines[i] = line
		} else if value != "" {
			added = append(added, line)
		}
	}
	for _, names := range swapped {
		_, first := lastValue(lines, names[0])
		_, second := lastValue(lines, names[1])
		set(names[0], second)
		set(names[1], first)
	}
	_, epoch := lastValue(lines, EpochVariable)
	n, _ := strconv.Atoi(epoch) // "" is 0
	set(EpochVariable, strconv.Itoa(n+1))
	all := strings.Join(lines, "")
	if len(added) > 0 && all != "" && !strings.HasSuffix(all, "\n") {
		all += "\n"
	}
	return []byte(all + strings.Join(added, ""))
}

// lastValue returns the line of a variable that counts, and its value; -1 if there is none.
func lastValue(lines []string, name string) (at int, value string) {
	at = -1
	for i, line := range lines {
		if key, v, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == name {
			at, value = i, strings.TrimRight(v, "\r\n")
		}
	}
	return at, value
}

// servers are the two servers of a database.
type servers struct {
	Database
	primary, replica Server
}

func (s servers) primaryState(ctx context.Context) (PrimaryState, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	state, err := s.primary.Primary(ctx)
	if err == nil && state.IsReplica {
		err = errors.New("it is a replica")
	}
	return state, err
}

func (s servers) replicaState(ctx context.Context) (ReplicaState, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.replica.Replica(ctx)
}

// openServers opens the servers of all databases. Nothing is connected yet.
func openServers(c *Config) (all []servers, closeAll func(), err error) {
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
