package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/modules/edge"
)

func certsCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "certs",
		Usage: "[--address <admin>] [--json]",
		Short: "Shows the certificates, when they are renewed, and what is wrong with them",
		Long: `
Asks the admin API of a running edge. In the stack: docker compose exec edge edge certs

  --address is the admin address, as for edge status.
  --json    prints what GET /edge/certificates answers.

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
	address := adminAddress(flags.String("address"))
	body, err := getAdmin(address, "/edge/certificates")
	if err != nil {
		return withHint(err, "is the edge running? its admin address can be given with --address")
	}
	var all []edge.CertificateStatus
	if err := json.Unmarshal(body, &all); err != nil {
		return fmt.Errorf("read the answer of %s: %w", address, err)
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

// failedCertsError returns an error that names the certificates that somebody should look after.
func failedCertsError(all []edge.CertificateStatus) error {
	var names []string
	for _, c := range all {
		if c.State != edge.CertificateOK && c.State != edge.CertificateTrying {
			names = append(names, c.Name+" is "+string(c.State))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("not all certificates are well: %s", strings.Join(names, ", "))
}

// printCertWarning prints a line about certificates that somebody should look after; none if all are well, or can't be asked for.
func printCertWarning(w io.Writer, address string) error {
	var all []edge.CertificateStatus
	body, err := getAdmin(address, "/edge/certificates")
	if err != nil || json.Unmarshal(body, &all) != nil {
		return nil // an older edge; the services are what was asked for
	}
	if err := failedCertsError(all); err != nil {
		_, err = fmt.Fprintf(w, "\n%v; edge certs says why\n", err)
		return err
	}
	return nil
}

// printCerts prints a table, and below it what is wrong and what to do.
func printCerts(w io.Writer, all []edge.CertificateStatus, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no certificates: the configuration has no site with HTTPS, or has only just started")
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
		times := fmt.Sprintf("%d attempts failed", c.Tries)
		if c.Tries == 1 {
			times = "1 attempt failed"
		}
		fmt.Fprintf(w, "\n%s: %s (%s, the last one %s ago)\n  to do: %s\n  detail: %s\n",
			c.Name, c.LastError.Message, times, now.Sub(c.LastError.At).Round(time.Second), c.LastError.Hint, c.LastError.Detail)
	}
	return nil
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// relativeTime says how far away a time is: "in 59d", "in 4m", "2h ago".
func relativeTime(now, at time.Time) string {
	switch {
	case at.IsZero():
		return "-"
	case at.Before(now):
		return age(now, at) + " ago"
	}
	return "in " + age(at, now)
}
