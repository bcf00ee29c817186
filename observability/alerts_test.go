// Package observability has the configuration of compose.observability.yaml, and tests of it.
package observability

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func read(t *testing.T, file string, to any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

type rules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// TestEachAlertIsTestedAndHasARunbook: it fires in a test, it does not in another one, and docs/runbooks.md has a section about it.
func TestEachAlertIsTestedAndHasARunbook(t *testing.T) {
	var alerts rules
	read(t, "alerts.yaml", &alerts)
	var cases struct {
		Tests []struct {
			Name          string
			AlertRuleTest []struct {
				Alertname string `yaml:"alertname"`
				ExpAlerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	read(t, "alerts_test.yaml", &cases)
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, c := range cases.Tests {
		for _, a := range c.AlertRuleTest {
			if len(a.ExpAlerts) > 0 {
				fires[a.Alertname] = true
			} else {
				quiet[a.Alertname] = true
			}
		}
	}
	runbooks, err := os.ReadFile("../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, group := range alerts.Groups {
		for _, r := range group.Rules {
			if r.Alert == "" {
				continue
			}
			names = append(names, r.Alert)
			if !fires[r.Alert] || !quiet[r.Alert] {
				t.Errorf("%s: a test in which it fires: %t, one in which it does not: %t", r.Alert, fires[r.Alert], quiet[r.Alert])
			}
			if r.Annotations["runbook"] != "docs/runbooks.md#"+strings.ToLower(r.Alert) || r.Annotations["summary"] == "" || !slices.Contains([]string{"page", "ticket"}, r.Labels["severity"]) {
				t.Errorf("%s has the labels %v and annotations %v", r.Alert, r.Labels, r.Annotations)
			}
			if !strings.Contains(string(runbooks), "\n## "+r.Alert+"\n\n**Means:**") {
				t.Errorf("docs/runbooks.md has no section %s", r.Alert)
			}
		}
	}
	for _, section := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(runbooks), -1) {
		if !slices.Contains(names, section[1]) {
			t.Errorf("docs/runbooks.md has the section %s, of no alert", section[1])
		}
	}
	t.Logf("%d alerts", len(names))
}

type composeFile struct {
	Services map[string]struct {
		Image    string
		Labels   map[string]string
		Ports    []any
		ReadOnly bool     `yaml:"read_only"`
		CapDrop  []string `yaml:"cap_drop"`
		Deploy   struct {
			Resources struct {
				Limits struct{ Memory string }
			}
		}
		Networks any
	}
	Networks map[string]struct{ Internal bool }
}

// TestTheOverlayKeepsToTheRules: pinned versions, limits, no ports, no capabilities, no way to outside but for Alertmanager, and labels that say that nothing is backed up.
func TestTheOverlayKeepsToTheRules(t *testing.T) {
	var overlay composeFile
	read(t, "../compose.observability.yaml", &overlay)
	pinned := regexp.MustCompile(`:v?\d+\.\d+\.\d+$`)
	for name, s := range overlay.Services {
		if name == "edge" {
			continue
		}
		if !pinned.MatchString(s.Image) && !strings.HasPrefix(s.Image, "${LOG_SHIPPER_IMAGE:-") {
			t.Errorf("%s has the image %s, of no version", name, s.Image)
		}
		if s.Deploy.Resources.Limits.Memory == "" || len(s.Ports) > 0 || !slices.Equal(s.CapDrop, []string{"ALL"}) || !s.ReadOnly && name != "elasticsearch" && name != "kibana" {
			t.Errorf("%s has the limit %q, the ports %v, drops %v, read-only is %t", name, s.Deploy.Resources.Limits.Memory, s.Ports, s.CapDrop, s.ReadOnly)
		}
		if s.Labels["edge.backup"] != "none" {
			t.Errorf("%s has the labels %v", name, s.Labels)
		}
		if networks, _ := s.Networks.([]any); slices.Contains(networks, any("alerts")) != (name == "alertmanager") || slices.Contains(networks, any("infrastructure_network")) {
			t.Errorf("%s is on %v", name, networks)
		}
	}
	for name, n := range overlay.Networks {
		if n.Internal != (name != "alerts") {
			t.Errorf("the network %s: internal is %t", name, n.Internal)
		}
	}
}
