package swarm

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// stackImages are the images of the shipped stack.
var stackImages = []string{
	"edge-gate:dev", "edge-test/bigcapital-server:test", "edge-test/bigcapital-migration:test", "edge-test/bigcapital-webapp:test", "edge-test/mariadb:test",
	"edge-test/redis:test", "edge-test/gotenberg:test", "edge-test/corteza:test", "edge-test/corteza-docs:test", "edge-test/postgres:test",
}

// shippedStack is deploy/swarm/stack.yaml, as its head says to deploy it.
type shippedStack struct {
	env     []string // of commands
	secrets map[string]string
}

const stackName = "infrastructure"

// deployStack deploys the shipped stack, and waits until it runs. The end of the test removes it.
func deployStack(t *testing.T) *shippedStack {
	t.Helper()
	file := filepath.Join(t.TempDir(), ".env")
	if err := harness.WriteEnv(file, "localhost"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &shippedStack{secrets: make(map[string]string)}
	s.env = append(os.Environ(), "DOCKER_HOST=unix://"+cluster.Manager().Socket, "EDGE_IMAGE="+edgeImage, "GATE_IMAGE=edge-gate:dev",
		"BIGCAPITAL_SERVERS=0", "HTTP_PORT=8090", "HTTPS_PORT=8453", "PUBLIC_HTTPS_PORT=8453", "PUBLIC_PORT_SUFFIX=:8453", "DOCKER_SOCKET="+harness.SwarmSocket)
	for line := range strings.Lines(string(text)) {
		name, value, isVariable := strings.Cut(strings.TrimSpace(line), "=")
		if !isVariable || strings.HasPrefix(name, "#") || strings.HasPrefix(name, "PUB") {
			continue
		}
		s.env = append(s.env, name+"="+value)
		if strings.HasSuffix(name, "_SECRET") || strings.HasSuffix(name, "_PASSWORD") {
			s.secrets[name] = value
		}
	}
	if err := cluster.Load(t.Context(), stackImages...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.remove(t) })
	for range 2 { // the second time, all are there
		s.run(t, "../../deploy/swarm/secrets", file)
	}
	mustDocker(t, "node", "update", "--label-add", "edge.data=true", "node-1")
	s.run(t, "docker", "stack", "deploy", "--resolve-image", "never", "--compose-file", "../../deploy/swarm/stack.yaml", "--compose-file", "stack.test.yaml", stackName)
	s.eventuallyRun(t, map[string]int{
		"gate": 3, "edge": 3, "docker-guard": 1, "edge-db": 1, "bigcapital-webapp": 2, "bigcapital-mysql": 1, "bigcapital-redis": 1, "bigcapital-gotenberg": 1,
		"corteza-server": 1, "corteza-db": 1, "corteza-docs": 2,
	})
	harness.Eventually(t, "the migration is complete", func() bool {
		out, err := docker(t.Context(), "service", "ps", "--format", "{{.CurrentState}}", stackName+"_bigcapital-migration")
		return err == nil && strings.HasPrefix(out, "Complete")
	})
	mustDocker(t, "service", "scale", "--detach", stackName+"_bigcapital-server=1")
	s.eventuallyRun(t, map[string]int{"bigcapital-server": 1})
	return s
}

