package replication

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// watcherService is the service that runs the [Watcher].
const watcherService = "replication"

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

// Forget stops the replica and the watcher, which forgets what the replica has: before a restore of the primary, which the replica cannot follow, although it may seem to.
func (s *Stack) Forget(ctx context.Context) error {
	if err := s.load(ctx); err != nil {
		return err
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if journal, err := s.readJournal(); err != nil {
		return err
	} else if journal != nil {
		return hint.New(fmt.Errorf("the promotion of %s is not finished", journal.To), "edge replica promote finishes it")
	}
	replica := s.host(s.config.Replica)
	if err := s.step("stopped the databases on "+replica.address, func() error { return replica.stop(ctx, fencedServices()...) }); err != nil {
		return hint.New(err, "they must not run until edge replica rejoin: see that DATABASES_REPLICA_DOCKER names the way to that Engine")
	}
	err = s.step("stopped "+watcherService+", which knows nothing of the replica any more", func() error {
		for _, args := range [][]string{{"stop", watcherService}, {"run", "--rm", "--no-deps", "--no-TTY", watcherService, "replica", "forget-state"}} {
			if _, _, err := s.local().Run(ctx, s.Project.Args(args...)...); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		fmt.Fprintf(s.Out, "next, after the restore: docker compose up --detach %s, and edge replica rejoin\n", watcherService)
	}
	return err
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
