package replication

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/authority"
	"github.com/theworklabs/edge/internal/compose"
)

var errDown = errors.New("connection refused")

// fakes are a stack whose primary is on the host a, and its replica on b.
type fakes struct {
	stack             Stack
	local             *fakeDocker
	hosts             map[string]*fakeDocker
	mariadb, postgres *fakeServers
	out               *bytes.Buffer
}

// fakeServers are the two servers of a database, whatever hosts they are opened for.
type fakeServers struct {
	primary               PrimaryState
	replica               ReplicaState
	primaryErr            error
	replicaErr            error
	failures              int // of queries of the primary, before it responds
	lacks                 bool
	primaryTables, tables int
	promoted              int
	host                  string // of the primary
}

type fakeServer struct{ *fakeServers }

func (s fakeServer) Primary(context.Context) (PrimaryState, error) {
	if s.failures > 0 {
		s.failures--
		return PrimaryState{}, errDown
	}
	return s.primary, s.primaryErr
}

func (s fakeServer) Replica(context.Context) (ReplicaState, error) { return s.replica, s.replicaErr }
func (s fakeServer) SetSynchronous(context.Context, bool) error    { return nil }
func (s fakeServer) Settle(context.Context) error                  { return nil }
func (s fakeServer) Reconnect(context.Context) error               { return nil }
func (s fakeServer) Has(context.Context, string) (bool, error)     { return !s.lacks, s.replicaErr }
func (s fakeServer) Tables(context.Context) (int, error)           { return s.tables, nil }
func (s fakeServer) Follow(context.Context, string) error          { return nil }
func (s fakeServer) Close()                                        {}
func (s fakeServer) SetWritable(context.Context) error {
	s.primary.IsReadOnly = false
	return nil
}

func (s fakeServer) Promote(context.Context) error {
	s.promoted++
	s.replica.IsReplica, s.replica.IsWritable = false, true
	return s.replicaErr
}

// fakePrimary is the server on the primary's host, whose tables are others.
type fakePrimary struct{ fakeServer }

func (s fakePrimary) hostname(context.Context) (string, error) { return s.host, nil }

func (s fakePrimary) Tables(context.Context) (int, error) { return s.primaryTables, nil }

// fakeDocker is a docker command. It answers `docker compose config` from the environment file, and notes what changes something.
type fakeDocker struct {
	directory   string
	ignoresFile bool // the compose files do not use the environment file
	state       *State
	running     []string // services of a host
	removed     bool     // all containers were removed
	isDown      bool
	ran         []string
	redis       []string // what redis-cli prints, one after the other; then OK
	closed      []string // services in maintenance
	hasNoPage   bool     // none can be
}

func (d *fakeDocker) Run(_ context.Context, args ...string) (string, string, error) {
	command := strings.Join(args, " ")
	switch {
	case d.isDown:
		return "", "", errDown
	case strings.Contains(command, " config "):
		return d.config(args)
	case strings.HasSuffix(command, "maintenance --json"):
		services := make([]map[string]string, len(d.closed))
		for i, name := range d.closed {
			services[i] = map[string]string{"service": name + ":80"}
		}
		text, err := json.Marshal(map[string]any{"services": services})
		return string(text), "", err
	case strings.Contains(command, " maintenance on ") && !d.hasNoPage:
		d.closed = append(d.closed, args[slices.Index(args, "on")+1])
	case strings.Contains(command, " maintenance off "):
		service := args[slices.Index(args, "off")+1]
		d.closed = slices.DeleteFunc(d.closed, func(s string) bool { return s == service })
	case strings.HasSuffix(command, " replica state"):
		text, err := json.Marshal(d.state)
		return string(text), "", err
	case args[0] == "version":
		return "20.10", "", nil
	case args[0] == "ps":
		if d.removed {
			return "", "", nil
		}
		for _, arg := range args {
			if _, service, ok := strings.Cut(arg, "label=com.docker.compose.service="); ok {
				return service, "", nil
			}
		}
	case args[0] == "inspect":
		service := args[len(args)-1]
		status := "exited"
		if slices.Contains(d.running, service) {
			status = "running"
		}
		return fmt.Sprintf(`[{"Id":%q,"Name":%[1]q,"State":{"Status":%q}}]`, service, status), "", nil
	case args[0] == "stop":
		d.running = slices.DeleteFunc(d.running, func(s string) bool { return s == args[len(args)-1] })
	case strings.Contains(command, "redis-cli"):
		d.ran = append(d.ran, command)
		if len(d.redis) > 0 {
			answer := d.redis[0]
			d.redis = d.redis[1:]
			return answer + "\n", "", nil
		}
		return "OK\n", "", nil
	case args[0] == "start":
		if !slices.Contains(d.running, args[1]) {
			d.running = append(d.running, args[1])
		}
	}
	d.ran = append(d.ran, command)
	return "", "", nil
}

