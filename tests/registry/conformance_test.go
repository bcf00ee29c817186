package registry

import (
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// TestConformance runs the conformance suite of the OCI distribution specification against the registry alone, and through the edge. The results are the same.
func TestConformance(t *testing.T) {
	if os.Getenv("EDGE_TEST_DELIVERY") == "" {
		t.Skip("part of make test-delivery")
	}
	addresses, err := stack.Addresses(t.Context(), "registry", "registry")
	if err != nil || len(addresses) == 0 {
		t.Fatalf("the addresses of the registry are %v: %v", addresses, err)
	}
	alone := conform(t, "alone", "OCI_REGISTRY="+addresses[0]+":5000", "OCI_TLS=disabled")
	// OCI_TLS=insecure does not make it accept a certificate.
	root := filepath.Join(t.TempDir(), "root.crt")
	stack.MustCompose(t, "cp", "edge:/data/caddy/pki/authorities/local/root.crt", root)
	behind := conform(t, "behind", "SSL_CERT_FILE="+root, "OCI_REGISTRY=localhost:"+stack.HTTPS, "OCI_USERNAME=admin", "OCI_PASSWORD="+stack.passwords["admin"])
	tests, counts := 0, make(map[string]int)
	for _, results := range alone {
		for _, result := range results {
			counts[result]++
			tests++
		}
	}
	t.Logf("%d tests of %d names: %v", tests, len(alone), counts)
	if counts["passed"] < 100 || counts["passed"] == tests {
		t.Error("without the edge, hardly a test has passed, or all have: CNCF Distribution 3.0 fails some")
	}
	for _, name := range slices.Sorted(maps.Keys(alone)) {
		if !slices.Equal(behind[name], alone[name]) {
			t.Errorf("%s: %q behind the edge, %q without it", name, behind[name], alone[name])
		}
	}
	if len(behind) != len(alone) {
		t.Errorf("%d tests behind the edge, %d without it", len(behind), len(alone))
	}
}

// conform runs the suite with variables, and returns its results by the names of its tests. Several tests may have one name, in an order that differs from run
// to run: their results are sorted.
func conform(t *testing.T, repository string, env ...string) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), harness.Tool(t, "conformance"))
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "OCI_RESULTS_DIR="+dir, "OCI_REPO1="+repository+"/one", "OCI_REPO2="+repository+"/two"), env...)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) { // it fails if a test has failed
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	defer file.Close()
	results := make(map[string][]string)
	for decoder := xml.NewDecoder(file); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			for _, one := range results {
				slices.Sort(one)
			}
			return results
		}
		if err != nil {
			t.Fatal(err)
		}
		start, isStart := token.(xml.StartElement)
		if !isStart || start.Name.Local != "testcase" {
			continue
		}
		attributes := make(map[string]string)
		for _, a := range start.Attr {
			attributes[a.Name.Local] = a.Value
		}
		name := attributes["classname"] + "/" + attributes["name"]
		if attributes["status"] == "" {
			t.Fatalf("the suite reports no status of %s", name)
		}
		results[name] = append(results[name], attributes["status"])
	}
}
