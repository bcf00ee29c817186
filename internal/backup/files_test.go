package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// writeFiles writes files below a directory.
func writeFiles(t *testing.T, directory string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(directory, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProjectFilesAreAllThatAreNamed(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	writeFiles(t, dir, map[string]string{
		"compose.yaml": `
include:
  - more/compose.yaml
  - path: [parts/a.yaml]
    env_file: parts/a.env
  - https://example.com/compose.yaml
services:
  web:
    env_file: [web.env, {path: optional.env, required: false}, "${WHICH}.env"]
    extends: {file: common/base.yaml, service: web}
  other: {extends: web, env_file: other.env}
  none:
`,
		"compose.override.yaml": "services: {web: {env_file: override.env}}",
		"more/compose.yaml":     "services: {m: {env_file: m.env}}",
		"more/.env":             "", "more/m.env": "", "parts/a.yaml": "services: {}", "parts/a.env": "", "web.env": "", "other.env": "", "override.env": "",
		"common/base.yaml": "services: {web: {env_file: base.env}}", "common/base.env": "",
		".env": "", "backup.env": "", "sites/one.caddy": "", "secret.txt": "", "unrelated": "",
	})
	writeFiles(t, outside, map[string]string{"config": "", "directory/file": ""})
	stack := &compose.Stack{
		Services: map[string]*compose.Service{"web": {Volumes: []compose.Mount{
			{Type: "bind", Source: filepath.Join(dir, "sites"), ReadOnly: true},
			{Type: "bind", Source: filepath.Join(outside, "config"), ReadOnly: true},
			{Type: "bind", Source: filepath.Join(outside, "directory"), ReadOnly: true},
			{Type: "bind", Source: "/proc", ReadOnly: true},
		}}},
		Secrets: map[string]compose.FileObject{"s": {File: filepath.Join(dir, "secret.txt")}},
	}
	files, warnings, err := projectFiles(stack, compose.Project{Directory: dir})
	if err != nil {
		t.Fatal(err)
	}
	const want = ".env backup.env common/base.env common/base.yaml compose.override.yaml compose.yaml more/.env more/compose.yaml more/m.env " +
		"other.env override.env parts/a.env parts/a.yaml secret.txt sites/one.caddy web.env OUTSIDE/config"
	got := strings.ReplaceAll(strings.Join(relativeTo(dir, files), " "), outside, "OUTSIDE")
	if sortWords(got) != sortWords(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	text := strings.Join(warnings, "\n")
	for _, want := range []string{"https://example.com/compose.yaml", "${WHICH}.env", filepath.Join(outside, "directory") + ", which a service mounts"} {
		if !strings.Contains(text, want) {
			t.Errorf("no warning of %s:\n%s", want, text)
		}
	}
	if len(warnings) != 3 {
		t.Errorf("warnings:\n%s", text)
	}
}

func sortWords(text string) string {
	words := strings.Fields(text)
	return fmt.Sprint(len(words), sortedKeys(func() map[string]bool {
		m := make(map[string]bool)
		for _, w := range words {
			m[w] = true
		}
		return m
	}()))
}

// archiveOf returns an archive of files.
func archiveOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		content := "content of " + name
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), Uid: os.Getuid(), Gid: os.Getgid()}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAVolumeInsideOfAnotherHasAnArchiveOfItsOwn(t *testing.T) {
	var out bytes.Buffer
	w, wait := withoutDirectories(&out, []string{"uploads"}, nil)
	_, err := w.Write(archiveOf(t, "a", "uploads/x", "uploads-old/y", "./uploads/z/1"))
	if err := errors.Join(err, w.Close(), wait()); err != nil {
		t.Fatal(err)
	}
	var names []string
	for entries := tar.NewReader(&out); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
	}
	if got := strings.Join(names, " "); got != "a uploads-old/y" {
		t.Errorf("got %s", got)
	}
	w, wait = withoutDirectories(io.Discard, []string{"uploads"}, nil)
	_, _ = w.Write([]byte("no archive at all, but more than a header of an archive has: " + strings.Repeat("x", 1024)))
	_ = w.Close()
	if wait() == nil {
		t.Error("what is no archive is passed on")
	}
}

