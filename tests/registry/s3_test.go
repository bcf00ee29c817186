package registry

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"oras.land/oras-go/v2/content"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// storageOnS3 is the compose file for an S3 bucket that docs/registry.md shows, with the server and what it needs beside the bucket.
func storageOnS3(t *testing.T, endpoint string, more ...string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/registry.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml\n(services:\n  registry:\n    environment:\n      REGISTRY_STORAGE: s3\n.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatal("docs/registry.md has no compose file for S3")
	}
	lines := append([]string{"REGISTRY_STORAGE_S3_REGIONENDPOINT: http://" + endpoint, `REGISTRY_STORAGE_S3_FORCEPATHSTYLE: "true"`}, more...)
	return strings.Replace(string(found[1]), "    environment:\n", "    environment:\n      "+strings.Join(lines, "\n      ")+"\n", 1)
}

// TestStorageOnS3 keeps images in a bucket, as docs/registry.md says: they are pushed, pulled and cleaned up. Clients get layers from the bucket itself, unless that is switched off.
func TestStorageOnS3(t *testing.T) {
	if os.Getenv("EDGE_TEST_DELIVERY") == "" {
		t.Skip("part of make test-delivery")
	}
	const bucket = "shop-images"
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	gateway, err := harness.BridgeGateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := gateway + ":" + testport.Port(t)
	harness.StartProcess(t, exec.Command(harness.Tool(t, "versitygw"), "--port", address, "--access", "key", "--secret", "secret-key", "--region", "eu-central-1", "posix", dir))
	harness.Eventually(t, "the bucket is there", func() bool {
		resp, err := http.Get("http://" + address + "/" + bucket)
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusForbidden
	})
	// use has the registry use the bucket.
	onS3 := stack.Project
	use := func(more ...string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "compose.s3.yaml")
		if err := os.WriteFile(file, []byte(storageOnS3(t, address, more...)), 0o644); err != nil {
			t.Fatal(err)
		}
		onS3.Files = append(stack.Files[:len(stack.Files):len(stack.Files)], file)
		onS3.Env = append(stack.Env[:len(stack.Env):len(stack.Env)], "REGISTRY_S3_ACCESS_KEY=key", "REGISTRY_S3_SECRET_KEY=secret-key")
		onS3.MustCompose(t, "up", "--detach", "--wait", "registry")
	}
	t.Cleanup(func() {
		stack.MustCompose(t, "up", "--detach", "--wait", "registry")
		harness.MustDocker(t, "network", "rm", onS3.Name+"_registry_outside")
	})
	use()

	repository := stack.repository(t, "shop/s3", "push")
	layer := randomBytes(t, 20<<20)
	old, err := push(t.Context(), repository, "old", time.Now().Add(-100*24*time.Hour), layer)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := push(t.Context(), repository, "new", time.Now(), randomBytes(t, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	before := sizeOf(t, filepath.Join(dir, bucket))
	if before < 21<<20 {
		t.Errorf("the bucket has %d bytes", before)
	}
	parts, err := content.Successors(t.Context(), repository, old)
	if err != nil {
		t.Fatal(err)
	}
	blob := fmt.Sprintf("/v2/shop/s3/blobs/%s", parts[1].Digest)
	status, location, _ := getBlob(t, blob)
	if status != http.StatusTemporaryRedirect || !strings.HasPrefix(location, "http://"+address+"/"+bucket+"/") {
		t.Errorf("a layer: got %d, to %q, want a redirect to the bucket", status, location)
	}
	resp, err := http.Get(location)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(layer)) {
		t.Errorf("from the bucket: %d, %d bytes", resp.StatusCode, resp.ContentLength)
	}

	use(`REGISTRY_STORAGE_REDIRECT_DISABLE: "true"`)
	if status, location, text := getBlob(t, blob); status != http.StatusOK || !bytes.Equal(text, layer) {
		t.Errorf("a layer: got %d, to %q, %d bytes, want the layer itself", status, location, len(text))
	}
	checkComplete(t, repository, old)

	cleanup := exec.CommandContext(t.Context(), stack.edge, append([]string{"registry", "cleanup", "--keep", "1", "--keep-for", "24h"}, onS3.FileArgs()...)...)
	cleanup.Env = onS3.Environ()
	out, err := cleanup.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "shop/s3: deleted 1 tags, kept 1\n") {
		t.Errorf("cleanup: %v\n%s", err, out)
	}
	if after := sizeOf(t, filepath.Join(dir, bucket)); after > before-20<<20 {
		t.Errorf("after the cleanup, the bucket has %d bytes, before %d", after, before)
	}
	checkComplete(t, repository, kept)
}

// getBlob gets a layer, without following a redirect.
func getBlob(t *testing.T, path string) (status int, location string, text []byte) {
	t.Helper()
	client := stack.Client(true, nil)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://registry.localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("pull", stack.passwords["pull"])
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), body.Bytes()
}

// sizeOf returns the size of all files of a directory.
func sizeOf(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
