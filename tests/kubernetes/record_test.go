package kubernetes

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// recordedEvent is one line of internal/kubernetes/testdata/rollout.jsonl.
type recordedEvent struct {
	Resource string          `json:"resource"` // endpointslices or pods
	Type     string          `json:"type"`     // ADDED, MODIFIED or DELETED
	Version  int             `json:"version"`
	Object   json.RawMessage `json:"object"`
}

// TestRecord writes the API server's watch events of EndpointSlices and pods during a rollout and while a Deployment is scaled to 0 and back, in the order of its
// changes. The tests of internal/kubernetes replay it:
//
//	EDGE_TEST_RECORD=../../internal/kubernetes/testdata/rollout.jsonl go test ./tests/kubernetes -run TestRecord
func TestRecord(t *testing.T) {
	file := os.Getenv("EDGE_TEST_RECORD")
	if file == "" {
		t.Skip("EDGE_TEST_RECORD names the file to write")
	}
	watches := map[string]*harness.Process{
		"endpointslices": watch(t, "/apis/discovery.k8s.io/v1/namespaces/lab/endpointslices?watch=true"),
		"pods":           watch(t, "/api/v1/namespaces/lab/pods?watch=true"),
	}
	d := deployment{"rude", 0, 0, 2, "RollingUpdate"}
	d.start(t)
	rollout(t, "web")
	mustKubectl(t, "", "-n", "lab", "scale", "deployment/web", "--replicas=0")
	time.Sleep(5 * time.Second)
	mustKubectl(t, "", "-n", "lab", "scale", "deployment/web", "--replicas=1")
	status(t, "web")
	time.Sleep(time.Second)
	var all []recordedEvent
	for resource, p := range watches {
		_ = p.Stop(syscall.SIGKILL)
		all = append(all, parseEvents(t, resource, p.Output())...)
	}
	slices.SortStableFunc(all, func(a, b recordedEvent) int { return a.Version - b.Version })
	var out bytes.Buffer
	for _, e := range all {
		if err := json.NewEncoder(&out).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events in %s", len(all), file)
}

// watch has kubectl print the events of a watch until the end of the test.
func watch(t *testing.T, path string) *harness.Process {
	t.Helper()
	kubectl, err := filepath.Abs("../../.tools/kubernetes/kubectl")
	if err != nil {
		t.Fatal(err)
	}
	return harness.StartProcess(t, exec.Command(kubectl, "--kubeconfig", filepath.Join(cluster.Dir, "admin.conf"), "get", "--raw", path))
}

// parseEvents returns the events of the service web and its pods, without what the source does not read.
func parseEvents(t *testing.T, resource, text string) (all []recordedEvent) {
	t.Helper()
	lines := strings.Split(text, "\n")
	for _, line := range lines[:len(lines)-1] { // the last may be incomplete
		var e struct {
			Type   string
			Object map[string]any
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v: %.200s", resource, err, line)
		}
		metadata := e.Object["metadata"].(map[string]any)
		if name, _ := metadata["name"].(string); !strings.HasPrefix(name, "web-") {
			continue
		}
		for _, field := range []string{"managedFields", "annotations", "ownerReferences"} {
			delete(metadata, field)
		}
		if resource == "pods" {
			delete(e.Object, "spec")
			delete(e.Object, "status")
		}
		version, err := strconv.Atoi(metadata["resourceVersion"].(string))
		if err != nil {
			t.Fatal(err)
		}
		object, err := json.Marshal(e.Object)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, recordedEvent{resource, e.Type, version, object})
	}
	return all
}
