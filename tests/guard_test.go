package tests

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// startGuard runs `edge guard` in front of the machine's Docker Engine and returns its URL.
func startGuard(t *testing.T) string {
	t.Helper()
	port := testport.Port(t)
	guard := harness.StartProcess(t, exec.Command(harness.Edge(t), "guard", "--listen", "127.0.0.1:"+port))
	t.Cleanup(func() {
		if err := guard.Stop(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := guard.Wait(); err != nil {
			t.Errorf("the guard exits on SIGTERM with %v", err)
		}
	})
	url := "http://127.0.0.1:" + port
	harness.Eventually(t, "the guard answers", func() bool {
		resp, err := http.Get(url + "/_ping")
		return err == nil && resp.Body.Close() == nil
	})
	if out, err := exec.Command(harness.Edge(t), "guard", "--health", "--listen", "127.0.0.1:"+port).CombinedOutput(); err != nil {
		t.Errorf("edge guard --health: %v %s", err, out)
	}
	return url
}

// startContainerWithSecrets runs a container with a secret in its command, environment, labels and mounts.
func startContainerWithSecrets(t *testing.T) string {
	t.Helper()
	id := harness.MustDocker(t, "run", "--detach", "--env", "PASSWORD=hunter2", "--label", "token=hunter2", "--label", "edge.test=kept",
		"--tmpfs", "/hunter2", "edge-test/generic:test", "hunter2")
	t.Cleanup(func() { harness.MustDocker(t, "rm", "--force", id) })
	return id
}

func TestGuardRefusesRequestsOutsideTheAllowlist(t *testing.T) {
	url, id := startGuard(t), startContainerWithSecrets(t)
	for _, c := range []struct{ method, path string }{
		{"GET", "/containers/" + id + "/json"},
		{"GET", "/v1.41/containers/" + id + "/json"},
		{"GET", "/containers/" + id + "/archive?path=/etc"},
		{"HEAD", "/containers/" + id + "/archive?path=/etc"},
		{"GET", "/containers/" + id + "/logs?stdout=1"},
		{"GET", "/containers/" + id + "/top"},
		{"POST", "/containers/" + id + "/exec"},
		{"POST", "/containers/" + id + "/kill"},
		{"POST", "/containers/create"},
		{"POST", "/containers/json"},
		{"DELETE", "/containers/" + id},
		{"GET", "/images/json"},
		{"GET", "/info"},
		{"GET", "/secrets"},
		{"GET", "/configs"},
		{"GET", "/volumes"},
		{"GET", "/networks"},
		{"GET", "/"},
		{"POST", "/_ping"},
		{"POST", "/events"},
		{"PUT", "/version"},
		{"GET", "/swarm"},
		{"GET", "/v1.41/../containers/" + id + "/json"},
		{"GET", "/containers//json"},
		{"GET", "/v1.41//containers/json"},
		{"GET", "/containers/json/../" + id + "/json"},
		{"GET", "/containers%2Fjson"},
		{"GET", "/v9.9/containers/json"},
		{"GET", "/containers/json/"},
		{"CONNECT", "/_ping"},
		{"OPTIONS", "/containers/json"},
	} {
		req, err := http.NewRequest(c.method, url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden || strings.Contains(string(body), "hunter2") {
			t.Errorf("%s %s: %d %.100s, want 403", c.method, c.path, resp.StatusCode, body)
		}
	}
}

func TestGuardListsContainersWithoutSecrets(t *testing.T) {
	url, id := startGuard(t), startContainerWithSecrets(t)
	for _, path := range []string{"/containers/json", "/v1.41/containers/json", "/v1.40/containers/json?all=1&size=1"} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
		}
		var list []map[string]any
		if err := json.Unmarshal(body, &list); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, c := range list {
			for _, secret := range []string{"Command", "Mounts", "Ports", "HostConfig"} {
				if _, there := c[secret]; there {
					t.Errorf("%s: the list contains %s", path, secret)
				}
			}
			if c["Id"] == id {
				found = c["State"] == "running" && c["NetworkSettings"] != nil && c["Labels"].(map[string]any)["edge.test"] == "kept"
			}
		}
		if !found || strings.Contains(string(body), "hunter2") {
			t.Errorf("%s: the container is missing, or a secret is not", path)
		}
	}
}

func TestGuardStreamsEventsWithoutExec(t *testing.T) {
	url, id := startGuard(t), startContainerWithSecrets(t)
	resp, err := http.Get(url + `/v1.41/events?filters={"type":["container"],"event":["exec_create"]}`)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := make(chan string, 100)
	go func() {
		defer close(events)
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			events <- lines.Text()
		}
	}()
	_ = exec.Command("docker", "exec", id, "hunter2").Run() // it fails, but causes events
	began := time.Now()
	harness.MustDocker(t, "kill", "--signal", "HUP", id)
	for {
		select {
		case e := <-events:
			if strings.Contains(e, "exec") || strings.Contains(e, "hunter2") {
				t.Fatalf("the guard forwards %s", e)
			}
			if strings.Contains(e, `"Action":"kill"`) && strings.Contains(e, id) {
				if !strings.Contains(e, `"signal":"1"`) {
					t.Errorf("the kill event has no signal: %s", e)
				}
				t.Logf("the kill event arrives %s after the command", time.Since(began))
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no kill event")
		}
	}
}

func TestGuardHealthFailsWithoutAGuard(t *testing.T) {
	out, err := exec.Command(harness.Edge(t), "guard", "--health", "--listen", "127.0.0.1:1").CombinedOutput()
	if err == nil || !strings.HasPrefix(string(out), "edge: error: ") {
		t.Errorf("edge guard --health without a guard: %v %s", err, out)
	}
}