func (s *shippedStack) run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (s *shippedStack) eventuallyRun(t *testing.T, services map[string]int) {
	t.Helper()
	for name, replicas := range services {
		if err := cluster.EventuallyReplicas(t.Context(), stackName+"_"+name, replicas); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *shippedStack) remove(t *testing.T) {
	if t.Failed() {
		for _, name := range []string{"edge", "gate", "bigcapital-server", "corteza-server"} {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			out, _ := docker(ctx, "service", "logs", "--tail", "30", stackName+"_"+name)
			cancel()
			t.Logf("the last lines of %s:\n%s", name, out)
			out, _ = docker(context.Background(), "service", "ps", "--no-trunc", "--format", "{{.Name}} {{.CurrentState}} {{.Error}}", stackName+"_"+name)
			t.Log(out)
		}
	}
	mustDocker(t, "stack", "rm", stackName)
	harness.Eventually(t, "the stack's networks are gone", func() bool {
		out, err := docker(context.Background(), "network", "ls", "--quiet", "--filter", "label=com.docker.stack.namespace="+stackName)
		return err == nil && out == ""
	})
	out, err := docker(context.Background(), "secret", "ls", "--quiet")
	if err != nil {
		t.Error(err)
	}
	if ids := strings.Fields(out); len(ids) > 0 {
		mustDocker(t, append([]string{"secret", "rm"}, ids...)...)
	}
}

// client returns a client of a site that connects to a node.
func (s *shippedStack) client(node *harness.SwarmNode) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(node.Address, "8453"))
		},
	}}
}

// get returns the status and the body of a site's response at a node, and the serial number of its certificate.
func (s *shippedStack) get(node *harness.SwarmNode, url string) (answer, serial string) {
	client := s.client(node)
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		return err.Error(), ""
	}
	defer resp.Body.Close()
	return fmt.Sprint(resp.StatusCode), resp.TLS.PeerCertificates[0].SerialNumber.String()
}

// TestTheShippedStack deploys the shipped stack, as its head says. Each node serves each site, with the same certificates; no secret is in what the Swarm tells
// of its services; networks are apart; and the edges are updated while clients send requests.
func TestTheShippedStack(t *testing.T) {
	s := deployStack(t)
	for _, url := range []string{"https://accounting.localhost/", "https://accounting.localhost/api/system_db", "https://crm.localhost/", "https://docs.localhost/"} {
		var serials []string
		for _, n := range cluster.Nodes {
			var answer, serial string
			harness.Eventually(t, url+" answers at "+n.Address, func() bool {
				answer, serial = s.get(n, url)
				return answer == "200"
			})
			serials = append(serials, serial)
		}
		if slices.Sort(serials); len(slices.Compact(serials)) != 1 {
			t.Errorf("%s has several certificates: %q", url, serials)
		}
	}
	s.wantNoSecretInServices(t)
	s.wantSecretsInApplications(t)
	s.wantNetworksApart(t)
	s.wantNothingLostInUpdates(t)
}

func (s *shippedStack) wantNoSecretInServices(t *testing.T) {
	t.Helper()
	ids, err := docker(t.Context(), "service", "ls", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	all, err := docker(t.Context(), append([]string{"service", "inspect"}, strings.Fields(ids)...)...)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.secrets) < 9 {
		t.Errorf("there are %d secrets", len(s.secrets))
	}
	for name, value := range s.secrets {
		if strings.Contains(all, value) {
			t.Errorf("docker service inspect shows %s", name)
		}
	}
}

// exec runs a command in the container of a service's only task.
func (s *shippedStack) exec(t *testing.T, service string, command ...string) (string, error) {
	t.Helper()
	for _, n := range cluster.Nodes {
		id, err := n.Docker(t.Context(), "ps", "--quiet", "--filter", "label=com.docker.swarm.service.name="+stackName+"_"+service)
		if err != nil {
			t.Fatal(err)
		}
		if id, _, _ = strings.Cut(id, "\n"); id != "" {
			return n.Docker(t.Context(), append([]string{"exec", id}, command...)...)
		}
	}
	t.Fatalf("%s has no container", service)
	return "", nil
}

