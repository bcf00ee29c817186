package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/theworklabs/edge/tests/harness"
)

func TestDockerPushesAndPulls(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY layer /\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "layer"), randomBytes(t, 5<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	host := "localhost:" + stack.HTTPS
	image := host + "/shop/web:1"
	build := exec.CommandContext(t.Context(), "docker", "build", "--quiet", "--tag", image, dir)
	build.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { _, _ = harness.RunDocker(context.WithoutCancel(t.Context()), "image", "rm", "--force", image) })
	docker := func(account string, args ...string) (string, error) {
		config := filepath.Join(dir, account)
		if err := os.MkdirAll(config, 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "docker", append([]string{"--config", config}, args...)...).CombinedOutput()
		return string(out), err
	}
	logIn := func(account, password string) (string, error) {
		return docker(account, "login", "--username", account, "--password", password, host)
	}

	if out, err := docker("nobody", "push", image); err == nil || !strings.Contains(out, "no basic auth credentials") {
		t.Errorf("a push without a password: %v\n%s", err, out)
	}
	if out, err := logIn("push", "wrong"); err == nil || !strings.Contains(strings.ToLower(out), "unauthorized") {
		t.Errorf("a wrong password: %v\n%s", err, out)
	}
	for _, account := range []string{"push", "pull"} {
		if out, err := logIn(account, stack.passwords[account]); err != nil {
			t.Fatalf("log in as %s: %v\n%s", account, err, out)
		}
	}
	if out, err := docker("pull", "push", image); err == nil || !strings.Contains(out, "the account pull has the access") {
		t.Errorf("a push of the account pull: %v\n%s", err, out)
	}
	out, err := docker("push", "push", image)
	if err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	_, pushed, _ := strings.Cut(out, "digest: ")
	pushed, _, _ = strings.Cut(pushed, " ")
	harness.MustDocker(t, "image", "rm", image)
	if out, err := docker("nobody", "pull", image); err == nil {
		t.Errorf("a pull without a password: %s", out)
	}
	if out, err := docker("pull", "pull", host+"/shop/web@"+pushed); err != nil {
		t.Errorf("pull: %v\n%s", err, out)
	}
}

