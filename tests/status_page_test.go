package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// pageSeen is what tests/browser/status.js has seen of the status page.
type pageSeen struct {
	Errors, Violations, Overflow []string
	Title, Summary, First, Skip  string
	Services, Collapsed          int
	Expanded                     string
	Filtered, Bytes              int
	Reloads, Requests            []string
	Words                        map[string]string
	Delay                        struct{ Median, Max float64 } // in milliseconds
	Day                          struct {
		Before, After struct{ Heap, Nodes, Listeners float64 }
	}
}

// TestTheStatusPageInABrowser: its words, clicks, keys, light and dark, a phone, and three hours of messages, for 30 services of which one is down, one slow
// and one failing. EDGE_TEST_SERVICES says how many; up to 100, there is a day of messages then: make status-page.
func TestTheStatusPageInABrowser(t *testing.T) {
	services := harness.Count(t, "EDGE_TEST_SERVICES", 30)
	messages := "2160"
	if os.Getenv("EDGE_TEST_SERVICES") != "" && services <= 100 { // each message has all services
		messages = "17280"
	}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/s2/"):
			time.Sleep(200 * time.Millisecond)
		case strings.HasPrefix(r.URL.Path, "/s3/"):
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer backend.Close()
	address := backend.Listener.Addr().String()
	drained := httptest.NewServer(http.NotFoundHandler()) // by the browser, without the other services
	defer drained.Close()
	down := testport.Address(t)
	site := testport.Address(t)
	var statics, routes strings.Builder
	for i := 1; i <= services; i++ {
		to, name := address, fmt.Sprintf("s%d", i)
		switch i {
		case 1:
			to = down
		case services:
			name = "z" // the last one
			to = drained.Listener.Addr().String()
		}
		fmt.Fprintf(&statics, "\t\tstatic %s:80 %s\n", name, to)
		fmt.Fprintf(&routes, "\thandle /s%d/* {\n\t\tedge_proxy %s:80 {\n\t\t\thold 100ms\n\t\t}\n\t}\n", i, name)
	}
	dir := t.TempDir()
	const passwordHash = "$2a$04$wsdfDrEEM/Utbzv4EJD6Iu8tptR0vBKxFbYWBKGFSV/hwILX8IZty" // of: secret
	harness.StartEdge(t, fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tlog {\n\t\tformat limit\n\t}\n\tstorage file_system %s\n\tedge {\n\t\tresolver 127.0.0.1:1\n%s\t}\n}\nhttp://%s {\n\thandle_path /status* {\n\t\tedge_status\n\t}\n\thandle_path /actions* {\n\t\tbasic_auth {\n\t\t\tadmin %s\n\t\t}\n\t\tedge_status {\n\t\t\tactions\n\t\t}\n\t}\n%s}\n",
		dir, &statics, site, passwordHash, &routes))
	url := "http://" + site
	harness.Eventually(t, "the services are ready", func() bool {
		resp, err := http.Get(url + "/s2/")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	stop := make(chan struct{})
	var loading sync.WaitGroup
	for i := 1; i <= 4; i++ {
		loading.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				if resp, err := http.Get(fmt.Sprintf("%s/s%d/", url, i)); err == nil {
					resp.Body.Close()
				}
			}
		})
	}
	defer loading.Wait()
	defer close(stop)
	pictures := dir
	if kept := os.Getenv("EDGE_TEST_PICTURES"); kept != "" {
		pictures = kept
	}
	browser := exec.CommandContext(t.Context(), "node", filepath.Join("browser", "status.js"), url+"/status/", pictures, messages)
	var stderr bytes.Buffer
	browser.Stderr = &stderr
	out, err := browser.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	var seen pageSeen
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(seen.Errors)+len(seen.Violations)+len(seen.Overflow)+len(seen.Requests) > 0 {
		t.Errorf("errors %q, violations of axe %q, too wide %q, requests to %q", seen.Errors, seen.Violations, seen.Overflow, seen.Requests)
	}
	if seen.Services != services || !strings.Contains(seen.Title, "Edge status") || !strings.Contains(seen.Summary, fmt.Sprintf("of %d services have problems", services)) || !strings.HasPrefix(seen.First, "s1:80") && !strings.HasPrefix(seen.First, "s3:80") {
		t.Errorf("%d services, title %q, summary %q, first %q", seen.Services, seen.Title, seen.Summary, seen.First)
	}
	if seen.Skip != "Skip to the services" || seen.Expanded != "true 1" || seen.Collapsed != 0 || seen.Filtered != 0 || len(seen.Reloads) != 1 {
		t.Errorf("the keys do %q, %q, %d; the filters show %d and %q", seen.Skip, seen.Expanded, seen.Collapsed, seen.Filtered, seen.Reloads)
	}
	if seen.Bytes == 0 || seen.Bytes > 60_000 {
		t.Errorf("the page has %d bytes", seen.Bytes)
	}
	for name, want := range map[string]string{
		"fine": "good: 1 ready", "slow": "warn: the application is slow: p95 2.0 s, usually 100 ms", "slowSinceDeploy": "warn: the application is slow: p95 2.0 s, usually 100 ms, since a deploy 2 min ago",
		"slowForLong": "warn: the application is slow: p95 2.0 s, usually 100 ms", "slowAsUsual": "good: 1 ready",
		"exhausted": "the edge has run out of descriptors, 5 s ago: raise the limit", "edge": "The edge itself has a problem.",
		"dead": "bad: down for 3 min: connection refused", "deadAndRefusing": "bad: down for 3 min, 3 requests refused in the last minute: its containers are stopped",
		"answeredByEdge": "good: 1 ready", // that requests are lost is another sentence
		"badDeploy":      "bad: the application answers 50 % with errors, since a deploy 1 min ago", "lost": "bad: 1 request got no complete answer in the last minute", "held": "warn: 2 requests wait for a container",
		"partly": "warn: 1 of 2 ready; unhealthy", "maintenance": "warn: in maintenance: requests are refused", "maintenanceLasts": "warn: in maintenance for 20 min: requests wait", "deploying": "good: 1 ready, 1 starting, 1 draining",
		"limited": "warn: 1 request refused in the last minute, 10 in all", "unlimited": "good: 10 of 100 refused so far",
		"starting": "warn: starting for 5 s: waiting for its first answer", "durations": "– 0.4 ms 12 ms 110 ms 1.0 s 2.3 s 61 s", "ages": "0 s, 59 s, 1 min, 59 min, 2 h, 2 days",
	} {
		if seen.Words[name] != want {
			t.Errorf("%s: it says %q, want %q", name, seen.Words[name], want)
		}
	}
	if t.Logf("a change is shown after %.0f ms (median of 50), %.0f ms at most", seen.Delay.Median, seen.Delay.Max); seen.Delay.Median == 0 || seen.Delay.Median > 100 {
		t.Errorf("a change is shown after %.0f ms (median)", seen.Delay.Median)
	}
	before, after := seen.Day.Before, seen.Day.After
	if after.Heap > 1.2*before.Heap+1e6 || after.Nodes > 1.2*before.Nodes+100 || after.Listeners > before.Listeners+20 {
		t.Errorf("after %s messages, the page has grown: %+v, before %+v", messages, after, before)
	}
	t.Logf("%d bytes; after %s messages %.1f MB and %.0f nodes, before %.1f MB and %.0f", seen.Bytes, messages, after.Heap/1e6, after.Nodes, before.Heap/1e6, before.Nodes)
}
