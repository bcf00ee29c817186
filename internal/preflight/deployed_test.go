package preflight

import (
	"os"
	"testing"

	"github.com/theworklabs/edge/internal/deploy"
)

// TestDeployedImagesThatAreNotReadAreAWarning: the operator names files, or has changed COMPOSE_FILE since.
func TestDeployedImagesThatAreNotReadAreAWarning(t *testing.T) {
	for name, c := range map[string]struct {
		pins, image string
		level       Level
		message     string
	}{
		"read":            {"services: {app: {image: 'app:2'}}", "app:2", OK, "compose.deploy.yaml is read (services: 1)"},
		"not read":        {"services: {app: {image: 'app:2'}}", "app:1", Warning, "docker compose up would put other images in the place of deployed ones: app"},
		"more than pins":  {"networks: {}", "app:1", Error, "unknown field networks"},
		"another project": {"x-edge-project: other\nservices: {app: {image: 'app:2'}}", "app:1", "", ""},
		"nothing pinned":  {"x-edge-deploy: {}", "app:1", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFakeHost(t)
			w.service("app")["image"] = c.image
			t.Chdir(t.TempDir())
			if err := os.WriteFile(deploy.PinsFile, []byte(c.pins), 0o600); err != nil {
				t.Fatal(err)
			}
			all := w.newCheck(t).Run(t.Context())
			if c.level != "" {
				expectFinding(t, all, "deployment", c.level, c.message, "")
				return
			}
			for _, f := range all {
				if f.Check == "deployment" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}
