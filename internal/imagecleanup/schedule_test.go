package imagecleanup

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

func TestAScheduledCleanupFindsTheProject(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	for name, c := range map[string]struct {
		project compose.Project
		want    string
	}{
		"of the containers": {compose.Project{}, "--project-directory /srv/shop --file /srv/shop/compose.yaml --file /srv/shop/compose.registry.yaml --env-file /srv/shop/.env"},
		"with relative paths": {
			compose.Project{Files: []string{"compose.yaml", "../more.yaml"}, EnvFiles: []string{"prod.env"}, Profiles: []string{"tools"}},
			"--project-directory " + here + " --file " + here + "/compose.yaml --file " + filepath.Dir(here) + "/more.yaml --env-file " + here + "/prod.env",
		},
		"with a directory": {compose.Project{Directory: "."}, "--project-directory " + here + " --file /srv/shop/compose.yaml --file /srv/shop/compose.registry.yaml --env-file /srv/shop/.env"},
	} {
		d := &fakeDocker{running: []string{"registry"}}
		cleanup := &Cleanup{Docker: d, Project: c.project, Edge: "front/edge", Service: "registry", Flags: []string{"--keep", "3"}}
		job, project, err := cleanup.job(t.Context(), []string{"--in-use", "/srv/in use"})
		if err != nil {
			t.Fatal(err)
		}
		want := "registry cleanup --service registry --keep 3 --in-use /srv/in use --project-name shop " + c.want + " --edge front/edge"
		if len(c.project.Profiles) > 0 {
			want += " --profile tools"
		}
		if got := strings.Join(job.Args, " "); got != want || job.Name != "edge-registry-shop" || !strings.HasPrefix(c.want, "--project-directory "+project.Directory+" ") {
			t.Errorf("%s: got %q of %s in %s, want %q", name, got, job.Name, project.Directory, want)
		}
		if job.StopTimeout < stopTimeout+startTimeout+4*undoTimeout || job.CatchUp {
			t.Errorf("%s: it is killed after %v, or catches up: %t", name, job.StopTimeout, job.CatchUp)
		}
		if len(d.calls) > 0 {
			t.Errorf("%s: something was done: %q", name, d.calls)
		}
	}
	for name, c := range map[string]struct {
		docker  *fakeDocker
		service string
		want    string
	}{
		"no registry":     {new(fakeDocker), "registry", "does not run"},
		"no compose file": {&fakeDocker{running: []string{"registry"}, fails: map[string]string{"config --format": "no configuration file"}}, "registry", "exit status 1"},
		"another service": {&fakeDocker{running: []string{"images"}}, "images", "have no service images"},
	} {
		if _, _, err := (&Cleanup{Docker: c.docker, Edge: "edge", Service: c.service}).job(t.Context(), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