func (s *shippedStack) wantSecretsInApplications(t *testing.T) {
	t.Helper()
	for variable, secret := range map[string]string{
		"DB_PASSWORD": "BIGCAPITAL_DB_PASSWORD", "APP_JWT_SECRET": "BIGCAPITAL_JWT_SECRET", "JWT_SECRET": "BIGCAPITAL_JWT_SECRET", "MAIL_PASSWORD": "",
	} {
		if got, err := s.exec(t, "bigcapital-server", "node", "-p", "process.env."+variable); err != nil || got != s.secrets[secret] {
			t.Errorf("%s in bigcapital-server is %q, error %v", variable, got, err)
		}
	}
	if got, err := s.exec(t, "bigcapital-server", "printenv", "BASE_URL"); err != nil || got != "https://accounting.localhost:8453" {
		t.Errorf("BASE_URL is %q, error %v", got, err)
	}
	if got, err := s.exec(t, "corteza-server", "printenv", "AUTH_EXTERNAL_REDIRECT_URL"); err != nil || got != "https://crm.localhost:8453/auth/external/{provider}/callback" {
		t.Errorf("AUTH_EXTERNAL_REDIRECT_URL is %q, error %v", got, err)
	}
	env, err := s.exec(t, "corteza-server", "cat", "/corteza/.env")
	if want := "AUTH_JWT_SECRET=" + s.secrets["CORTEZA_JWT_SECRET"]; err != nil || !strings.Contains(env, want) || !strings.Contains(env, s.secrets["CORTEZA_DB_PASSWORD"]) {
		t.Errorf("Corteza's .env lacks secrets, error %v", err)
	}
	// The databases take them, too.
	if _, err := s.exec(t, "bigcapital-mysql", "sh", "-c", `MYSQL_PWD="$(cat /run/secrets/bigcapital_db_password)" mariadb -h 127.0.0.1 -u bigcapital bigcapital_system -e 'SELECT 1'`); err != nil {
		t.Error(err)
	}
	if _, err := s.exec(t, "corteza-db", "sh", "-c", `psql "postgres://corteza:$(cat /run/secrets/corteza_db_password)@127.0.0.1/corteza" -c 'SELECT 1'`); err != nil {
		t.Error(err)
	}
}

// wantNetworksApart: who is on the network of the applications' databases reaches them, and Gotenberg, which fetches any URL, does not.
func (s *shippedStack) wantNetworksApart(t *testing.T) {
	t.Helper()
	connect := func(service, to string) error {
		host, port, _ := strings.Cut(to, ":")
		_, err := s.exec(t, service, "timeout", "5", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%s", host, port))
		return err
	}
	for _, c := range []struct {
		from, to string
		isOpen   bool
	}{
		{"bigcapital-server", "bigcapital-mysql:3306", true},
		{"bigcapital-server", "bigcapital-gotenberg:9000", true},
		{"corteza-server", "corteza-db:5432", true},
		{"bigcapital-gotenberg", "bigcapital-server:3000", true},
		{"corteza-docs", "corteza-server:80", true},
		{"bigcapital-gotenberg", "bigcapital-mysql:3306", false},
		{"bigcapital-gotenberg", "edge:80", false},
		{"bigcapital-server", "edge-db:5432", false},
		{"corteza-docs", "corteza-db:5432", false},
		{"corteza-server", "docker-guard:2375", false},
	} {
		if err := connect(c.from, c.to); (err == nil) != c.isOpen {
			t.Errorf("from %s to %s: error %v, want none: %t", c.from, c.to, err, c.isOpen)
		}
	}
}

// wantNothingLostInUpdates updates the edges and an application, start-first.
func (s *shippedStack) wantNothingLostInUpdates(t *testing.T) {
	t.Helper()
	l := harness.StartLoad(t, "edge", func(n int) *http.Client { return s.client(cluster.Nodes[n%len(cluster.Nodes)]) },
		func(int) string { return "https://docs.localhost/_test/echo" })
	time.Sleep(2 * time.Second)
	for range 2 {
		for service, replicas := range map[string]int{"edge": 3, "corteza-docs": 2} {
			mustDocker(t, "service", "update", "--quiet", "--force", stackName+"_"+service)
			s.eventuallyRun(t, map[string]int{service: replicas})
		}
	}
	time.Sleep(2 * time.Second)
	if idempotent, post, _ := l.Report(t, "the edges and an application are updated, start-first"); idempotent+post > 0 {
		t.Errorf("%d idempotent requests and %d POSTs were lost, want none", idempotent, post)
	}
}
