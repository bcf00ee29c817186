package cmd

import (
	"cmp"
	"context"
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
		Short: "Tells a running edge to send no new requests to containers",
		Long: `
Name containers by their ID, or the first 12 or more characters of it, as docker ps
prints it, or as edge status does: shop/web/1 is the first container of the service web in
the project shop. Where the edge knows only addresses, name these. If the edge does not know
one of them, it changes nothing. Requests that are in flight are finished, and WebSockets
are closed, so that clients connect again elsewhere. A drain lasts until it is undone, or
the container exits. Other edges that run and share the storage do the same within 2
seconds, unless only DNS knows the container; their requests are not shown.

In the stack: docker compose exec edge edge drain 3f2a8c1d9e07

  --undo     sends requests to the containers again.
  --sessions is how long the containers still get requests of sticky sessions.
  --wait     waits until the containers have no requests and no WebSockets, and for the 2
             seconds that other edges may need. If that takes
             longer, the exit status is 1, and the error says what is left.
  --address  is the admin address, as for edge status.
  --json     prints the answer of POST /edge/drain.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.Flags().Bool("undo", false, "Send requests to the containers again")
			cmd.Flags().Duration("sessions", 10*time.Second, "How long the containers still get requests of sticky sessions")
			cmd.Flags().Duration("wait", 0, "How long to wait until the containers are idle")
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
		return withHint(errors.New("drain wants the IDs or names of containers"), "docker compose ps --quiet SERVICE, or edge status")
	case sessions < 0 || wait < 0:
		return errors.New("a duration can't be negative")
	case undo && cmd.Flags().Changed("wait"):
		return withHint(errors.New("there is nothing to wait for when a drain is undone"), "leave --wait out")
	}
	admin := newAdminClient(flags.String("address"))
	var answer struct {
		Endpoints    []registry.DrainStatus
		SharedWithin string `json:"shared_within"`
		NotShared    string `json:"not_shared"`
	}
	body, err := requestDrain(admin, ids, sessions, undo, &answer)
	if err != nil {
		return err
	}
	var sharedWithin time.Duration
	if answer.SharedWithin != "" {
		if sharedWithin, err = time.ParseDuration(answer.SharedWithin); err != nil {
			return fmt.Errorf("read the answer of the edge: %w", err)
		}
	}
	if flags.Bool("json") {
		_, err = cmd.OutOrStdout().Write(body)
	} else {
		err = printDrainStatus(cmd.OutOrStdout(), answer.Endpoints)
	}
	if answer.NotShared != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "edge: warning: other edges that share the storage were not notified; repeat the command when it responds: %s\n", answer.NotShared)
	}
	if err != nil || wait == 0 {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return waitIdle(ctx, answer.Endpoints, sharedWithin, max(wait, sharedWithin), func() (services []registry.ServiceStatus, err error) {
		_, err = admin.get("/edge/services", &services)
		return services, err
	})
}

// requestDrain asks the edge to drain endpoints, or to undo that, and returns its answer.
func requestDrain(admin adminClient, ids []string, sessions time.Duration, undo bool, to any) ([]byte, error) {
	request, err := json.Marshal(map[string]any{"endpoints": ids, "sessions": sessions.String(), "undo": undo})
	if err != nil {
		return nil, err
	}
	return admin.post("/edge/drain", request, to, map[int]string{
		http.StatusNotFound: "name a container, such as shop/web/1: edge status shows the names, and with --json the IDs",
	})
}

func printDrainStatus(w io.Writer, all []registry.DrainStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tENDPOINT\tSTATE\tIN FLIGHT\tSOCKETS")
	for _, e := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\n", e.Service, cmp.Or(e.Name, e.ID), e.State, e.InFlight, e.Sockets)
	}
	return t.Flush()
}

// waitIdle polls the services until the endpoints have no requests and no sockets, and for sharedWithin at least: until then, other edges still send
// requests. If it takes longer than timeout, or ctx ends, its error names what is left.
func waitIdle(ctx context.Context, drained []registry.DrainStatus, sharedWithin, timeout time.Duration, poll func() ([]registry.ServiceStatus, error)) error {
	watched := make(map[string]bool, len(drained))
	for _, e := range drained {
		watched[e.Service+" "+e.ID] = true
	}
	start, deadline := time.Now(), time.After(timeout)
	for {
		services, err := poll()
		if err != nil {
			return err
		}
		var left []string
		for _, s := range services {
			for _, e := range s.Endpoints {
				if watched[s.Service+" "+e.ID] && e.InFlight+e.Sockets > 0 {
					left = append(left, fmt.Sprintf("%s on %s (in flight: %d, sockets: %d)", s.Service, e.ID, e.InFlight, e.Sockets))
				}
			}
		}
		if len(left) == 0 && time.Since(start) >= sharedWithin {
			return nil
		}
		if len(left) == 0 {
			left = []string{fmt.Sprintf("requests of other edges, which drain within %s", sharedWithin)}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-deadline:
			return withHint(fmt.Errorf("still under way after %s: %s", timeout, strings.Join(left, "; ")), "the drain goes on; give --wait more time")
		case <-ctx.Done():
			return fmt.Errorf("interrupted; still under way: %s", strings.Join(left, "; "))
		}
	}
}
