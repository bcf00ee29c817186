package cmd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"
)

// registryVariables are what compose.registry.yaml needs from .env.
var registryVariables = []string{"REGISTRY_HTTP_SECRET", "REGISTRY_PUSH_HASH", "REGISTRY_PULL_HASH"}

// writeRegistry adds the variables of compose.registry.yaml to .env, and prints the passwords of the accounts, of which only the hashes are stored.
func writeRegistry(cmd *cobra.Command) error {
	name := caddycmd.Flags{FlagSet: cmd.Flags()}.String("file")
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("%s does not exist", name), "edge init")
	}
	if err != nil {
		return err
	}
	for _, variable := range registryVariables {
		if valueOf(text, variable) != "" {
			return withHint(fmt.Errorf("%s has %s already: the passwords of a registry", name, variable),
				"keep it, or remove %s for new passwords", strings.Join(registryVariables, ", "))
		}
	}
	push, pull := newSecret(), newSecret()
	var lines bytes.Buffer
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		lines.WriteByte('\n')
	}
	fmt.Fprintf(&lines, "\n# compose.registry.yaml: docs/registry.md\nREGISTRY_HTTP_SECRET=%s\n", newSecret())
	for _, account := range []struct{ variable, password string }{{"REGISTRY_PUSH_HASH", push}, {"REGISTRY_PULL_HASH", pull}} {
		// A cost of 10 is enough for 256 random bits, and does not hold up others.
		hash, err := bcrypt.GenerateFromPassword([]byte(account.password), 10)
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s='%s'\n", account.variable, hash) // in quotes, because it has dollar signs
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(lines.Bytes())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	domain := cmp.Or(valueOf(text, "DOMAIN"), "localhost")
	fmt.Fprintf(cmd.OutOrStdout(), `edge: wrote the hashes of two new passwords to %s. The passwords, which are shown this once:
  push %s    may push and pull: for the CI
  pull %s    may pull: for the machines that run the images
edge: next: add compose.registry.yaml to COMPOSE_FILE in %s, docker compose up -d, docker login --username push registry.%s
`, name, push, pull, name, domain)
	return nil
}
