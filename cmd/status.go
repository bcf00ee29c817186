package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/registry"
)

// adminSocket is where the shipped Caddyfile puts the admin API.
const adminSocket = "/run/edge/admin.sock"

func statusCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "status",
		Usage: "[--address <admin>] [--json] [--watch]",
		Short: "Shows the services, their endpoints, and how they are",
		Long: `
Asks the admin API of a running edge. In the stack: docker compose exec edge edge status

  --address is the admin address, such as unix//run/edge/admin.sock or localhost:2019.
            Default: what EDGE_ADMIN names, else that socket if it is there, else localhost:2019.
  --json    prints what GET /edge/services answers.
  --watch   prints anew every second until Ctrl-C.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.Flags().Bool("json", false, "Print JSON")
			cmd.Flags().Bool("watch", false, "Print anew every second")
			cmd.RunE = runNoArgs(runStatus)
		},
	}
}

func runStatus(cmd *cobra.Command) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	address := adminAddress(flags.String("address"))
	show := func() error {
		body, err := getAdmin(address, "/edge/services")
		if err != nil {
			return withHint(err, "is the edge running? its admin address can be given with --address")
		}
		if flags.Bool("json") {
			_, err = cmd.OutOrStdout().Write(body)
			return err
		}
		var services []registry.ServiceStatus
		if err := json.Unmarshal(body, &services); err != nil {
			return fmt.Errorf("read the answer of %s: %w", address, err)
		}
		if err := printServices(cmd.OutOrStdout(), services, time.Now()); err != nil {
			return err
		}
		return printCertWarning(cmd.OutOrStdout(), address)
	}
	if !flags.Bool("watch") {
		return show()
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
	defer stop()
	return watchStatus(ctx, cmd.OutOrStdout(), show)
}

func watchStatus(ctx context.Context, w io.Writer, show func() error) error {
	for {
		fmt.Fprint(w, "\x1b[H\x1b[2J") // to the top, and clear
		if err := show(); err != nil {
			printError(w, err) // an edge that restarts comes back
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func adminAddress(given string) string {
	if given != "" {
		return given
	}
	if env := os.Getenv("EDGE_ADMIN"); env != "" {
		return env
	}
	if _, err := os.Stat(adminSocket); err == nil {
		return "unix/" + adminSocket
	}
	return "localhost:2019"
}

func getAdmin(address, path string) ([]byte, error) {
	resp, err := caddycmd.AdminAPIRequest(address, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// printServices prints a table: a line per service, and one per endpoint below it.
func printServices(w io.Writer, services []registry.ServiceStatus, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tENDPOINT\tSTATE\tSINCE\tSOURCE\tIN FLIGHT\tSOCKETS\tREASON")
	for _, s := range services {
		state := fmt.Sprintf("%d ready", s.Ready)
		reason := s.Problem
		if reason == "" && len(s.Endpoints) == 0 {
			switch {
			case s.Known:
				reason = "its containers are stopped"
			case s.Source != "":
				reason = "no container is known"
			default:
				reason = "not looked for yet"
			}
		}
		if s.Held > 0 {
			state += fmt.Sprintf(", %d held", s.Held)
		}
		if s.Maintenance != "" {
			state += ", in maintenance"
		}
		fmt.Fprintf(t, "%s\t\t%s\t%s\t%s\t%d\t%d\t%s\n", s.Service, state, age(now, s.Since), s.Source, s.InFlight, s.Sockets, reason)
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

// age returns how long ago something was, in its two largest units at the most.
func age(now, then time.Time) string {
	d := now.Sub(then)
	switch {
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}
