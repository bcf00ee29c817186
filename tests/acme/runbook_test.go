package acme

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/authority"
	"github.com/theworklabs/edge/tests/acme/lab"
	"github.com/theworklabs/edge/tests/harness"
)

// TestRunbooksOfCertificates follows CertificateExpires and CertificateFailing: the shipped alerts see that a certificate can't be renewed, what the runbook looks at
// says why, and what it does renews the certificate at once and ends the alerts. Then the same for a certificate from a file.
func TestRunbooksOfCertificates(t *testing.T) {
	t.Parallel()
	edge, err := harness.EdgeBinary()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := exec.CommandContext(t.Context(), edge, "hash-password", "--bcrypt-cost", "10", "--plaintext", "of nobody").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway, Validity: 10 * time.Minute}),
		"ACME_OPTIONS=renewal_window_ratio 0.9\nrenew_interval 1s", "OBSERVABILITY_PASSWORD_HASH="+strings.TrimSpace(string(hash)),
		"OBSERVABILITY_SUBNET=172.16.182.0/24", "OBSERVABILITY_RANGE=172.16.182.128/25")
	s.Files = append(s.Files, "../../compose.observability.yaml", "../compose.prometheus.yaml")
	s.ca.EditResponses(removeARI)
	s.ca.HoldRequestsDuring(func() {
		s.start("docker-guard", "prometheus")
		for _, name := range []string{"grafana.", "logs.", "status."} {
			s.resolveToEdge(name + s.domain)
		}
	})
	crm := s.sites()[1]
	first := s.waitForCertificate(30*time.Second, crm, anyCertificate)

	s.ca.Resolve(t, crm, "127.0.0.9") // nothing listens there
	began := time.Now()
	s.waitForAlert("CertificateExpires", "firing", crm)
	s.logCase(began, "CertificateExpires fires")
	s.waitForAlert("CertificateFailing", "pending", crm)
	// The third attempt would be two minutes after the second one.
	said := harness.EventuallyValue(t, 2*retryTimeout, "edge certs says that two attempts have failed, and why", func() (string, error) {
		said, _ := s.Compose(t.Context(), "exec", "-T", "edge", "edge", "certs") // its status says that something is wrong
		if !strings.Contains(said, "2 attempts failed") || !strings.Contains(said, "can't connect to "+crm) {
			return "", fmt.Errorf("it says\n%s", said)
		}
		return said, nil
	})
	t.Logf("edge certs:\n%s", said)
	s.resolveToEdge(crm)
	began = time.Now()
	cmd := exec.CommandContext(t.Context(), edge, append([]string{"rollout", "edge", "--force"}, s.FileArgs()...)...)
	cmd.Env = s.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("edge rollout edge: %v\n%s", err, out)
	}
	s.logCase(began, "the edge is replaced")
	s.waitForCertificate(20*time.Second, crm, otherThan(first))
	s.logCase(began, "the certificate is renewed")
	s.waitForNoAlert(crm)
	s.logCase(began, "no alert is left")

	own := "own." + s.domain
	s.writeCertificate(own, time.Now().AddDate(0, 0, 1-5*365)) // it ends tomorrow
	shipped, err := os.ReadFile("../../Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	config := string(shipped) + "\n" + own + " {\n\ttls /data/own.pem /data/own.pem\n\trespond ok\n}\n"
	s.edge(config, "reload", "--adapter", "caddyfile", "--config", "-")
	s.waitForAlert("CertificateExpires", "firing", own)
	s.writeCertificate(own, time.Now())
	s.edge(config, "reload", "--force", "--adapter", "caddyfile", "--config", "-")
	s.waitForNoAlert(own)
}

// edge runs a command of the edge in its container, which must succeed.
func (s *stack) edge(stdin string, args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "docker", append(append(append([]string{"compose"}, s.FileArgs()...), "exec", "-T", "edge", "edge"), args...)...)
	cmd.Env, cmd.Stdin = s.Environ(), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("edge %v: %v\n%s", args, err, out)
	}
}

// waitForAlert waits until Prometheus has an alert for a name, in a state: pending, or firing.
func (s *stack) waitForAlert(alert, state, name string) {
	s.t.Helper()
	matchers := fmt.Sprintf("alertname=%q,alertstate=%q,name=%q", alert, state, name)
	harness.EventuallyWithin(s.t, 3*time.Minute, "Prometheus has the alert "+matchers, func() bool {
		alerts, err := s.Alerts(s.t.Context(), matchers)
		return err == nil && len(alerts) > 0
	})
}

func (s *stack) waitForNoAlert(name string) {
	s.t.Helper()
	harness.EventuallyWithin(s.t, 2*time.Minute, "Prometheus has no alert for "+name, func() bool {
		alerts, err := s.Alerts(s.t.Context(), fmt.Sprintf("name=%q", name))
		return err == nil && len(alerts) == 0
	})
}

// writeCertificate puts a certificate with its key where the edge can read it: /data/own.pem.
func (s *stack) writeCertificate(name string, made time.Time) {
	s.t.Helper()
	a, err := authority.New("of the test", made)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := a.Sign(name, []string{name}, made)
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.t.TempDir(), "own.pem")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.mustCompose("cp", file, "edge:/data/own.pem")
}
