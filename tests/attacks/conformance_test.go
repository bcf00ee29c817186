package attacks

import (
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// knownDeviations are the cases in which Go's HTTP/2 server deliberately does not do what h2spec expects. None does harm.
var knownDeviations = map[string]string{
	"Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE":                    "h2spec assumes a limit of 16 KiB; Go offers 1 MiB, and refuses what exceeds the header limit",
	"Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE":                                        "Go closes the connection if settings contradict each other",
	"Sends a HEADERS frame that contains the connection-specific header field":                     "Go answers 400 instead of resetting the stream",
	`Sends a HEADERS frame that contains the TE header field with any value other than "trailers"`: "Go answers 400 instead of resetting the stream, as above",
}

// TestHTTP2ConformsToH2spec runs h2spec, which sends what RFC 7540 and RFC 7541 allow and what they forbid. h2spec sends no
// server name (SNI), so this edge treats such clients as clients of the accounting site.
func TestHTTP2ConformsToH2spec(t *testing.T) {
	t.Parallel()
	h2spec := harness.Tool(t, "h2spec")
	withoutSNI, err := startEdge(filepath.Join(t.TempDir(), "edge"), func(config map[string]any) {
		for _, server := range config["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any) {
			if policies, secure := server.(map[string]any)["tls_connection_policies"].([]any); secure {
				server.(map[string]any)["strict_sni_host"] = false
				policies[0].(map[string]any)["default_sni"] = "accounting.localhost"
				for _, route := range server.(map[string]any)["routes"].([]any) {
					matches, _ := route.(map[string]any)["match"].([]any)
					for _, match := range matches {
						if hosts := match.(map[string]any)["host"].([]any); hosts[0] == "accounting.localhost" {
							match.(map[string]any)["host"] = append(hosts, "127.0.0.1")
						}
					}
				}
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := withoutSNI.stop(); err != nil {
			t.Error(err)
		}
	}()
	host, port, err := net.SplitHostPort(withoutSNI.https)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command(h2spec, "--host", host, "--port", port, "--tls", "--insecure", "--timeout", "3", "--path", "/api/x").CombinedOutput() // the exit status only says that some tests failed
	text := regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`).ReplaceAllString(string(out), "")
	summary := regexp.MustCompile(`(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`).FindStringSubmatch(text)
	if summary == nil || summary[3] != "0" || len(summary[1]) < 3 {
		t.Fatalf("h2spec has skipped tests:\n%s", text)
	}
	t.Logf("ATTACK h2spec: %s", summary[0])
	_, failures, _ := strings.Cut(text, "Failures:")
	found := 0
	for _, failure := range regexp.MustCompile(`× \d+: (.*)`).FindAllStringSubmatch(failures, -1) {
		found++
		if why, known := knownDeviations[strings.TrimSpace(failure[1])]; known {
			t.Logf("%s: %s", failure[1], why)
		} else {
			t.Errorf("%s", failure[1])
		}
	}
	if strconv.Itoa(found) != summary[4] {
		t.Errorf("h2spec names %d failures and counts %s:\n%s", found, summary[4], failures)
	}
}
