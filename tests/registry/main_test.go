// Package registry tests compose.registry.yaml with CNCF Distribution, the Docker Engine as a client, and a client that sends what it wants.
//
// `make test` runs it in about two minutes; `make test-delivery` also pushes 1 GB, and deploys what is pushed with git.
package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// stack is the shipped stack with the registry, without the applications.
var stack registryStack

type registryStack struct {
	harness.Project
	edge      string            // the binary
	passwords map[string]string // of the accounts
	isStarted bool
}

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir: "tests/registry",
		Requires: []harness.Requirement{
			harness.Docker, harness.Compose, harness.Images("edge:dev", "edge-gate:dev", "edge-test/registry:test"),
		},
		Setup: stack.up,
		Teardown: func(isFailed bool) error {
			if !stack.isStarted {
				return nil
			}
			err := stack.Finish(isFailed, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
			return errors.Join(err, removeImages("localhost:"+stack.HTTPS))
		},
	})
}

// removeImages removes the images whose names begin with a registry's address, those without a tag as well. They have no other names.
func removeImages(registry string) error {
	ctx := context.Background()
	out, err := harness.RunDocker(ctx, "image", "ls", "--no-trunc", "--format", "{{.Repository}} {{.ID}}")
	if err != nil {
		return err
	}
	remove := []string{"image", "rm", "--force"}
	for line := range strings.Lines(out) {
		repository, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(repository, registry+"/") && !slices.Contains(remove, id) {
			remove = append(remove, id)
		}
	}
	if len(remove) == 3 {
		return nil
	}
	_, err = harness.RunDocker(ctx, remove...)
	return err
}

func (s *registryStack) up(dir string) error {
	ports := make([]string, 2)
	for i := range ports {
		var err error
		if ports[i], err = testport.Reserve(); err != nil {
			return err
		}
	}
	env := filepath.Join(dir, ".env")
	if err := harness.WriteEnv(env, "localhost"); err != nil {
		return err
	}
	var err error
	if s.edge, err = harness.EdgeBinary(); err != nil {
		return err
	}
	out, err := exec.Command(s.edge, "init", "--registry", "--file", env).CombinedOutput()
	if err != nil {
		return fmt.Errorf("edge init --registry: %w: %s", err, out)
	}
	s.passwords = make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^  (\w+) ([0-9a-f]{64}) `).FindAllStringSubmatch(string(out), -1) {
		s.passwords[m[1]] = m[2]
	}
	if s.passwords["push"] == "" || s.passwords["pull"] == "" {
		return fmt.Errorf("edge init --registry printed no passwords: %s", out)
	}
	shipped, err := os.ReadFile("../../deploy/registry/edge.caddyfile")
	if err != nil {
		return err
	}
	const name = "\nregistry.{$DOMAIN:localhost} {"
	withName := strings.Replace(string(shipped), name, "\nlocalhost, "+name[1:], 1)
	if withName == string(shipped) {
		return fmt.Errorf("the shipped site does not begin with %q", name)
	}
	// Nobody may delete in the shipped site; the conformance suite does.
	s.passwords["admin"] = rand.Text()
	hash, err := bcrypt.GenerateFromPassword([]byte(s.passwords["admin"]), bcrypt.MinCost)
	if err != nil {
		return err
	}
	const directive = "container_registry {\n"
	if !strings.Contains(withName, directive) {
		return fmt.Errorf("the shipped site has no %q", directive)
	}
	withName = strings.Replace(withName, directive, directive+"\t\taccount admin admin "+string(hash)+"\n", 1)
	if err := os.WriteFile(filepath.Join(dir, "edge.caddyfile"), []byte(withName), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	s.Project = harness.Project{
		Name: "edgeregistry", HTTP: ports[0], HTTPS: ports[1],
		Files: []string{"../../compose.yaml", "../../compose.registry.yaml", "../compose.test.yaml", "compose.test.yaml"},
		Env: []string{
			"COMPOSE_ENV_FILES=" + env, "PUBLISH_HTTP=127.0.0.1:" + ports[0], "PUBLISH_HTTPS=127.0.0.1:" + ports[1], "PUBLIC_HTTPS_PORT=" + ports[1], "TEST_DIR=" + dir,
		},
	}
	if err := s.CheckNotKept(); err != nil {
		return err
	}
	s.isStarted = true
	_, err = s.Compose(context.Background(), "up", "--detach", "--wait", "gate", "edge", "registry")
	return err
}

// repository returns a client of a repository, with the password of an account; "" for none.
func (s *registryStack) repository(t *testing.T, name, account string) *remote.Repository {
	t.Helper()
	repository, err := remote.NewRepository("registry.localhost/" + name)
	if err != nil {
		t.Fatal(err)
	}
	client := &auth.Client{Client: s.Client(true, nil)}
	if account != "" {
		client.Credential = auth.StaticCredential("registry.localhost", auth.Credential{Username: account, Password: s.passwords[account]})
	}
	repository.Client = client
	return repository
}
