package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/registry"
)

func drainCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "drain",
		Usage: "<container>... [--undo] [--sessions 10s] [--wait <duration>] [--address <admin>] [--json]",
		Short: "Has a running edge send nothing more to containers",
		Long: `
Containers are named by their ID, or the first 12 or more characters of it, as docker ps
prints it; where the edge knows only addresses, by these. If one of them is not known,
nothing is done. What is under way is finished; WebSockets are asked to connect again
elsewhere. It lasts until it is undone, or the container is gone.

In the stack: docker compose exec edge edge drain 3f2a8c1d9e07

  --undo     sends requests there again.
  --sessions is for how long requests of sticky sessions may still come.
  --wait     waits until nothing is under way there; exit status 1, and what is left,
             if it takes longer.
  --address  is the admin address, as for edge status.
  --json     prints what POST /edge/drain answers.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.Flags().Bool("undo", false, "Send requests there again")
			cmd.Flags().Duration("sessions", 10*time.Second, "For how long requests of sticky sessions may still come")
			cmd.Flags().Duration("wait", 0, "How long to wait until nothing is under way")
			cmd.Flags().Bool("json", false, "Print JSON")
			cmd.RunE = runWithArgs(runDrain)
		},
	}
}

func runDrain(cmd *cobra.Command, ids []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	undo, sessions, wait := flags.Bool("undo"), flags.Duration("sessions"), flags.Duration("wait")
	switch {
	case len(ids) == 0:
		return withHint(errors.New("drain wants the IDs of containers"), "docker compose ps --quiet SERVICE, or edge status --json")
	case sessions < 0 || wait < 0:
		return errors.New("a duration can't be negative")
	case undo && cmd.Flags().Changed("wait"):
		return withHint(errors.New("there is nothing to wait for when a drain is undone"), "leave --wait out")
	}
	address := adminAddress(flags.String("address"))
	body, err := requestDrain(address, ids, sessions, undo)
	if err != nil {
		return err
	}
	var answer struct{ Endpoints []registry.DrainStatus }
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("read the answer of %s: %w", address, err)
	}
	if flags.Bool("json") {
		_, err = cmd.OutOrStdout().Write(body)
	} else {
		err = printDrainStatus(cmd.OutOrStdout(), answer.Endpoints)
	}
	if err != nil || wait == 0 {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return waitIdle(ctx, answer.Endpoints, wait, func() ([]byte, error) { return getAdmin(address, "/edge/services") })
}

// requestDrain has the edge drain endpoints, or undo it, and returns its answer.
func requestDrain(address string, ids []string, sessions time.Duration, undo bool) ([]byte, error) {
	order, err := json.Marshal(map[string]any{"endpoints": ids, "sessions": sessions.String(), "undo": undo})
	if err != nil {
		return nil, err
	}
	resp, err := caddycmd.AdminAPIRequest(address, http.MethodPost, "/edge/drain", nil, bytes.NewReader(order))
	switch {
	case err == nil:
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	case strings.Contains(err.Error(), "HTTP 404"):
		return nil, withHint(adminError(err), "edge status --json shows the IDs that it knows")
	case strings.Contains(err.Error(), "HTTP "):
		return nil, adminError(err)
	default:
		return nil, withHint(err, "is the edge running? its admin address can be given with --address")
	}
}

// adminError returns what the admin API said, without the JSON around it.
func adminError(err error) error {
	var answer struct{ Error string }
	_, text, _ := strings.Cut(err.Error(), "{")
	if json.Unmarshal([]byte("{"+text), &answer) != nil || answer.Error == "" {
		return err
	}
	return errors.New(answer.Error)
}

func printDrainStatus(w io.Writer, all []registry.DrainStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tENDPOINT\tSTATE\tIN FLIGHT\tSOCKETS")
	for _, e := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\n", e.Service, e.ID, e.State, e.InFlight, e.Sockets)
	}
	return t.Flush()
}
