package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/maintenance"
)

func maintenanceCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "maintenance",
		Usage: "[on|off [<service>...]] [--hold] [--allow <address or range>] [--retry-after 5m] [--message <text>] [--address <admin>] [--json]",
		Short: "Has a running edge take services out of service for a while",
		Long: `
Without an argument, shows what is in maintenance. A service is named as in edge status, or
without its port; without one, all services are meant.

Requests get 503 with Retry-After: browsers a page with your message, programs a problem.
Those that are under way are finished; WebSockets are closed. It lasts until it is ended,
also through restarts and replacements of the edge.

In the stack: docker compose exec edge edge maintenance on bigcapital-server

  --hold        has requests wait for the end of it, at most for the service's hold, and
                max_held of them.
  --allow       addresses and ranges of clients that pass as usual. May be repeated.
  --retry-after is when those who are refused are told to come again.
  --message     is what they read, as plain text.
  --address     is the admin address, as for edge status.
  --json        prints what /edge/maintenance answers.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.Flags().Bool("hold", false, "Have requests wait")
			cmd.Flags().StringSlice("allow", nil, "Clients that pass as usual")
			cmd.Flags().Duration("retry-after", maintenance.DefaultRetryAfter, "When clients are told to come again")
			cmd.Flags().String("message", "", "What those who come read")
			cmd.Flags().Bool("json", false, "Print JSON")
			cmd.RunE = runWithArgs(runMaintenance)
		},
	}
}

func runMaintenance(cmd *cobra.Command, args []string) error {
	order, err := maintenanceRequestBody(cmd, args)
	if err != nil {
		return err
	}
	address, err := cmd.Flags().GetString("address")
	if err != nil {
		return err
	}
	body, err := requestMaintenance(adminAddress(address), order)
	if err != nil {
		return err
	}
	if asJSON, err := cmd.Flags().GetBool("json"); err != nil || asJSON {
		_, writeErr := cmd.OutOrStdout().Write(body)
		return errors.Join(err, writeErr)
	}
	book := new(maintenance.Snapshot)
	if err := json.Unmarshal(body, book); err != nil {
		return fmt.Errorf("read the answer of %s: %w", adminAddress(address), err)
	}
	return printMaintenance(cmd.OutOrStdout(), book.Windows(), time.Now())
}

// maintenanceRequestBody makes the request's body of the command line; none where it only asks.
func maintenanceRequestBody(cmd *cobra.Command, args []string) ([]byte, error) {
	on := len(args) > 0 && args[0] == "on"
	if len(args) > 0 && !on && args[0] != "off" {
		return nil, withHint(fmt.Errorf("maintenance is on or off, got %q", args[0]), "edge maintenance on %s", args[0])
	}
	for _, name := range []string{"hold", "allow", "retry-after", "message"} {
		if cmd.Flags().Changed(name) && !on {
			return nil, withHint(fmt.Errorf("--%s has a meaning only when maintenance is turned on", name), "edge maintenance on … --%s", name)
		}
	}
	if len(args) == 0 {
		return nil, nil
	}
	order := map[string]any{"on": on}
	if len(args) > 1 {
		order["services"] = args[1:]
	}
	if on {
		hold, holdErr := cmd.Flags().GetBool("hold")
		allow, allowErr := cmd.Flags().GetStringSlice("allow")
		retry, retryErr := cmd.Flags().GetDuration("retry-after")
		message, messageErr := cmd.Flags().GetString("message")
		if err := errors.Join(holdErr, allowErr, retryErr, messageErr); err != nil {
			return nil, err
		}
		if retry <= 0 {
			return nil, errors.New("--retry-after must be more than nothing")
		}
		order["hold"], order["allow"], order["retry_after"], order["message"] = hold, allow, retry.String(), message
	}
	return json.Marshal(order)
}

// requestMaintenance gives the edge an order, or only asks if there is none, and returns its answer.
func requestMaintenance(address string, order []byte) ([]byte, error) {
	method := http.MethodGet
	var body io.Reader
	if order != nil {
		method, body = http.MethodPost, bytes.NewReader(order)
	}
	resp, err := caddycmd.AdminAPIRequest(address, method, "/edge/maintenance", nil, body)
	switch {
	case err == nil:
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	case strings.Contains(err.Error(), "HTTP 404"):
		return nil, withHint(adminError(err), "edge status shows the services")
	case strings.Contains(err.Error(), "HTTP 500"):
		return nil, withHint(adminError(err), "can the edge write to its storage? (/data in the stack)")
	case strings.Contains(err.Error(), "HTTP "):
		return nil, adminError(err)
	default:
		return nil, withHint(err, "is the edge running? its admin address can be given with --address")
	}
}

func printMaintenance(w io.Writer, all []*maintenance.Window, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no service is in maintenance")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tFOR\tREQUESTS\tRETRY AFTER\tALLOWED\tMESSAGE")
	for _, c := range all {
		requests, allowed := "refused", "nobody"
		if c.Hold {
			requests = "held"
		}
		if len(c.Allow) > 0 {
			allowed = strings.Trim(fmt.Sprint(c.Allow), "[]")
		}
		message := strings.Join(strings.Fields(c.Message), " ")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Service, age(now, c.Since), requests, c.RetryAfter, allowed, message)
	}
	return t.Flush()
}