func (d *fakeDocker) config(args []string) (string, string, error) {
	file := filepath.Join(d.directory, ".env")
	if i := slices.Index(args, "--env-file"); i >= 0 && !d.ignoresFile {
		file = args[i+1]
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", "", err
	}
	lines := strings.SplitAfter(string(text), "\n")
	environment := map[string]string{
		mariadbVariable: "x", postgresUserVariable: "x", postgresVariable: "x", postgresNameVariable: "x",
		clientVariable: "/run/client.pem", authorityVariable: "/run/authority.pem",
	}
	for _, name := range []string{HostVariable, ReplicaVariable, EpochVariable} {
		if _, value := lastValue(lines, name); value != "" {
			environment[name] = value
		}
	}
	config, err := json.Marshal(map[string]any{"name": "shop", "services": map[string]any{
		"db":  map[string]any{"environment": map[string]string{HostVariable: environment[HostVariable]}},
		"app": map[string]any{"depends_on": map[string]any{"db": map[string]string{"condition": "service_healthy"}}},
		watcherService: map[string]any{
			"environment": environment,
			"volumes":     []map[string]string{{"type": "bind", "source": d.directory, "target": "/run"}},
		},
	}})
	return string(config), "", err
}

func (d *fakeDocker) Stream(context.Context, io.Reader, io.Writer, ...string) (string, error) {
	return "", nil
}

// newFakes returns a stack whose databases are in sync, and whose watcher has said so.
func newFakes(t *testing.T) *fakes {
	t.Helper()
	dir := t.TempDir()
	a, err := authority.New("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Sign("replication", nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"authority.pem": a.CertificatePEM(), "client.pem": client, ".env": []byte("DATABASES_HOST=a\nDATABASES_REPLICA=b\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	started := time.Now().Add(-time.Hour).Truncate(time.Second)
	database := func() *fakeServers {
		return &fakeServers{
			primary: PrimaryState{IsSynchronous: true, IsConnected: true, IsInSync: true, Position: "7", Generation: 1}, primaryTables: 3,
			replica: ReplicaState{IsReplica: true, IsConnected: true, Started: started}, tables: 3,
		}
	}
	f := &fakes{mariadb: database(), postgres: database(), out: new(bytes.Buffer), hosts: make(map[string]*fakeDocker)}
	f.local = &fakeDocker{directory: dir, state: &State{Time: time.Now(), Primary: "a", Replica: "b", Databases: make(map[string]*DatabaseState)}}
	for _, host := range []string{"a", "b"} {
		f.hosts[host] = &fakeDocker{running: []string{"corteza-db", "bigcapital-mysql", portService}}
	}
	before := Databases
	t.Cleanup(func() { Databases = before })
	Databases = nil
	for _, d := range before {
		servers := map[string]*fakeServers{"mariadb": f.mariadb, "postgres": f.postgres}[d.Name]
		f.local.state.Databases[d.Name] = &DatabaseState{Mode: Synchronous, LastInSync: time.Now(), LastUp: time.Now(), ReplicaStarted: started}
		d.Open = func(c *Config, host string) (Server, error) {
			if host == c.Primary {
				return fakePrimary{fakeServer{servers}}, nil
			}
			return fakeServer{servers}, nil
		}
		Databases = append(Databases, d)
	}
	f.stack = Stack{Project: compose.Project{Directory: dir}, Edge: "edge", Out: f.out, Docker: func(host string) compose.StreamingDocker {
		if d := f.hosts[strings.TrimPrefix(host, "ssh://root@")]; d != nil {
			return d
		}
		return f.local
	}}
	return f
}
