package cmd

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/modules/certificates"
)

func certsCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "certs",
		Usage: "[--address <admin>] [--json]",
		Short: "Shows the certificates, their renewal times and their failures",
		Long: `
Uses the admin API of a running edge. In the stack: docker compose exec edge edge certs

  --address is the admin address, as for edge status.
  --json    prints the answer of GET /edge/certificates.

Exit status 1 if a certificate is missing, failing or expired.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.Flags().Bool("json", false, "Print JSON")
			cmd.RunE = runNoArgs(runCerts)
		},
	}
}

func runCerts(cmd *cobra.Command) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	var all []certificates.Status
	body, err := newAdminClient(flags.String("address")).get("/edge/certificates", &all)
	if err != nil {
		return err
	}
	if flags.Bool("json") {
		_, err = cmd.OutOrStdout().Write(body)
	} else {
		err = printCerts(cmd.OutOrStdout(), all, time.Now())
	}
	if err != nil {
		return err
	}
	return failedCertsError(all)
}

// failedCertsError returns an error that names the certificates that need attention, or nil if there are none.
func failedCertsError(all []certificates.Status) error {
	var names []string
	for _, c := range all {
		if c.State != certificates.OK && c.State != certificates.Trying {
			names = append(names, c.Name+" is "+string(c.State))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("some certificates need attention: %s", strings.Join(names, ", "))
}

// printCertWarning prints a line about the certificates that need attention. It prints nothing if there are none, or if they can't be
// read.
func printCertWarning(w io.Writer, admin adminClient) error {
	var all []certificates.Status
	if _, err := admin.get("/edge/certificates", &all); err != nil {
		return nil // an older edge; the user asked for the services
	}
	if err := failedCertsError(all); err != nil {
		_, err = fmt.Fprintf(w, "\n%v; edge certs says why\n", err)
		return err
	}
	return nil
}

// printCerts prints a table, and below it the failures, with what to do about them.
func printCerts(w io.Writer, all []certificates.Status, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no certificates: the configuration has no site with HTTPS, or the edge has just started")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSTATE\tISSUER\tEXPIRES\tRENEWAL\tNEXT TRY")
	for _, c := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.State, orDash(c.Issuer), relativeTime(now, c.NotAfter), relativeTime(now, c.RenewalAt), relativeTime(now, c.NextTry))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, c := range all {
		if c.LastError == nil {
			continue
		}
		attempts := fmt.Sprintf("%d attempts failed", c.Tries)
		if c.Tries == 1 {
			attempts = "1 attempt failed"
		}
		fmt.Fprintf(w, "\n%s: %s (%s, the last one %s ago)\n  to do: %s\n  detail: %s\n",
			c.Name, c.LastError.Message, attempts, now.Sub(c.LastError.At).Round(time.Second), c.LastError.Hint, c.LastError.Detail)
	}
	return nil
}
