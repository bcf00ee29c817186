package imagecleanup

import (
	"strings"
	"testing"
)

func TestAScheduledCleanupFindsTheProject(t *testing.T) {
	d := &fakeDocker{running: []string{"registry"}}
	c := &Cleanup{Docker: d, Edge: "front/edge", Service: "registry", Flags: []string{"--keep", "3"}}
	job, project, err := c.job(t.Context(), []string{"--in-use", "/srv/in use"})
	if err != nil {
		t.Fatal(err)
	}
	const want = "registry cleanup --service registry --keep 3 --in-use /srv/in use --project-name shop --project-directory /srv/shop --file /srv/shop/compose.yaml " +
		"--file /srv/shop/compose.registry.yaml --env-file /srv/shop/.env --edge front/edge"
	if got := strings.Join(job.Args, " "); got != want || job.Name != "edge-registry-shop" || project.Directory != "/srv/shop" {
		t.Errorf("got %q of %s in %s, want %q", got, job.Name, project.Directory, want)
	}
	if len(d.calls) > 0 {
		t.Errorf("something was done: %q", d.calls)
	}
	for name, d := range map[string]*fakeDocker{
		"no registry":     {},
		"no compose file": {running: []string{"registry"}, fails: map[string]string{"config --format": "no configuration file"}},
	} {
		if _, _, err := (&Cleanup{Docker: d, Edge: "edge", Service: "registry"}).job(t.Context(), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
