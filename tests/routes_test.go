package tests

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

const (
	accounting = "https://accounting.localhost"
	crm        = "https://crm.localhost"
	docs       = "https://docs.localhost"
)

// readyStack returns the shipped stack with every service ready.
func readyStack(t *testing.T) *project {
	t.Helper()
	p := stack(t)
	p.WaitForStatus(t, "http://localhost/health/ready", http.StatusOK)
	return p
}

func TestEveryRouteReachesItsService(t *testing.T) {
	p := readyStack(t)
	for _, c := range []struct{ url, want string }{
		{accounting + "/api/echo", `"role":"bigcapital-server"`},
		{accounting + "/api/system_db", `"status":"ok"`},
		{accounting + "/socket.io/?EIO=4&transport=polling", `"sid"`},
		{accounting + "/socket/?EIO=4&transport=polling", `"sid"`},
		{accounting + "/", "BigCapital test web app"},
		{accounting + "/invoices/17", "BigCapital test web app"},
		{crm + "/", "Corteza test server"},
		{crm + "/auth/login", "Corteza test server"},
		{docs + "/", "Corteza docs test"},
	} {
		p.CheckGet(t, c.url, harness.Want{Status: http.StatusOK, Contains: c.want})
	}
	p.CheckGet(t, docs+"/no/such/page", harness.Want{Status: http.StatusNotFound}) // the site's own 404
}

func TestInternalPathsAreBlocked(t *testing.T) {
	p := readyStack(t)
	for _, url := range []string{
		accounting + "/api/queues", accounting + "/api/queues/", accounting + "/api/queues/all", accounting + "/API/Queues",
		accounting + "/agendash", accounting + "/agendash/x", crm + "/metrics", crm + "/console", crm + "/console/ui",
		crm + "/debug/pprof", crm + "/__healthcheck", crm + "/Metrics",
	} {
		p.CheckGet(t, url, harness.Want{Status: http.StatusNotFound, Lacks: "LEAK"})
	}
	const queues = accounting + "/api/queues"
	p.CheckGet(t, queues, harness.Want{Header: map[string]string{"Content-Type": "application/problem+json"}})
	p.CheckGet(t, queues, harness.Want{Contains: "<h1>Page not found</h1>"}, "Accept", "text/html,*/*")
	for _, path := range []string{"/swagger", "/public/x"} { // the server has them, but no route leads there
		p.CheckGet(t, accounting+path, harness.Want{Lacks: "LEAK"})
	}
}

func TestPlainHTTPRedirectsForConfiguredHostsOnly(t *testing.T) {
	p := readyStack(t)
	p.CheckGet(t, "http://accounting.localhost/invoices?id=1", harness.Want{
		Status: http.StatusPermanentRedirect,
		Header: map[string]string{"Location": "https://accounting.localhost:" + p.HTTPS + "/invoices?id=1"},
	})
	for _, host := range []string{"evil.example", "localhost", "x.localhost"} {
		p.CheckGet(t, "http://localhost/", harness.Want{Status: http.StatusNotFound}, "Host", host)
	}
}

func TestHealthIsServedOnEveryHostAndSite(t *testing.T) {
	p := readyStack(t)
	for _, url := range []string{
		"http://localhost/health", "http://accounting.localhost/health", accounting + "/health", crm + "/health", docs + "/health",
	} {
		p.CheckGet(t, url, harness.Want{Status: http.StatusOK, Header: map[string]string{"Content-Type": "application/health+json"}})
	}
	p.CheckGet(t, "http://localhost/health", harness.Want{Status: http.StatusOK}, "Host", "203.0.113.5") // by address
	out := p.MustCompose(t, "exec", "-T", "edge", "edge", "health", "--ready")
	if out != "" {
		t.Errorf("edge health printed %q", out)
	}
}

func TestAnUnknownHostNeverGetsAnotherSite(t *testing.T) {
	p := readyStack(t)
	handshake := func(sni string) error {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", "127.0.0.1:"+p.HTTPS,
			&tls.Config{ServerName: sni, InsecureSkipVerify: true})
		if err == nil {
			conn.Close()
		}
		return err
	}
	for _, sni := range []string{"evil.example", "x.localhost", ""} {
		if handshake(sni) == nil {
			t.Errorf("the edge accepts a TLS handshake for %q", sni)
		}
	}
	for _, host := range []string{"evil.example", "crm.localhost", "docs.localhost"} {
		a := p.Get(t, accounting+"/", "Host", host) // the SNI is accounting.localhost
		if a.Status != http.StatusMisdirectedRequest && a.Status != http.StatusNotFound {
			t.Errorf("SNI accounting with Host %s: %d %.80q, want 421 or 404", host, a.Status, a.Body)
		}
	}
}

