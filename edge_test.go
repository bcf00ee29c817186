package edge_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/theworklabs/edge"
)

// TestShippedCaddyfileAdaptsToCaddyJSON: caddy.json is the output of `edge adapt --config Caddyfile --pretty` without any of the
// variables.
func TestShippedCaddyfileAdaptsToCaddyJSON(t *testing.T) {
	for _, name := range []string{
		"DOMAIN", "ACME_EMAIL", "HTTP_PORT", "HTTPS_PORT", "PUBLIC_HTTPS_PORT", "EDGE_DOCKER_HOST", "DOCKER_ENDPOINT", "EDGE_ADMIN",
		"TRUSTED_PROXIES", "PROXY_PROTOCOL_FROM", "ACME_OPTIONS", "LOG_FORMAT", "RESTART_UNHEALTHY", "TRACING", "MORE_SITES",
	} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	caddyfile, err := os.ReadFile("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Errorf("warnings: %v", warnings)
	}
	want, err := os.ReadFile("caddy.json")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, adapted, "", "\t"); err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(got.String()) != strings.TrimSpace(string(want)) {
		t.Error("caddy.json is out of date; run: env -u DOMAIN edge adapt --config Caddyfile --pretty > caddy.json")
	}
}

// adaptShipped returns the JSON of the shipped Caddyfile.
func adaptShipped(t *testing.T) []byte {
	t.Helper()
	caddyfile, err := os.ReadFile("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	return adapted
}

// TestCaddyfileReadsEnvironment: hosts with different settings use the same Caddyfile.
func TestCaddyfileReadsEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"DOMAIN": "example.org", "ACME_EMAIL": "ops@example.org", "HTTP_PORT": "8080", "HTTPS_PORT": "8443",
		"PUBLIC_HTTPS_PORT": "9443", "EDGE_DOCKER_HOST": "tcp://guard:2375", "EDGE_ADMIN": "localhost:2020",
		"TRUSTED_PROXIES": "cloudflare 192.0.2.10", "PROXY_PROTOCOL_FROM": "192.0.2.11/32",
		"ACME_OPTIONS": "acme_ca https://ca.example/dir\nacme_ca_root /ca.pem\n\n",
	} {
		t.Setenv(name, value)
	}
	adapted := adaptShipped(t)
	for _, want := range []string{
		`"accounting.example.org"`, `"ops@example.org"`, `":8080"`, `":8443"`, `:9443`, `"tcp://guard:2375"`, `"localhost:2020"`,
		`"cloudflare"`, `"192.0.2.10"`, `"192.0.2.11/32"`,
		`"ca":"https://ca.example/dir"`, `"/ca.pem"`,
	} {
		if !strings.Contains(string(adapted), want) {
			t.Errorf("the adapted JSON lacks %s", want)
		}
	}
	if strings.Contains(string(adapted), "theworklabs.cc") {
		t.Error("the adapted JSON has the default domain")
	}
}

// TestCaddyfileTakesTheOverlaysSites, its format of logs, and traces.
func TestCaddyfileTakesTheOverlaysSites(t *testing.T) {
	for name, value := range map[string]string{
		"DOMAIN": "example.org", "MORE_SITES": "import observability/edge.caddyfile", "LOG_FORMAT": "ecs", "TRACING": "import traced",
		"OBSERVABILITY_PASSWORD_HASH": "$2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG", "OBSERVABILITY_RANGE": "10.9.8.0/24",
	} {
		t.Setenv(name, value)
	}
	adapted := adaptShipped(t)
	for want, n := range map[string]int{
		`"handler":"tracing"`: 6, `"handler":"authentication"`: 3, `"handler":"edge_status"`: 1, `"handler":"metrics"`: 1, `"format":"ecs"`: 2, // of the default log, and of one that all sites share
		`"ranges":["10.9.8.0/24"]`: 1, `"format":"redact"`: 0,
	} {
		if got := strings.Count(string(adapted), want); got != n {
			t.Errorf("the adapted JSON has %s %d times, want %d", want, got, n)
		}
	}
}