// TestAnInterruptedUploadGoesOn sends a layer in chunks, with connections of their own. Between two of them, the registry is restarted, and the edge is replaced. A chunk that breaks off is
// the end of the upload: CNCF Distribution takes none that continues in its midst.
func TestAnInterruptedUploadGoesOn(t *testing.T) {
	const base = "https://registry.localhost"
	chunk := 5 << 20
	if large := largeSize(t); large > 0 {
		chunk = int(large / 4)
	}
	layer := randomBytes(t, 4*chunk)
	send := func(method, location string, body io.Reader, header ...string) (*http.Response, error) {
		if strings.HasPrefix(location, "/") {
			location = base + location
		}
		req, err := http.NewRequestWithContext(t.Context(), method, location, body)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		req.SetBasicAuth("push", stack.passwords["push"])
		resp, err := stack.Client(false, nil).Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return resp, err
	}
	mustSend := func(status int, method, location string, body io.Reader, header ...string) string {
		t.Helper()
		resp, err := send(method, location, body, header...)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("%s %s: %v, %v, want %d", method, location, resp, err, status)
		}
		return resp.Header.Get("Location")
	}
	begin := func() string {
		t.Helper()
		location := mustSend(http.StatusAccepted, "POST", "/v2/shop/upload/blobs/uploads/", nil)
		if !strings.HasPrefix(location, "/v2/") {
			t.Fatalf("Location %q: want one without the host and the port, which may be others for the client", location)
		}
		return location
	}
	patch := func(location string, n int) string {
		t.Helper()
		return mustSend(http.StatusAccepted, "PATCH", location, bytes.NewReader(layer[n*chunk:(n+1)*chunk]),
			"Content-Type", "application/octet-stream", "Content-Range", fmt.Sprintf("%d-%d", n*chunk, (n+1)*chunk-1))
	}
	location := patch(begin(), 0)
	stack.MustCompose(t, "restart", "registry")
	location = patch(location, 1)
	cmd := exec.CommandContext(t.Context(), stack.edge, append([]string{"rollout", "edge", "--force"}, stack.FileArgs()...)...)
	cmd.Env = stack.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("edge rollout edge: %v\n%s", err, out)
	}
	location = patch(patch(location, 2), 3)
	want := digest.FromBytes(layer)
	target, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	query := target.Query()
	query.Set("digest", want.String())
	target.RawQuery = query.Encode()
	mustSend(http.StatusCreated, "PUT", target.String(), nil)
	got, err := content.FetchAll(t.Context(), stack.repository(t, "shop/upload", "pull").Blobs(), ocispec.Descriptor{Digest: want, Size: int64(len(layer))})
	if err != nil || !bytes.Equal(got, layer) {
		t.Errorf("the layer has %d bytes, %v", len(got), err)
	}

	// A pull that breaks off after a third goes on where it was.
	pull := func(status int, header ...string) io.ReadCloser {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v2/shop/upload/blobs/"+want.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(header) > 0 {
			req.Header.Set(header[0], header[1])
		}
		req.SetBasicAuth("pull", stack.passwords["pull"])
		resp, err := stack.Client(false, nil).Do(req)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("a pull: %v, %v, want %d", resp, err, status)
		}
		return resp.Body
	}
	part := make([]byte, len(layer)/3)
	first := pull(http.StatusOK)
	if _, err := io.ReadFull(first, part); err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	rest := pull(http.StatusPartialContent, "Range", fmt.Sprintf("bytes=%d-", len(part)))
	defer rest.Close()
	if text, err := io.ReadAll(rest); err != nil || digest.FromBytes(append(part, text...)) != want {
		t.Errorf("the rest of a pull has %d bytes, %v", len(text), err)
	}

	broken := begin()
	body := io.MultiReader(bytes.NewReader(layer[:chunk/2]), failingReader{})
	if resp, err := send("PATCH", broken, body, "Content-Type", "application/octet-stream"); err == nil {
		t.Errorf("a chunk that breaks off: %s", resp.Status)
	}
	if _, err := push(t.Context(), stack.repository(t, "shop/upload", "push"), "again", time.Now(), layer); err != nil {
		t.Errorf("the layer from the beginning: %v", err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("the client breaks off") }

// push pushes an image with one layer, and returns its descriptor.
func push(ctx context.Context, repository *remote.Repository, tag string, created time.Time, layer []byte) (ocispec.Descriptor, error) {
	store := func(mediaType string, text []byte) (ocispec.Descriptor, error) {
		d := content.NewDescriptorFromBytes(mediaType, text)
		return d, repository.Push(ctx, d, bytes.NewReader(text))
	}
	config, err := json.Marshal(map[string]any{"created": created, "architecture": "amd64", "os": "linux", "tag": tag})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	configDescriptor, err := store(ocispec.MediaTypeImageConfig, config)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	layerDescriptor, err := store(ocispec.MediaTypeImageLayer, layer)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: configDescriptor, Layers: []ocispec.Descriptor{layerDescriptor}}
	manifest.SchemaVersion = 2
	text, err := json.Marshal(manifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := content.NewDescriptorFromBytes(ocispec.MediaTypeImageManifest, text)
	return d, repository.PushReference(ctx, d, bytes.NewReader(text), tag)
}

// TestAnOfficePushesAtOnce: a CI that builds many images behind one address is not limited.
func TestAnOfficePushesAtOnce(t *testing.T) {
	var running sync.WaitGroup
	for i := range 10 {
		running.Go(func() {
			repository := stack.repository(t, fmt.Sprintf("office/app-%d", i), "push")
			for n := range 20 {
				if _, err := push(t.Context(), repository, fmt.Sprint(n), time.Now(), randomBytes(t, 10<<10)); err != nil {
					t.Errorf("push %d of %d: %v", n, i, err)
					return
				}
			}
		})
	}
	running.Wait()
}

func TestGuessingPasswordsIsLimited(t *testing.T) {
	repository := stack.repository(t, "office/app", "push")
	if _, err := push(t.Context(), repository, "before", time.Now(), randomBytes(t, 1<<10)); err != nil {
		t.Fatal(err)
	}
	client := stack.Client(true, nil)
	statuses := make(map[int]int)
	for range 200 {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://registry.localhost/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("push", "wrong")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		statuses[resp.StatusCode]++
	}
	if statuses[http.StatusUnauthorized] < 100 || statuses[http.StatusTooManyRequests] < 20 {
		t.Errorf("200 wrong passwords got %v", statuses)
	}
	if _, err := push(t.Context(), repository, "after", time.Now(), randomBytes(t, 1<<10)); err != nil {
		t.Errorf("whoever has logged in before: %v", err)
	}
}

// TestCleanupKeepsWhatIsNeeded deletes old images while others are pushed.
func TestCleanupKeepsWhatIsNeeded(t *testing.T) {
	repository := stack.repository(t, "shop/old", "push")
	old := time.Now().AddDate(0, 0, -90)
	shared, lost := randomBytes(t, 1<<20), randomBytes(t, 5<<20)
	for i, tag := range []string{"first", "v1", "second", "newest"} {
		layer := shared
		if tag == "first" {
			layer = lost
		}
		if _, err := push(t.Context(), repository, tag, old.AddDate(0, 0, i), layer); err != nil {
			t.Fatal(err)
		}
	}
	// A layer that was pushed by its SHA-512, and that no image has.
	text := randomBytes(t, 100<<10)
	unused := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.SHA512.FromBytes(text), Size: int64(len(text))}
	if err := repository.Push(t.Context(), unused, bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	size := func() (n int64) {
		if _, err := fmt.Sscan(stack.MustCompose(t, "exec", "-T", "registry", "du", "-sb", "/var/lib/registry"), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := size()
	cleanup := func(flags ...string) string {
		args := append([]string{"registry", "cleanup", "--keep", "1", "--keep-for", "24h"}, append(stack.FileArgs(), flags...)...)
		cmd := exec.CommandContext(t.Context(), stack.edge, args...)
		cmd.Env = stack.Environ()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("edge %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if out := cleanup("--dry-run"); !strings.Contains(out, "shop/old: 2 of 4 tags\n") {
		t.Errorf("--dry-run printed\n%s", out)
	}
	if size() != before {
		t.Error("--dry-run has deleted something")
	}

	ctx, stop := context.WithCancel(t.Context())
	var pushed []ocispec.Descriptor
	var pushing sync.WaitGroup
	during := stack.repository(t, "shop/during", "push")
	pushing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			d, err := push(ctx, during, fmt.Sprintf("commit-%d", i), time.Now(), randomBytes(t, 100<<10))
			if ctx.Err() != nil {
				return
			}
			// An image whose layer was pushed before, and its manifest after the cleanup, is refused: see docs/registry.md.
			var refused *errcode.ErrorResponse
			if errors.As(err, &refused) && strings.Contains(err.Error(), "blob unknown") {
				continue
			}
			if err != nil {
				t.Errorf("a push during the cleanup: %v", err)
				return
			}
			pushed = append(pushed, d)
		}
	})
	out := cleanup()
	t.Log(out)
	stop()
	pushing.Wait()
	if !strings.Contains(out, "shop/old: deleted 2 tags, kept 2\n") {
		t.Errorf("printed\n%s", out)
	}
	for _, tag := range []string{"first", "second"} {
		if _, err := repository.Resolve(t.Context(), tag); err == nil {
			t.Errorf("%s is still there", tag)
		}
	}
	t.Logf("the storage has %d bytes, before %d, and %d images were pushed meanwhile", size(), before, len(pushed))
	if hasBlob(t, digest.FromBytes(lost)) {
		t.Error("the layer of the deleted image is still stored")
	}
	if !hasBlob(t, digest.FromBytes(shared)) {
		t.Error("the layer of the images that are kept is not stored")
	}
	for _, tag := range []string{"v1", "newest"} {
		d, err := repository.Resolve(t.Context(), tag)
		if err != nil {
			t.Fatal(err)
		}
		checkComplete(t, repository, d)
	}
	if len(pushed) == 0 {
		t.Error("nothing was pushed meanwhile")
	}
	for _, d := range pushed {
		checkComplete(t, during, d)
	}
}

// hasBlob reports whether the registry's volume has a layer, or another part of an image.
func hasBlob(t *testing.T, d digest.Digest) bool {
	t.Helper()
	name := fmt.Sprintf("/var/lib/registry/docker/registry/v2/blobs/sha256/%s/%s/data", d.Encoded()[:2], d.Encoded())
	return stack.MustCompose(t, "exec", "-T", "registry", "find", "/var/lib/registry", "-path", name) != ""
}

// checkComplete fetches all of an image.
func checkComplete(t *testing.T, repository *remote.Repository, d ocispec.Descriptor) {
	t.Helper()
	parts, err := content.Successors(t.Context(), repository, d)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		if _, err := content.FetchAll(t.Context(), repository, part); err != nil {
			t.Errorf("%s of %s: %v", part.Digest, d.Digest, err)
		}
	}
}
