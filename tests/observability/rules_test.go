package observability

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// TestAlertsFireWhenTheyShould runs the tests of the alerts, and checks the configurations with the programs that read them.
func TestAlertsFireWhenTheyShould(t *testing.T) {
	for _, args := range []string{
		"promtool test rules alerts_test.yaml", "promtool check config prometheus.yaml", "amtool check-config alertmanager.yaml",
	} {
		args := append([]string{"run", "--rm", "--network", "none", "--volume", filepath.Join(harness.Root(), "observability") + ":/observability:ro", "--workdir", "/observability", "edge-test/observability:test"}, strings.Fields(args)...)
		if out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput(); err != nil {
			t.Errorf("docker %v: %v\n%s", args, err, out)
		}
	}
}

// TestComposeReadsTheProfileElk, whose images can't be had here: with each variable it has, and each service that others depend on.
func TestComposeReadsTheProfileElk(t *testing.T) {
	out, err := stack.Compose(t.Context(), "--profile", "elk", "config", "--services")
	if err != nil {
		t.Fatal(err)
	}
	services := strings.Fields(out)
	for _, want := range []string{"elasticsearch", "elasticsearch-retention", "kibana", "log-shipper-elk"} {
		if !slices.Contains(services, want) {
			t.Errorf("%s is not among the services %q", want, services)
		}
	}
}