func TestFilesOfAProjectAreWrittenOnceAndNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	archive := archiveOf(t, "compose.yaml", "sites/one.caddy")
	for range 2 { // also after an interrupted attempt
		if err := checkFiles(archive, dir); err != nil {
			t.Fatal(err)
		}
		if n, err := extractFiles(archive, dir); err != nil || n != 2 {
			t.Fatal(n, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "sites/one.caddy")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	writeFiles(t, dir, map[string]string{"compose.yaml": "mine"})
	if err := checkFiles(archive, dir); err == nil || !strings.Contains(err.Error(), "compose.yaml") || hint.Of(err) == "" {
		t.Errorf("got %v", err)
	}
	if _, err := extractFiles(archiveOf(t, "../outside"), dir); err == nil {
		t.Error("a file outside of the directory is written")
	}
}

func TestDirectoriesWithKeysAreClosedOnANewHost(t *testing.T) {
	dir := t.TempDir()
	if _, err := extractFiles(archiveOf(t, "databases/authority", "databases/-----BEGIN PRIVATE KEY-----", "sites/one.caddy", "-----BEGIN PRIVATE KEY-----"), dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"databases": 0o700, "sites": 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", name, info, err, want)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("a directory that was there has the mode %v now (%v)", info.Mode(), err)
	}
}

func TestServicesInMaintenanceAreRecognized(t *testing.T) {
	closed := []string{"web:8080", "shop/api:80", "other/db:80", "a-1:1,a-2:1"}
	for service, want := range map[string]bool{"web": true, "api": true, "db": false, "a-2": true, "a": false} {
		if got := isClosed(closed, "shop", service); got != want {
			t.Errorf("%s: %v", service, got)
		}
	}
}

func TestTheAppendOnlyFileOfRedis(t *testing.T) {
	for answers, want := range map[string]string{
		"appendonly\nno\nappenddirname\nappendonlydir\nappendfilename\nappendonly.aof\n":  "",
		"appendonly\nyes\nappenddirname\nappendonlydir\nappendfilename\nappendonly.aof\n": "appendonlydir/appendonly.aof",
		"appendonly\nyes\nappendfilename\nappendonly.aof\n":                               "appendonly.aof", // before Redis 7
		"": "",
	} {
		if got := appendOnlyFile(answers); got != want {
			t.Errorf("%q: got %q", answers, got)
		}
	}
}

func TestMountsAreOptions(t *testing.T) {
	for want, m := range map[string]mount{
		"--mount=type=volume,source=shop_db,target=/data": {"volume", "shop_db", "/data"},
		"--volume=/srv/files:/files":                      {"bind", "/srv/files", "/files"},
		"--mount=type=bind,source=/srv/a:b,target=/files": {"bind", "/srv/a:b", "/files"},
	} {
		if got := m.option(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// registryDocker is the docker command of an Engine with a registry: an image is pushed between the two copies.
type registryDocker struct {
	recordingDocker
	t *testing.T
}

// Stream implements [Docker].
func (d *registryDocker) Stream(_ context.Context, _ io.Reader, stdout io.Writer, args ...string) (string, error) {
	files := map[string]string{"./v2/blobs/1": "a", "./v2/blobs/2": "b", "./v2/repositories/web/1": "1", "./v2/repositories/web/2": "2"}
	if strings.HasSuffix(args[1], "/v2/repositories/.") {
		files = map[string]string{"./": "", "./web/": "", "./web/1": "1"}
	}
	if strings.HasSuffix(args[1], "/none/.") {
		return "Error response from daemon: Could not find the file /var/lib/registry/none/. in container x", errors.New("exit status 1")
	}
	w := tar.NewWriter(stdout)
	for _, name := range sortedKeys(files) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			d.t.Error(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			d.t.Error(err)
		}
	}
	return "", w.Close()
}

// TestWhatRefersToOthersIsCopiedFirst: a set must not have a tag without the layers of its image.
func TestWhatRefersToOthersIsCopiedFirst(t *testing.T) {
	docker := &registryDocker{t: t}
	for first, want := range map[string]string{
		"/var/lib/registry/v2/repositories": "v2/blobs/1 v2/blobs/2 v2/repositories/ v2/repositories/web/ v2/repositories/web/1",
		"/var/lib/registry/none":            "v2/blobs/1 v2/blobs/2 v2/repositories/web/1 v2/repositories/web/2", // not yet
		"":                                  "v2/blobs/1 v2/blobs/2 v2/repositories/web/1 v2/repositories/web/2",
	} {
		b := &appBackup{files: newFileNames()}
		var out bytes.Buffer
		c := &container{compose.Container{ID: "x"}, docker, "registry"}
		if err := b.copyFiles(t.Context(), c, "/var/lib/registry", Source{Paths: []string{"/var/lib/registry"}, First: first}, &out); err != nil {
			t.Fatal(err)
		}
		var names []string
		for r := tar.NewReader(&out); ; {
			header, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, strings.TrimPrefix(header.Name, "./"))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: got %s", first, got)
		}
	}
}
