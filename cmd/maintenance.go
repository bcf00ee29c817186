package cmd

import (
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
		Short: "Closes services to visitors for a while",
		Long: `
Without an argument, shows which services are in maintenance. Name services as edge status
does, or without their port: web is also shop/web:8080, if no other project has a web, and
shop/ is all services of the project shop. Without a name, the command is about all.

Requests get 503 with Retry-After: browsers get a page with your message, programs get
problem+json. Requests that are in flight are finished, and WebSockets are closed. The
maintenance lasts until you end it, also when the edge is restarted or replaced.

In the stack: docker compose exec edge edge maintenance on bigcapital-server

  --hold        makes requests wait for the end of the maintenance, at most for the hold of
                the service, and at most max_held of them.
  --allow       is addresses and ranges of clients whose requests pass. May be repeated.
  --retry-after is the Retry-After of refused requests.
  --message     is the message to visitors, as plain text.
  --address     is the admin address, as for edge status.
  --json        prints the answer of /edge/maintenance.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.Flags().Bool("hold", false, "Make requests wait")
			cmd.Flags().StringSlice("allow", nil, "Clients whose requests pass")
			cmd.Flags().Duration("retry-after", maintenance.DefaultRetryAfter, "The Retry-After of refused requests")
			cmd.Flags().String("message", "", "The message to visitors")
			cmd.Flags().Bool("json", false, "Print JSON")
			cmd.RunE = runWithArgs(runMaintenance)
		},
	}
}

func runMaintenance(cmd *cobra.Command, args []string) error {
	request, err := maintenanceRequestBody(cmd, args)
	if err != nil {
		return err
	}
	address, err := cmd.Flags().GetString("address")
	if err != nil {
		return err
	}
	asJSON, err := cmd.Flags().GetBool("json")
	if err != nil {
		return err
	}
	admin := newAdminClient(address)
	if asJSON { // as it is, also if this program is older than the edge
		body, err := requestMaintenance(admin, request, nil)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(body)
		return err
	}
	snapshot := new(maintenance.Snapshot)
	if _, err := requestMaintenance(admin, request, snapshot); err != nil {
		return err
	}
	return printMaintenance(cmd.OutOrStdout(), snapshot.Windows(), time.Now())
}

// maintenanceRequestBody returns the body of the request that the command line asks for, or nil if it only asks what is in maintenance.
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
	request := map[string]any{"on": on}
	if len(args) > 1 {
		request["services"] = args[1:]
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
			return nil, errors.New("--retry-after must be positive")
		}
		request["hold"], request["allow"], request["retry_after"], request["message"] = hold, allow, retry.String(), message
	}
	return json.Marshal(request)
}

// requestMaintenance sends a request to the edge, or reads what is in maintenance if there is none, and returns the answer.
func requestMaintenance(admin adminClient, request []byte, to any) ([]byte, error) {
	const path = "/edge/maintenance"
	if request == nil {
		return admin.get(path, to)
	}
	return admin.post(path, request, to, map[int]string{
		http.StatusNotFound:            "edge status shows the services",
		http.StatusInternalServerError: "can the edge write to its storage? (/data in the stack)",
	})
}

func printMaintenance(out io.Writer, all []*maintenance.Window, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "no service is in maintenance")
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tFOR\tREQUESTS\tRETRY AFTER\tALLOWED\tMESSAGE")
	for _, w := range all {
		requests, allowed := "refused", "nobody"
		if w.Hold {
			requests = "held"
		}
		if len(w.Allow) > 0 {
			allowed = strings.Trim(fmt.Sprint(w.Allow), "[]")
		}
		message := strings.Join(strings.Fields(w.Message), " ")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", w.Service, age(now, w.Since), requests, w.RetryAfter, allowed, message)
	}
	return t.Flush()
}