func TestSpoofedClientHeadersAreRemoved(t *testing.T) {
	p := readyStack(t)
	const spoofed = "6.6.6.6"
	var header []string
	for _, name := range []string{
		"True-Client-IP", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
		"X-Forwarded-Server", "X-Forwarded-Prefix", "Forwarded", "X-Client-IP", "CF-Connecting-IP", "X-Cluster-Client-Ip",
		"True_Client_IP", "X_Real_IP", "X_Forwarded_For", "X_FORWARDED_PROTO", "X.Real.IP", "true.client.ip", "X-Forwarded_For",
	} {
		header = append(header, name, spoofed)
	}
	for _, url := range []string{accounting + "/api/echo", crm + "/api/echo", docs + "/_test/echo"} {
		a := p.Get(t, url, header...)
		var echo struct{ Headers map[string][]string }
		if err := json.Unmarshal([]byte(a.Body), &echo); err != nil {
			t.Fatalf("%s: %v in %.200q", url, err, a.Body)
		}
		if text, _ := json.Marshal(echo.Headers); strings.Contains(string(text), spoofed) {
			t.Errorf("%s: the backend gets %s", url, text)
		}
		if len(echo.Headers["X-Real-Ip"]) != 1 || len(echo.Headers["X-Forwarded-For"]) != 1 {
			t.Errorf("%s: the real address is missing: %v", url, echo.Headers)
		}
	}
}

func TestOnlyTheEdgePublishesPorts(t *testing.T) {
	p := stack(t)
	var config struct {
		Name     string
		Services map[string]struct {
			Ports    []any
			Networks map[string]any
		}
		Networks map[string]struct {
			Name     string
			Internal bool
		}
		Volumes map[string]struct{ Name string }
	}
	p.MustCompose(t, "config", "--quiet")
	plain := p.Project
	plain.Name = "infrastructure"
	if err := json.Unmarshal([]byte(plain.MustCompose(t, "--profile", "*", "config", "--format", "json")), &config); err != nil {
		t.Fatal(err)
	}
	for name, s := range config.Services {
		if (len(s.Ports) > 0) != (name == "gate") {
			t.Errorf("%s publishes %v", name, s.Ports)
		}
	}
	for name := range config.Services["edge"].Networks {
		for _, database := range []string{"bigcapital-mysql", "bigcapital-mongo", "bigcapital-redis", "corteza-db"} {
			if _, shared := config.Services[database].Networks[name]; shared {
				t.Errorf("the edge shares network %s with %s", name, database)
			}
		}
	}
	for name := range config.Services["gate"].Networks {
		for other, s := range config.Services {
			if _, shared := s.Networks[name]; shared && other != "gate" {
				t.Errorf("the gate shares network %s with %s", name, other)
			}
		}
	}
	if got := config.Networks["infrastructure_network"].Name; got != "infrastructure_network" {
		t.Errorf("the network is called %q", got)
	}
	for _, volume := range []string{
		"infrastructure_bigcapital_mysql", "infrastructure_bigcapital_mongo", "infrastructure_bigcapital_redis",
		"infrastructure_corteza_db", "infrastructure_corteza_data",
	} {
		found := false
		for _, v := range config.Volumes {
			found = found || v.Name == volume
		}
		if !found {
			t.Errorf("volume %s, which compose.yaml promises, is missing", volume)
		}
	}
}

func TestStackDoesNotStartWithoutSecrets(t *testing.T) {
	p := harness.Project{Name: "edgenoenv", Files: []string{"../compose.yaml"}, Env: []string{"COMPOSE_ENV_FILES=/dev/null"}}
	_, err := p.Compose(t.Context(), "config", "--quiet")
	if err == nil || !strings.Contains(err.Error(), "edge init") {
		t.Errorf("got %v, want an error that names `edge init`", err)
	}
}
