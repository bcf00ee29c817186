package edge_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.yaml.in/yaml/v3"
)

// TestOldComposeFileServesOldAndNewCaddyfile: the compose file of an earlier version may start an edge whose image has the
// Caddyfile of this version, and the reverse.
func TestOldComposeFileServesOldAndNewCaddyfile(t *testing.T) {
	old := filepath.Join("tests", "testdata", "compat")
	for _, compose := range []string{filepath.Join(old, "compose.yaml"), "compose.yaml"} {
		environment := edgeEnvironment(t, compose)
		for _, caddyfile := range []string{filepath.Join(old, "Caddyfile"), "Caddyfile"} {
			t.Run(compose+" "+caddyfile, func(t *testing.T) {
				for _, name := range []string{"EDGE_DOCKER_HOST", "DOCKER_ENDPOINT"} {
					t.Setenv(name, "") // restored after the test
					if err := os.Unsetenv(name); err != nil {
						t.Fatal(err)
					}
				}
				for name, value := range environment {
					t.Setenv(name, value)
				}
				text, err := os.ReadFile(caddyfile)
				if err != nil {
					t.Fatal(err)
				}
				adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": caddyfile})
				if err != nil {
					t.Fatal(err)
				}
				var config struct {
					Apps struct {
						Edge map[string]any
					}
				}
				if err := json.Unmarshal(adapted, &config); err != nil {
					t.Fatal(err)
				}
				if got := config.Apps.Edge["docker_host"]; got != "tcp://docker-guard:2375" {
					t.Errorf("docker_host is %v, want tcp://docker-guard:2375", got)
				}
			})
		}
	}
}

// edgeEnvironment returns the variables that a compose file gives to the edge where .env sets none of those that it uses: the
// innermost default of each.
func edgeEnvironment(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var project struct {
		Services map[string]struct{ Environment yaml.Node }
	}
	if err := yaml.Unmarshal(text, &project); err != nil {
		t.Fatal(err)
	}
	var environment map[string]string
	service := project.Services["edge"]
	if err := service.Environment.Decode(&environment); err != nil {
		t.Fatal(err)
	}
	for name, value := range environment {
		switch {
		case !strings.Contains(value, "${"):
		case strings.HasSuffix(name, "DOCKER_HOST"):
			environment[name] = strings.TrimRight(value[strings.LastIndex(value, ":-")+len(":-"):], "}")
		default:
			delete(environment, name)
		}
	}
	return environment
}
