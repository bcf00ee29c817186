package rollout

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

var update = flag.Bool("update", false, "write the plans to the files of testdata/plan")

// TestPlans plans the rollouts of testdata/plan. Each file has the output of `docker compose config`, the state of the host, and
// the plan. The state has lines of these forms:
//
//	rollout SERVICE… [--force] [--build] [--pull=POLICY] [--drain-timeout=DURATION]
//	route SERVICE
//	hash SERVICE HASH          what `docker compose config --hash` prints
//	image NAME ID
//	container SERVICE NUMBER STATUS HASH IMAGE-ID
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			section := func(name string) *txtar.File {
				i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == name })
				if i < 0 {
					t.Fatalf("%s has no section %s", file, name)
				}
				return &archive.Files[i]
			}
			got := planFromText(t, string(section("compose.json").Data), string(section("state").Data))
			want := section("plan")
			if *update {
				want.Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(want.Data) {
				t.Errorf("got\n%s\nwant\n%s", got, want.Data)
			}
		})
	}
}

// planFromText returns the plan as text, or the error of the planner.
func planFromText(t *testing.T, config, state string) string {
	t.Helper()
	project, err := compose.ParseStack(config)
	if err != nil {
		t.Fatal(err)
	}
	r := &Rollout{ReadyTimeout: 2 * time.Minute, SessionGrace: 10 * time.Second}
	snapshots := make(map[string]*snapshot)
	images := make(map[string]string)
	for name, service := range project.Services {
		snapshots[name] = &snapshot{service: service, imageIDs: images}
	}
	for line := range strings.Lines(state) {
		words := strings.Fields(line)
		switch words[0] {
		case "rollout":
			parseOptions(t, r, words[1:])
		case "route":
			snapshots[words[1]].hasRoute = true
		case "hash":
			snapshots[words[1]].desired.configHash = words[2]
		case "image":
			images[words[1]] = words[2]
		case "container":
			s := snapshots[words[1]]
			s.containers = append(s.containers, containerFromWords(project.Name, words[1:]))
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	planner := r.newPlanner(&stack{Stack: project}, make(map[string]bool))
	var plan Plan
	for _, name := range r.Services {
		s := snapshots[name]
		s.desired.imageID = images[project.ImageName(s.service)]
		one, err := planner.plan(*s)
		if err != nil {
			text := fmt.Sprintf("error: %s: %v\n", name, err)
			if h, ok := errors.AsType[*hint.Error](err); ok {
				text += fmt.Sprintf("hint: %s\n", h.Next)
			}
			return text
		}
		plan.Services = append(plan.Services, *one)
	}
	return plan.String()
}

func parseOptions(t *testing.T, r *Rollout, words []string) {
	t.Helper()
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "--force":
			r.Force = true
		case "--build":
			r.Build = true
		case "--pull":
			r.Pull = value
		case "--drain-timeout":
			var err error
			if r.DrainTimeout, err = time.ParseDuration(value); err != nil {
				t.Fatal(err)
			}
		default:
			r.Services = append(r.Services, word)
		}
	}
}

// containerFromWords returns a container from SERVICE NUMBER STATUS HASH IMAGE-ID.
func containerFromWords(project string, words []string) container {
	c := container{compose.Container{Name: project + "-" + words[0] + "-" + words[1], Image: words[4]}}
	c.ID = c.Name
	c.State.Status = words[2]
	c.Config.Labels = map[string]string{"com.docker.compose.container-number": words[1], "com.docker.compose.config-hash": words[3]}
	return c
}

// TestPlanChangesNothing plans a rollout as `edge rollout --dry-run` does.
func TestPlanChangesNothing(t *testing.T) {
	for name, set := range map[string]setupFunc{"start first": withMigration, "stop first": withContainerName} {
		t.Run(name, func(t *testing.T) {
			w := newFakeHost(t, 2)
			r := &Rollout{Docker: w, Edge: "edge", Services: []string{"web"}, Out: new(strings.Builder)}
			set(w, r, func() {})
			plan, err := r.Plan(t.Context())
			if err != nil || !strings.HasPrefix(plan.String(), "web: "+name) {
				t.Fatalf("plan %s, %v", plan, err)
			}
			for _, cmd := range w.commands {
				for _, changing := range []string{"compose up", "compose pull", "compose build", "drain", "stop", "rm"} {
					if strings.HasPrefix(cmd, changing) || strings.Contains(cmd, "edge "+changing) {
						t.Errorf("the plan has run docker %s", cmd)
					}
				}
			}
		})
	}
}

func TestPlanReportsWhatARolloutWouldRefuse(t *testing.T) {
	w := newFakeHost(t, 2)
	w.dryRunOutput = " DRY-RUN MODE -  Container shop-db-1  Stopping \n"
	r := &Rollout{Docker: w, Edge: "edge", Services: []string{"web"}}
	if _, err := r.Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "Compose would do this: Container shop-db-1 Stopping") {
		t.Errorf("got error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Plan(ctx); !errors.Is(err, errInterrupted) {
		t.Errorf("after an interrupt: got error %v", err)
	}
}
