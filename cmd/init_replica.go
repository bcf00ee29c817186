package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/authority"
)

// replicationClient is the name in the certificate by which databases' machines let each other in, and the first machine's service `replication`.
const replicationClient = "replication"

// writeReplica adds to the certificates of [writeDatabases] those for a second machine with databases: ./databases/replica-HOST/replica is for that one, and
// ./databases/replica-HOST/primary has what the first of the two needs in addition.
func writeReplica(cmd *cobra.Command, replica string) error {
	env := (caddycmd.Flags{FlagSet: cmd.Flags()}).String("file")
	text, err := os.ReadFile(env)
	if err != nil {
		return err
	}
	const makeFirst = "edge init --databases HOST comes first"
	primary := valueOf(text, "DATABASES_HOST")
	if primary == "" {
		return withHint(fmt.Errorf("%s does not have DATABASES_HOST, the machine with the databases", env), makeFirst)
	}
	certificate, err := os.ReadFile(filepath.Join(databasesDirectory, "authority.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(err, makeFirst)
	}
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(databasesDirectory, "authority.key"))
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(err, "put the key of the authority back for this command; you moved it to a safe place after edge init --databases")
	}
	if err != nil {
		return err
	}
	a, err := authority.Parse(certificate, key)
	if err != nil {
		return err
	}
	now := time.Now()
	// A machine lets in only the one that is its peer: so one that was replaced stays out, also if it runs again.
	client, err1 := a.Sign(replicationClient, nil, now)
	primaryClient, err2 := a.SignMachine(replicationClient, primary, now)
	replicaClient, err3 := a.SignMachine(replicationClient, replica, now)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	server, err := a.Sign(databasesDirectory, append([]string{replica}, databaseServices...), now)
	if err != nil {
		return err
	}
	directory := filepath.Join(databasesDirectory, "replica-"+replica)
	if _, err := os.Lstat(directory); !errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("%s exists already, and has the certificates of that replica", directory), "keep it, or remove it first: then all machines need the new ones")
	}
	variables := bytes.Join([][]byte{databaseVariables(text, replica), replicaVariables(primary, replica)}, nil)
	// Of the primary's machine, only what is new: its own directory may have been moved there.
	if err := writeFiles(directory, []newFile{
		{"replica/.env", variables, 0o600},
		{"replica/databases/authority.pem", certificate, 0o644},
		{"replica/databases/server.pem", server, 0o644},
		{"replica/databases/replication.pem", replicaClient, 0o644},
		{"primary/databases/replication.pem", primaryClient, 0o644},
		{"primary/replica.env", replicaVariables(replica, primary), 0o600},
	}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(databasesDirectory, "replication.pem"), client, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "edge: wrote the certificates for a replica on %[1]s to %[2]s\n"+
		"edge: next: copy %[2]s/replica to %[1]s, as the directory of its project, with compose.databases.yaml as compose.yaml, and compose.replica.yaml\n"+
		"edge: next: copy %[2]s/primary/databases/replication.pem and compose.replica.yaml to %[3]s, and add %[2]s/primary/replica.env to .env there; then move authority.key away from here\n"+
		"edge: next: set DATABASES_REPLICA=%[1]s in %[4]s\n", replica, directory, primary, env)
	return nil
}

// replicaVariables returns what a machine with databases needs in addition, if there are two. Each MariaDB needs a number of its own; those of machines
// that are replaced are not used again.
func replicaVariables(peer, own string) []byte {
	return fmt.Appendf(nil, "# For compose.replica.yaml.\nCOMPOSE_FILE=compose.yaml:compose.replica.yaml\nDATABASES_PEER=%s\nDATABASES_SERVER_ID=%d\n", peer, max(1, crc32.ChecksumIEEE([]byte(own))))
}

// valueOf returns the value of a variable in an environment file; the last one counts.
func valueOf(env []byte, name string) (value string) {
	for line := range strings.Lines(string(env)) {
		if key, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && key == name {
			value = strings.Trim(v, `"'`)
		}
	}
	return value
}
