package kubernetes

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestTheManifestsAreValid: the API server accepts each overlay, field by field, and would create all its objects.
func TestTheManifestsAreValid(t *testing.T) {
	mustKubectl(t, "", "create", "namespace", "infrastructure")
	t.Cleanup(func() { mustKubectl(t, "", "delete", "namespace", "infrastructure", "--wait=false") })
	overlays, err := filepath.Glob(filepath.Join(manifests, "overlays", "*"))
	if err != nil || len(overlays) < 2 {
		t.Fatalf("overlays: %v, error %v", overlays, err)
	}
	for _, overlay := range overlays {
		text := mustKubectl(t, "", "kustomize", overlay)
		out := mustKubectl(t, text, "apply", "--dry-run=server", "--validate=strict", "-f", "-")
		if n, created := strings.Count(text, "\nkind: ")+1, strings.Count(out, " created (server dry run)"); created < 30 || created < n-1 {
			t.Errorf("%s: %d of %d objects would be created:\n%s", overlay, created, n, out)
		}
		// The check would find a typo.
		broken := strings.Replace(text, "maxSurge:", "maxSurges:", 1)
		if _, err := cluster.Kubectl(t.Context(), broken, "apply", "--dry-run=server", "--validate=strict", "-f", "-"); err == nil || !strings.Contains(err.Error(), "maxSurges") {
			t.Errorf("%s: a typo is accepted: %v", overlay, err)
		}
	}
}
