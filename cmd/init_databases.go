package cmd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/authority"
)

// databasesDirectory has the certificates of the connections to the machine with the databases. The compose files mount them.
const databasesDirectory = "databases"

// databaseServices are the databases, by whose names clients ask for them, and verify the certificate.
var databaseServices = []string{"bigcapital-mysql", "bigcapital-redis", "corteza-db"}

// databaseClients are the applications that have a certificate. Its common name says which databases they reach.
var databaseClients = []string{"bigcapital", "corteza"}

// writeDatabases writes the certificates of both machines: those of the applications into ./databases, and what the other machine needs into
// ./databases/host, with the variables of its databases.
func writeDatabases(cmd *cobra.Command, host string) error {
	env := caddycmd.Flags{FlagSet: cmd.Flags()}.String("file")
	text, err := os.ReadFile(env)
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("%s does not exist, and has the passwords of the databases", env), "edge init")
	}
	if err != nil {
		return err
	}
	if _, err := os.Lstat(databasesDirectory); !errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("%s exists already, and has the certificates of a stack", databasesDirectory), "keep it, or move it away first: then both machines need the new one")
	}
	files, err := databaseFiles(text, host, time.Now())
	if err != nil {
		return err
	}
	if err := writeFiles(databasesDirectory, files); err != nil {
		return err
	}
	remote := filepath.Join(databasesDirectory, "host")
	fmt.Fprintf(cmd.OutOrStdout(), "edge: wrote the certificates of an authority of your own to %s\n"+
		"edge: next: copy %s to %s, as the directory of its project, with compose.databases.yaml as compose.yaml; then move %s away from here\n"+
		"edge: next: set DATABASES_HOST=%s in %s\n", databasesDirectory, remote, host, filepath.Join(databasesDirectory, "authority.key"), host, env)
	return nil
}

// newFile is a file to write.
type newFile struct {
	name string
	text []byte
	mode fs.FileMode
}

// databaseFiles returns the files of [databasesDirectory]. The containers' users, who are others than the owner, have to read the certificates; the mode
// of the directory keeps other users of the machine out.
func databaseFiles(env []byte, host string, now time.Time) ([]newFile, error) {
	a, err := authority.New("databases of the stack", now)
	if err != nil {
		return nil, err
	}
	key, err := a.KeyPEM()
	if err != nil {
		return nil, err
	}
	server, err := a.Sign(databasesDirectory, append([]string{host}, databaseServices...), now)
	if err != nil {
		return nil, err
	}
	files := []newFile{
		{"authority.key", key, 0o600},
		{"authority.pem", a.CertificatePEM(), 0o644},
		{"host/.env", databaseVariables(env, host), 0o600},
		{"host/databases/authority.pem", a.CertificatePEM(), 0o644},
		{"host/databases/server.pem", server, 0o644},
	}
	for _, name := range databaseClients {
		client, err := a.Sign(name, nil, now)
		if err != nil {
			return nil, err
		}
		files = append(files, newFile{name + ".pem", client, 0o644})
	}
	return files, nil
}

// writeFiles makes a directory with files, which is there with all of them or not at all.
func writeFiles(directory string, files []newFile) error {
	temporary, err := os.MkdirTemp(filepath.Dir(directory), "."+filepath.Base(directory)+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	for _, f := range files {
		name := filepath.Join(temporary, f.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.text, f.mode); err != nil {
			return err
		}
	}
	return os.Rename(temporary, directory)
}

// databaseVariables returns the lines of an environment file that the databases' machine needs, and the address at which it listens.
func databaseVariables(env []byte, host string) []byte {
	var out bytes.Buffer
	listen := host
	if net.ParseIP(host) == nil {
		listen = "" // Docker publishes ports on addresses
	}
	fmt.Fprintf(&out, "# The variables of compose.databases.yaml. Keep them secret.\n"+
		"# The address of this machine in the network that it shares with the first one.\nDATABASES_LISTEN=%s\n", listen)
	lines := bufio.NewScanner(bytes.NewReader(env))
	for lines.Scan() {
		name, value, isVariable := strings.Cut(lines.Text(), "=")
		if isVariable && value != "" && (strings.HasPrefix(name, "BIGCAPITAL_DB_") || strings.HasPrefix(name, "CORTEZA_DB_") || slices.Contains([]string{"DATABASES_PORT", "EDGE_IMAGE", "HAPROXY_IMAGE"}, name)) {
			out.WriteString(lines.Text() + "\n")
		}
	}
	return out.Bytes()
}
