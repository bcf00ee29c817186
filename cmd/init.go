package cmd

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func initCommand(envExample []byte) caddycmd.Command {
	return caddycmd.Command{
		Name:  "init",
		Usage: "[--domain <domain>] [--email <address>] [--file .env] [--databases <host>] [--replica <host>] [--registry] [--cdn]",
		Short: "Writes a .env with new secrets for the compose file",
		Long: `
Writes the variables that compose.yaml needs, with a new secret of 256 random bits for each
password and key. Only the owner can read the file. The command does not change a file
that exists.

  --databases writes the certificates with which the stack reaches databases on another
              machine, whose address or name is <host>: docs/databases-apart.md. The
              variables in .env stay as they are.
  --replica   writes the certificates for a second machine with databases, which has the
              replicas: docs/replication.md.
  --registry  adds what compose.registry.yaml needs to .env, and prints the passwords of the
              accounts once: docs/registry.md.
  --cdn       writes an authority of your own, and the certificate that a CDN in front shows to
              the edge: docs/cdn.md.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("domain", "localhost", "The domain under which the sites are")
			cmd.Flags().String("email", "", "The address for mail from the certificate authority")
			cmd.Flags().String("file", ".env", "The file to write")
			cmd.Flags().String("databases", "", "Write the certificates for databases on this other machine")
			cmd.Flags().String("replica", "", "Write the certificates for a replica on this other machine")
			cmd.Flags().Bool("registry", false, "Write the passwords of a container registry")
			cmd.Flags().Bool("cdn", false, "Write the certificate that a CDN in front shows")
			cmd.RunE = runNoArgs(func(cmd *cobra.Command) error {
				flags := caddycmd.Flags{FlagSet: cmd.Flags()}
				switch databases, replica := flags.String("databases"), flags.String("replica"); {
				case databases != "":
					return writeDatabases(cmd, databases)
				case replica != "":
					return writeReplica(cmd, replica)
				case flags.Bool("registry"):
					return writeRegistry(cmd)
				case flags.Bool("cdn"):
					return writeCDN(cmd)
				}
				return runInit(cmd, envExample)
			})
		},
	}
}

func runInit(cmd *cobra.Command, envExample []byte) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	content, secrets, err := fillEnv(envExample, map[string]string{
		"DOMAIN": flags.String("domain"), "ACME_EMAIL": flags.String("email"),
	})
	if err != nil {
		return err
	}
	name := flags.String("file")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return withHint(fmt.Errorf("%s exists already, and has the secrets of a stack", name),
			"keep it, or move it away first")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	next := "docker compose up -d"
	if !cmd.Flags().Changed("domain") {
		next = "set DOMAIN in it (it is localhost now), and then " + next
	}
	fmt.Fprintf(cmd.OutOrStdout(), "edge: wrote %s with %d new secrets; next: %s\n", name, secrets, next)
	return nil
}

// fillEnv sets the empty variables of the example: those in values to their values, and each that isSecret names to a new secret. All
// other lines stay unchanged.
func fillEnv(example []byte, values map[string]string) (content []byte, secrets int, err error) {
	var out bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(example))
	for lines.Scan() {
		line := lines.Text()
		name, value, isVariable := strings.Cut(line, "=")
		switch {
		case !isVariable || strings.HasPrefix(line, "#") || value != "":
		case values[name] != "":
			if strings.ContainsAny(values[name], "\n\r'\"$\\") {
				return nil, 0, fmt.Errorf("%s: %q has a character that is not allowed in a .env file", name, values[name])
			}
			line += values[name]
		case isSecret(name):
			line += newSecret()
			secrets++
		}
		out.WriteString(line + "\n")
	}
	return out.Bytes(), secrets, lines.Err()
}

// newSecret returns 256 random bits.
func newSecret() string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // it never returns an error
	return hex.EncodeToString(secret)
}

func isSecret(name string) bool {
	return strings.HasSuffix(name, "_PASSWORD") || strings.HasSuffix(name, "_SECRET")
}
