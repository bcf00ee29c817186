package backup

import (
	"context"
	"maps"
	"strings"
	"testing"
)

// imagesDocker is the docker command of an Engine with containers of three services. The image of one was built there.
type imagesDocker struct{ recordingDocker }

// Run implements [Docker].
func (*imagesDocker) Run(_ context.Context, args ...string) (stdout, stderr string, err error) {
	all := strings.Join(args, " ")
	switch {
	case args[0] == "ps":
		_, service, _ := strings.Cut(all, "compose.service=")
		service, _, _ = strings.Cut(service, " ")
		return service + "\n", "", nil
	case args[0] == "image":
		return `[{"Id": "sha256:db", "RepoDigests": ["mariadb@sha256:aa", "docker.io/library/mariadb@sha256:bb"]}, {"Id": "sha256:own", "RepoDigests": []}]`, "", nil
	}
	image := map[string]string{"db": "sha256:db", "server": "sha256:own"}[args[len(args)-1]]
	return `[{"Id": "1", "Name": "/x", "Image": "` + image + `"}]`, "", nil
}

// TestAManifestNamesTheImagesOfTheWholeApplication: also of the server, whose migrations the data has gone through.
func TestAManifestNamesTheImagesOfTheWholeApplication(t *testing.T) {
	stack := parseStack(t, `{"name": "shop", "services": {
		"db": {"labels": {"edge.backup": "mariadb", "edge.backup.app": "shop"}},
		"server": {"depends_on": {"db": {"condition": "service_healthy"}}}, "other": {}}}`)
	docker := &imagesDocker{}
	b := &appBackup{
		Backup: &Backup{Docker: docker, session: session{docker: docker, stack: stack}}, app: App{Name: "shop", Sources: []Source{{Service: "db", Kind: MariaDB}}},
		manifest: &Manifest{ImageDigests: make(map[string]string)},
	}
	if err := b.noteDigests(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"db": "mariadb@sha256:aa"}; !maps.Equal(b.manifest.ImageDigests, want) {
		t.Errorf("got %v", b.manifest.ImageDigests)
	}
}
