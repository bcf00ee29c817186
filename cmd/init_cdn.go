package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/authority"
)

// cdnDirectory has the authority that compose.cdn.yaml mounts, and the certificate for the CDN.
const cdnDirectory = "cdn"

// writeCDN writes an authority, and a certificate of it. With an authority of one's own, only one's own account at the CDN reaches the sites: that of the CDN is for all its customers.
func writeCDN(cmd *cobra.Command) error {
	if _, err := os.Lstat(cdnDirectory); !errors.Is(err, fs.ErrNotExist) {
		return renewCDN(cmd)
	}
	now := time.Now()
	a, err := authority.New("CDN in front of the stack", now)
	if err != nil {
		return err
	}
	key, err := a.KeyPEM()
	if err != nil {
		return err
	}
	client, err := a.Sign("cdn", nil, now)
	if err != nil {
		return err
	}
	if err := writeFiles(cdnDirectory, []newFile{
		{"authority.pem", a.CertificatePEM(), 0o644}, // the user of the edge's container reads it
		{"authority.key", key, 0o600},
		{"client.pem", client, 0o600},
	}); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "edge: wrote an authority of your own, and a certificate with its key, to %s\n"+
		"edge: next: give the CDN %s, for the requests that it sends to this host; then move %s away from here\n"+
		"edge: next: add compose.cdn.yaml to COMPOSE_FILE in .env, and docker compose up -d\n",
		cdnDirectory, filepath.Join(cdnDirectory, "client.pem"), filepath.Join(cdnDirectory, "authority.key"))
	return nil
}

// renewCDN writes a new certificate of the authority that is there. The edge accepts the one before, too, until it ends.
func renewCDN(cmd *cobra.Command) error {
	certificate, err := os.ReadFile(filepath.Join(cdnDirectory, "authority.pem"))
	if err != nil {
		return withHint(err, "move %s away first; then the edge and the CDN need the new files", cdnDirectory)
	}
	keyFile := filepath.Join(cdnDirectory, "authority.key")
	key, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("%s exists already, without the key of its authority", cdnDirectory), "for a new certificate, put %s back; without it, move %s away first: then the edge and the CDN need the new files", keyFile, cdnDirectory)
	}
	if err != nil {
		return err
	}
	a, err := authority.Parse(certificate, key)
	if err != nil {
		return fmt.Errorf("read the authority in %s: %w", cdnDirectory, err)
	}
	client, err := a.Sign("cdn", nil, time.Now())
	if err != nil {
		return err
	}
	name := filepath.Join(cdnDirectory, "client.pem")
	if err := os.WriteFile(name+".new", client, 0o600); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil { // the one before stays if there is no space
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "edge: wrote a new certificate, of the same authority, to %s\n"+
		"edge: next: give it to the CDN in the place of the one before; then move %s away from here\n", name, keyFile)
	return nil
}
