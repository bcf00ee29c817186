// Package observability tests compose.observability.yaml with Debian's Prometheus, Alertmanager, exporters and rsyslog, and VictoriaLogs.
//
// `make test` runs it in about four minutes.
package observability

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/replication"
	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

const (
	password  = "correct horse battery staple"
	subnet    = "172.16.181.0/24"
	addresses = "172.16.181.128/25"
)

// stack is the shipped stack with the overlay, which all tests use.
var stack observedStack

type observedStack struct {
	harness.Project
	prometheus, alertmanager, logs string // addresses on loopback
	isStarted                      bool
	startedAt                      time.Time
}

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir: "tests/observability",
		Requires: []harness.Requirement{
			harness.Docker, harness.Compose,
			harness.Images("edge:dev", "edge-gate:dev", "edge-test/generic:test", "edge-test/observability:test", "edge-test/bigcapital-server:test"),
		},
		Setup: stack.up,
		Teardown: func(isFailed bool) error {
			if !stack.isStarted {
				return nil
			}
			return stack.Finish(isFailed, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
		},
	})
}

// up starts the stack, with Prometheus reading each second.
func (s *observedStack) up(dir string) error {
	ports := make([]string, 5)
	for i := range ports {
		var err error
		if ports[i], err = testport.Reserve(); err != nil {
			return err
		}
	}
	env := filepath.Join(dir, ".env")
	if err := harness.WriteEnv(env, "localhost"); err != nil {
		return err
	}
	edge, err := harness.EdgeBinary()
	if err != nil {
		return err
	}
	hash, err := exec.Command(edge, "hash-password", "--bcrypt-cost", "10", "--plaintext", password).Output()
	if err != nil {
		return err
	}
	shipped, err := os.ReadFile(harness.Root() + "/observability/prometheus.yaml")
	if err != nil {
		return err
	}
	fast := strings.NewReplacer("interval: 15s", "interval: 1s", "refresh_interval: 10s", "refresh_interval: 1s").Replace(string(shipped))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yaml"), []byte(fast), 0o644); err != nil {
		return err
	}
	if shipped, err = os.ReadFile(harness.Root() + "/observability/alertmanager.yaml"); err != nil {
		return err
	}
	called := strings.NewReplacer("group_wait: 15s", "group_wait: 1s", "group_interval: 2m", "group_interval: 10s",
		"    # webhook_configs:\n    #   - url: https://hooks.example.com/edge\n", "    webhook_configs:\n      - url: http://receiver:8090/api/echo\n").Replace(string(shipped))
	if err := os.WriteFile(filepath.Join(dir, "alertmanager.yaml"), []byte(called), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	s.Project = harness.Project{
		Name: "edgeobserved", HTTP: ports[0], HTTPS: ports[1],
		Files: []string{"../../compose.yaml", "../../compose.observability.yaml", "../compose.test.yaml", "compose.test.yaml"},
		Env: []string{
			"COMPOSE_ENV_FILES=" + env, "PUBLISH_HTTP=127.0.0.1:" + ports[0], "PUBLISH_HTTPS=127.0.0.1:" + ports[1], "PUBLIC_HTTPS_PORT=" + ports[1],
			"ALERTMANAGER_CONFIG=" + filepath.Join(dir, "alertmanager.yaml"),
			"TEST_DIR=" + dir, "TEST_PROMETHEUS=" + ports[2], "TEST_ALERTMANAGER=" + ports[3], "TEST_LOGS=" + ports[4],
			"COMPOSE_PROFILES=light,containers", "LOG_SHIPPER_IMAGE=edge-test/observability:test",
			"OBSERVABILITY_PASSWORD_HASH=" + strings.TrimSpace(string(hash)), "OBSERVABILITY_SUBNET=" + subnet, "OBSERVABILITY_RANGE=" + addresses,
		},
	}
	s.prometheus, s.alertmanager, s.logs = "http://127.0.0.1:"+ports[2], "http://127.0.0.1:"+ports[3], "http://127.0.0.1:"+ports[4]
	if err := s.CheckNotKept(); err != nil {
		return err
	}
	if err := writeReplication(filepath.Join(dir, "replication.json")); err != nil {
		return err
	}
	s.isStarted, s.startedAt = true, time.Now()
	_, err = s.Compose(context.Background(), "up", "--detach", "--quiet-pull")
	return err
}

// writeReplication writes what the service replication would, of databases and a replica that this stack does not have.
func writeReplication(file string) error {
	d := func() *replication.DatabaseState {
		return &replication.DatabaseState{Mode: replication.Synchronous, IsPrimaryUp: true, IsConnected: true}
	}
	state, err := json.Marshal(replication.State{
		Time:    time.Now().Add(24 * time.Hour), // nothing writes it again
		Primary: "a", Replica: "b", Databases: map[string]*replication.DatabaseState{"mariadb": d(), "postgres": d()},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(file, state, 0o644)
}

// site returns an address of the edge.
func site(name string) string { return "https://" + name + ".localhost" }

// get makes a GET request to a published program, and decodes its JSON.
func get(ctx context.Context, address string, query url.Values, to any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", address, resp.Status, body)
	}
	return json.Unmarshal(body, to)
}

// series is what Prometheus has found: a label set, and its values with their times.
type series struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
	Values [][2]any          `json:"values"`
}

// query runs an expression, over a range of times unless that is zero.
func (s *observedStack) query(ctx context.Context, expr string, from time.Time) ([]series, error) {
	values, path := url.Values{"query": {expr}}, "/api/v1/query"
	if !from.IsZero() {
		path = "/api/v1/query_range"
		values.Set("start", fmt.Sprint(from.Unix()))
		values.Set("end", fmt.Sprint(time.Now().Unix()))
		values.Set("step", "1")
	}
	var answer struct {
		Data struct {
			Result []series `json:"result"`
		} `json:"data"`
	}
	err := get(ctx, s.prometheus+path, values, &answer)
	return answer.Data.Result, err
}

// edge runs a command in the edge's container.
func (s *observedStack) edge(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "docker", append(append(append([]string{"compose"}, s.FileArgs()...), "exec", "-T", "edge", "edge"), args...)...)
	cmd.Env, cmd.Stdin = s.Environ(), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("edge %v: %v\n%s", args, err, out)
	}
}
