package replication

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/authority"
	"github.com/theworklabs/edge/internal/compose"
)

// fakeDocker answers `docker compose config` with one stack, whatever the environment file has, and notes all other commands.
type fakeDocker struct {
	config string
	ran    []string
}

func (d *fakeDocker) Run(_ context.Context, args ...string) (string, string, error) {
	command := strings.Join(args, " ")
	switch {
	case strings.Contains(command, " config "):
		return d.config, "", nil
	case strings.HasSuffix(command, "maintenance --json"):
		return `{"services":[]}`, "", nil
	}
	d.ran = append(d.ran, command)
	return "", "", nil
}

func (d *fakeDocker) Stream(context.Context, io.Reader, io.Writer, ...string) (string, error) {
	return "", nil
}

// newFakeStack returns a project whose primary is a, and its docker command.
func newFakeStack(t *testing.T) (Stack, *fakeDocker) {
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
	config, err := json.Marshal(map[string]any{"name": "shop", "services": map[string]any{
		"db":  map[string]any{"environment": map[string]string{HostVariable: "a"}},
		"app": map[string]any{"depends_on": map[string]any{"db": map[string]string{"condition": "service_healthy"}}},
		watcherService: map[string]any{
			"environment": map[string]string{
				HostVariable: "a", ReplicaVariable: "b", mariadbVariable: "x", postgresUserVariable: "x", postgresVariable: "x", postgresNameVariable: "x",
				clientVariable: "/run/client.pem", authorityVariable: "/run/authority.pem",
			},
			"volumes": []map[string]string{{"type": "bind", "source": dir, "target": "/run"}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	d := &fakeDocker{config: string(config)}
	return Stack{Project: compose.Project{Directory: dir}, Edge: "edge", Out: new(bytes.Buffer), Docker: func(string) compose.StreamingDocker { return d }}, d
}

func TestAPromotionIsGivenUp(t *testing.T) {
	stack, d := newFakeStack(t)
	p := &Promotion{Stack: stack, Abort: true, Timeout: time.Second}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no promotion is unfinished") {
		t.Errorf("without a promotion: %v", err)
	}
	if err := p.writeJournal(&promotionJournal{From: "a", To: "b", Promoted: []string{"mariadb"}}); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "has begun to be the primary") || len(d.ran) > 0 {
		t.Errorf("after the point of no return: %v, ran %q", err, d.ran)
	}
	if err := p.writeJournal(&promotionJournal{From: "a", To: "b", Closed: []string{"app"}, Compared: true}); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ran := strings.Join(d.ran, "\n")
	if !strings.Contains(ran, "up --detach --no-deps replication db") || !strings.Contains(ran, "edge maintenance off app") {
		t.Errorf("ran\n%s", ran)
	}
	if journal, err := p.readJournal(); journal != nil || err != nil {
		t.Errorf("the journal is still there: %+v, %v", journal, err)
	}
}

// TestAnEnvironmentFileThatComposeDoesNotUse is noticed before anything is closed.
func TestAnEnvironmentFileThatComposeDoesNotUse(t *testing.T) {
	stack, d := newFakeStack(t)
	if err := stack.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := stack.checkSwap(t.Context()); err == nil || !strings.Contains(err.Error(), "do not come from") {
		t.Errorf("got %v", err)
	}
	left, err := os.ReadDir(stack.Project.Directory)
	if err != nil || len(left) != 3 || len(d.ran) > 0 {
		t.Errorf("left %v, %v, ran %q", left, err, d.ran)
	}
}
