package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
)

func statusCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "status",
		Usage: "[<service>...] [--address <admin>] [--json] [--watch] [--history]",
		Short: "Shows the services, their endpoints, and their states",
		Long: `
Uses the admin API of a running edge. In the stack: docker compose exec edge edge status

Shows all services, or those that you name as routes do: web:8080, web for all its ports,
shop/web for that of the project shop, or shop/ for all of that project.

  --address is the admin address, such as unix//run/edge/admin.sock or localhost:2019.
            Default: what EDGE_ADMIN names, else that socket if it is there, else localhost:2019.
  --json    prints the answer of GET /edge/services, or of these services alone.
  --watch   prints every second until Ctrl-C.
  --history prints the answer of GET /edge/traffic: what each service had in the last 15 minutes, as JSON.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.Flags().Bool("json", false, "Print JSON")
			cmd.Flags().Bool("watch", false, "Print every second")
			cmd.Flags().Bool("history", false, "Print the requests of the last minutes as JSON")
			cmd.RunE = runWithArgs(runStatus)
		},
	}
}

func runStatus(cmd *cobra.Command, names []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	admin := newAdminClient(flags.String("address"))
	show := func() error {
		path := "/edge/services"
		if flags.Bool("history") {
			path = "/edge/traffic"
		}
		if flags.Bool("history") || flags.Bool("json") && len(names) == 0 { // as it is, also if this program is older than the edge
			body, err := admin.get(path, nil)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(body)
			return err
		}
		var services []registry.ServiceStatus
		if _, err := admin.get(path, &services); err != nil {
			return err
		}
		services, err := selectServices(services, names)
		if err != nil {
			return err
		}
		if flags.Bool("json") {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(services)
		}
		if err := printExhaustion(cmd.OutOrStdout(), admin, time.Now()); err != nil {
			return err
		}
		if err := printServices(cmd.OutOrStdout(), services, time.Now()); err != nil {
			return err
		}
		if err := printCertWarning(cmd.OutOrStdout(), admin); err != nil {
			return err
		}
		if err := printReplicaStatus(cmd.OutOrStdout(), admin, time.Now()); err != nil {
			return err
		}
		return printBackups(cmd.OutOrStdout(), admin, time.Now())
	}
	if !flags.Bool("watch") {
		return show()
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
	defer stop()
	return watchStatus(ctx, cmd.OutOrStdout(), show)
}

// printExhaustion prints what the edge has run out of.
func printExhaustion(w io.Writer, admin adminClient, now time.Time) error {
	var all []edge.Exhaustion
	if _, err := admin.get("/edge/exhausted", &all); err != nil {
		return nil // an older edge; the user asked for the services
	}
	for _, e := range all {
		if _, err := fmt.Fprintf(w, "the edge has run out of %s, %s ago: %s\n\n", e.Resource, age(now, e.Last), e.Hint); err != nil {
			return err
		}
	}
	return nil
}

// selectServices returns those of the services that the names mean, or all if there are no names.
func selectServices(services []registry.ServiceStatus, names []string) ([]registry.ServiceStatus, error) {
	if len(names) == 0 {
		return services, nil
	}
	var found []string
	for _, name := range names {
		matching, err := registry.FindServices(services, name)
		if err != nil {
			return nil, withHint(err, "edge status shows all")
		}
		found = append(found, matching...)
	}
	return slices.DeleteFunc(services, func(s registry.ServiceStatus) bool { return !slices.Contains(found, s.Service) }), nil
}

// watchStatus shows the status every second until ctx ends. An error is printed, and the next try may succeed.
func watchStatus(ctx context.Context, w io.Writer, show func() error) error {
	for {
		fmt.Fprint(w, "\x1b[H\x1b[2J") // move the cursor to the top, and clear the screen
		if err := show(); err != nil {
			printError(w, err) // the edge may be restarting
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// printServices prints a table with a line for each service, and below it a line for each of its endpoints.
func printServices(w io.Writer, services []registry.ServiceStatus, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tENDPOINT\tSTATE\tSINCE\tSOURCE\tIN FLIGHT\tSOCKETS\tREASON")
	for _, s := range services {
		state := fmt.Sprintf("%d ready", s.Ready)
		if s.Held > 0 {
			state += fmt.Sprintf(", %d held", s.Held)
		}
		if s.Maintenance != "" {
			state += ", in maintenance"
			if !s.MaintenanceSince.IsZero() { // an older edge does not say
				state += " for " + age(now, s.MaintenanceSince)
			}
		}
		fmt.Fprintf(t, "%s\t\t%s\t%s\t%s\t%d\t%d\t%s\n", s.Service, state, age(now, s.Since), s.Source, s.InFlight, s.Sockets, edge.ServiceProblem(s))
		for _, e := range s.Endpoints {
			name := e.Name
			if name == "" {
				name = e.Address
			} else {
				name += " (" + e.Address + ")"
			}
			fmt.Fprintf(t, "\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", name, e.State, age(now, e.Since), e.Source, e.InFlight, e.Sockets, e.Reason)
		}
	}
	return t.Flush()
}
