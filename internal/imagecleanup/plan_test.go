package imagecleanup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote"
)

// fakeRegistry has one repository.
type fakeRegistry struct {
	contents map[string][]byte // by digest
	types    map[string]string // of manifests, by digest
	tags     map[string]string // digests
}

const repositoryName = "shop/web"

func newFakeRegistry() *fakeRegistry {
	return &fakeRegistry{make(map[string][]byte), make(map[string]string), make(map[string]string)}
}

func (f *fakeRegistry) store(mediaType string, content any) map[string]any {
	text, err := json.Marshal(content)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(text)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	f.contents[digest] = text
	if strings.Contains(mediaType, "manifest") || strings.Contains(mediaType, "index") {
		f.types[digest] = mediaType
	}
	return map[string]any{"mediaType": mediaType, "digest": digest, "size": len(text)}
}

// image stores an image, and returns its descriptor.
func (f *fakeRegistry) image(name string, created time.Time) map[string]any {
	config := map[string]any{"name": name}
	if !created.IsZero() {
		config["created"] = created
	}
	return f.store("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": f.store("application/vnd.oci.image.config.v1+json", config), "layers": []any{},
	})
}

// list stores a list of images for several platforms.
func (f *fakeRegistry) list(images ...map[string]any) map[string]any {
	return f.store(dockerManifestList, map[string]any{"schemaVersion": 2, "mediaType": dockerManifestList, "manifests": images})
}

func (f *fakeRegistry) tag(name string, image map[string]any) {
	f.tags[name] = image["digest"].(string)
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	reference := path[strings.LastIndex(path, "/")+1:]
	if digest, ok := f.tags[reference]; ok {
		reference = digest
	}
	switch {
	case path == "_catalog":
		_ = json.NewEncoder(w).Encode(map[string]any{"repositories": []string{repositoryName}})
	case path == repositoryName+"/tags/list":
		var names []string
		for name := range f.tags {
			names = append(names, name)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"name": repositoryName, "tags": names})
	case f.contents[reference] == nil:
		http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
	case r.Method == http.MethodDelete:
		delete(f.contents, reference)
		for name, digest := range f.tags {
			if digest == reference {
				delete(f.tags, name)
			}
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		w.Header().Set("Docker-Content-Digest", reference)
		w.Header().Set("Content-Type", f.types[reference])
		w.Header().Set("Content-Length", fmt.Sprint(len(f.contents[reference])))
		_, _ = w.Write(f.contents[reference])
	}
}

func (f *fakeRegistry) open(t *testing.T) *remote.Registry {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	registry, err := remote.NewRegistry(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	registry.PlainHTTP = true
	return registry
}

var now = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

func daysAgo(n int) time.Time { return now.AddDate(0, 0, -n) }

func TestPlanKeepsWhatIsNeeded(t *testing.T) {
	f := newFakeRegistry()
	used := f.image("used", daysAgo(90))
	oldPart, commonPart := f.image("old part", daysAgo(70)), f.image("common part", daysAgo(60))
	f.tag("newest", f.image("newest", daysAgo(1)))
	f.tag("second", f.image("second", daysAgo(40)))
	f.tag("young", f.image("young", daysAgo(20)))
	f.tag("used", used)
	f.tag("v1.2", f.image("release", daysAgo(100)))
	same := f.image("same as a release", daysAgo(110))
	f.tag("v1.1", same)
	f.tag("commit-of-v1.1", same)
	f.tag("undated", f.image("undated", time.Time{}))
	f.tag("reproducible", f.image("reproducible", time.Unix(0, 0)))
	f.tag("buildpack", f.image("buildpack", time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC)))
	f.tag("old", f.image("old", daysAgo(50)))
	f.tag("old-list", f.list(oldPart, commonPart))
	f.tag("v1.0", f.list(commonPart))
	f.tag("common-part", commonPart)
	f.tag("used-list", f.list(used))
	signed := func(image map[string]any) string {
		return "sha256-" + strings.TrimPrefix(image["digest"].(string), "sha256:") + ".sig"
	}
	f.tag(signed(used), f.image("signature of used", time.Time{}))
	f.tag(signed(oldPart), f.image("signature of old part", time.Time{}))

	registry := f.open(t)
	plan, err := MakePlan(t.Context(), registry, Policy{
		Keep: 2, KeepFor: 30 * 24 * time.Hour, KeepTags: regexp.MustCompile(`^v\d`), InUse: map[string]bool{used["digest"].(string): true},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	var deleted, kept []string
	for _, tag := range plan.Repositories[0].Delete {
		deleted = append(deleted, tag.Name)
	}
	for _, tag := range plan.Repositories[0].Kept {
		kept = append(kept, tag.Name)
		if tag.Reason == "" {
			t.Errorf("%s stays without a reason", tag.Name)
		}
	}
	slices.Sort(deleted)
	slices.Sort(kept)
	// Of the newest two, one would be young anyway: second is old.
	wantDeleted := []string{"old", "old-list", "second", signed(oldPart)}
	if !slices.Equal(deleted, wantDeleted) {
		t.Errorf("deleted %q, want %q", deleted, wantDeleted)
	}
	wantKept := []string{"buildpack", "common-part", "commit-of-v1.1", "newest", "reproducible", signed(used), "undated", "used", "used-list", "v1.0", "v1.1", "v1.2", "young"}
	slices.Sort(wantKept)
	if !slices.Equal(kept, wantKept) {
		t.Errorf("kept %q, want %q", kept, wantKept)
	}
	if text := plan.String(); !strings.HasPrefix(text, "shop/web: 4 of 17 tags\n") || !strings.Contains(text, "  old  ") || !strings.Contains(text, "  of 2026-10-12\n") {
		t.Errorf("the plan is printed as\n%s", text)
	}

	var out strings.Builder
	if err := plan.Execute(t.Context(), registry, &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "shop/web: deleted 4 tags, kept 13\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if f.contents[oldPart["digest"].(string)] != nil {
		t.Error("the part of a deleted list is still there")
	}
	if f.contents[commonPart["digest"].(string)] == nil {
		t.Error("the part of a list that stays is gone")
	}
	if err := plan.Execute(t.Context(), registry, &out); err != nil {
		t.Errorf("what is gone already: %v", err)
	}
}

func TestARegistryThatIsDownIsAnError(t *testing.T) {
	registry, err := remote.NewRegistry("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	registry.PlainHTTP = true
	if _, err := MakePlan(t.Context(), registry, Policy{Keep: 1}, now); err == nil || !strings.Contains(err.Error(), "list the repositories") {
		t.Errorf("got %v", err)
	}
}
