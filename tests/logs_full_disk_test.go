package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// TestADiskThatIsFullOfLogs: requests are answered as before, what could not be written is counted, and once there is space, each line is whole again.
func TestADiskThatIsFullOfLogs(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer backend.Close()
	disk, site := filepath.Join(t.TempDir(), "disk"), testport.Address(t)
	harness.Mount(t, disk, "-t", "tmpfs", "-o", "size=256k", "tmpfs")
	filler, log := filepath.Join(disk, "filler"), filepath.Join(disk, "access.json")
	if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	harness.StartEdge(t, fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tmetrics\n\tedge {\n\t\tresolver 127.0.0.1:1\n\t\tstatic api:80 %s\n\t}\n}\nhttp://%s {\n\thandle /metrics {\n\t\tmetrics\n\t}\n"+
		"\thandle {\n\t\tedge_proxy api:80\n\t}\n\tlog {\n\t\toutput queue {\n\t\t\twrap file %s\n\t\t}\n\t\tformat redact\n\t}\n}\n", backend.Listener.Addr(), site, log))
	send := func(path string) {
		t.Helper()
		start := time.Now()
		resp, err := http.Get("http://" + site + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || time.Since(start) > 5*time.Second {
			t.Fatalf("%s: got %d after %v", path, resp.StatusCode, time.Since(start))
		}
	}
	harness.Eventually(t, "the edge answers", func() bool {
		resp, err := http.Get("http://" + site)
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	const requests = 1000 // of 600 bytes each in the log
	for i := range requests {
		send(fmt.Sprintf("/full/%d", i))
	}
	if n := droppedEntries(t, site); n < requests/2 || n >= requests {
		t.Errorf("%d entries of %d are counted as dropped", n, requests)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		send(fmt.Sprintf("/space/%d", i))
	}
	var text []byte
	harness.Eventually(t, "the last entry is written", func() bool {
		var err error
		if text, err = os.ReadFile(log); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "/space/9")
	})
	broken, after := 0, 0
	for line := range strings.Lines(string(text)) {
		if !json.Valid([]byte(line)) {
			broken++
		} else if strings.Contains(line, "/space/") {
			after++
		}
	}
	if broken > 1 || after != 10 {
		t.Errorf("%d lines are broken, %d of 10 were written once there was space", broken, after)
	}
}
