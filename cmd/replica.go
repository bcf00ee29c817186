package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/replication"
)

// defaultReplicationFile is where the watcher keeps what it knows, in its container.
const defaultReplicationFile = "/data/state.json"

func replicaCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "replica",
		Usage: "status|promote|rejoin|forget|watch [--primary-is-off] [--may-lose <duration>] [--abort] [--overwrite] [--json]",
		Short: "Databases on two machines: a primary and its replica",
		Long: `
Run it on the machine of the applications, in the directory of their project, which uses
compose.replicated.yaml: docs/replication.md.

  status     shows the primary, whether its commits wait for the replica, and how far behind
             the replica is. Exits with 1 if something needs attention.
  promote    makes the replica the primary. It shows the maintenance page, ends the
             applications' way to the old primary, compares what both have, stops the old
             primary, and has the applications use the new one.
  rejoin     makes the databases on DATABASES_REPLICA a copy of the primary's, which follows
             it: the first time, and after a promotion. What is there is replaced, and the
             queues in its Redis are removed.
  forget     stops the replica and the service replication, which forgets what the replica has:
             before a backup is restored on the primary, which the replica cannot follow.
  watch      watches both machines. The service replication runs it.

promote and rejoin may be interrupted, and called again. They use the Docker Engines of the
databases' machines: ssh://root@HOST, or what DATABASES_DOCKER and
DATABASES_REPLICA_DOCKER say.

  --primary-is-off  promotes although the primary's machine cannot be reached to stop it:
                    you have seen to it that it is off, and stays so.
  --may-lose        promotes a replica that lacks what was committed in this time before the
                    primary's end, because the primary was alone.
  --abort           ends a promotion that was interrupted before it has promoted anything, or
                    whose new primary has failed: the old one is started, and the
                    applications reach it again.
  --overwrite       has rejoin replace data that is newer than the primary's.
  --timeout         is how long a step may take.
  --json            prints the status as JSON.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addProjectFlags(cmd)
			cmd.Flags().Bool("primary-is-off", false, "The primary's machine is off, and stays so")
			cmd.Flags().Duration("may-lose", 0, "How much may be lost")
			cmd.Flags().Bool("abort", false, "End a promotion, and use the old primary again")
			cmd.Flags().Bool("overwrite", false, "Replace also data that is newer than the primary's")
			cmd.Flags().Duration("timeout", 5*time.Minute, "How long a step may take")
			cmd.Flags().String("state", defaultReplicationFile, "The file of the watcher")
			cmd.Flags().Bool("json", false, "Print JSON")
			cmd.RunE = runWithArgs(runReplica)
		},
	}
}

func runReplica(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return withHint(errors.New("replica wants one of status, promote, rejoin, forget and watch"), "edge replica status")
	}
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	for name, operation := range map[string]string{"primary-is-off": "promote", "may-lose": "promote", "abort": "promote", "overwrite": "rejoin", "json": "status"} {
		if cmd.Flags().Changed(name) && args[0] != operation {
			return fmt.Errorf("--%s has a meaning only for edge replica %s", name, operation)
		}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	switch args[0] {
	case "watch":
		return watchReplica(ctx, flags.String("state"))
	case "health": // of the watcher's container
		return checkReplicationState(flags.String("state"))
	case "state": // not for users: the other operations run it in the watcher's container
		return printReplicationState(cmd.OutOrStdout(), flags.String("state"))
	case "forget-state": // the same
		return replication.ForgetState(flags.String("state"))
	}
	project, err := projectFromFlags(cmd)
	if err != nil {
		return err
	}
	stack := replication.Stack{
		Project: project, Edge: flags.String("edge"), Out: cmd.OutOrStdout(),
		Docker: func(host string) compose.StreamingDocker { return compose.CLI{Host: host} },
	}
	timeout := flags.Duration("timeout")
	switch args[0] {
	case "status":
		return showReplica(ctx, cmd.OutOrStdout(), &stack, flags.Bool("json"))
	case "promote":
		return (&replication.Promotion{Stack: stack, PrimaryIsOff: flags.Bool("primary-is-off"), MayLose: flags.Duration("may-lose"), Abort: flags.Bool("abort"), Timeout: timeout}).Run(ctx)
	case "rejoin":
		return (&replication.Rejoin{Stack: stack, Overwrite: flags.Bool("overwrite"), Timeout: timeout}).Run(ctx)
	case "forget":
		return stack.Forget(ctx)
	}
	return withHint(fmt.Errorf("replica has no operation %q", args[0]), "edge replica --help")
}

func watchReplica(ctx context.Context, file string) error {
	config, err := replication.ConfigFromEnvironment()
	if err != nil {
		return err
	}
	logger, err := zap.NewProduction()
	if err != nil {
		return err
	}
	return (&replication.Watcher{Config: config, File: file, Log: logger}).Run(ctx)
}

func printReplicationState(w io.Writer, file string) error {
	state, err := replication.ReadState(file)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(state)
}

// checkReplicationState fails if the watcher does not write what it knows.
func checkReplicationState(file string) error {
	state, err := replication.ReadState(file)
	if err == nil && (state == nil || state.IsStale(time.Now())) {
		err = errors.New("the state is old")
	}
	return err
}

// errNeedsAttention says that a status has problems, which are printed.
var errNeedsAttention = errors.New("the replica needs attention")

func showReplica(ctx context.Context, w io.Writer, stack *replication.Stack, asJSON bool) error {
	state, err := stack.State(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(w).Encode(state)
	} else {
		err = printReplication(w, state, time.Now())
	}
	if err != nil {
		return err
	}
	if len(state.Problems(time.Now())) > 0 {
		return errNeedsAttention
	}
	return nil
}

// printReplication prints a line for each database, and what needs attention.
func printReplication(w io.Writer, state *replication.State, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "primary %s, replica %s; without the replica: %s\n", state.Primary, state.Replica, state.Policy)
	fmt.Fprintln(t, "DATABASE\tMODE\tFOR\tREPLICA\tLAG\tWAITING\tWAIT")
	for _, name := range slices.Sorted(maps.Keys(state.Databases)) {
		d := state.Databases[name]
		replica := "not connected"
		if d.IsConnected {
			replica = "connected"
		}
		wait := time.Duration(d.WaitSeconds * float64(time.Second)).Round(time.Millisecond)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.0fs\t%d\t%s\n", name, d.Mode, age(now, d.Since), replica, d.LagSeconds, d.Waiting, wait)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return printReplicationProblems(w, state, now)
}

// printReplicaStatus prints a line about the replica of the databases. It prints nothing if there is none, or it cannot be read: the user asked for
// something else.
func printReplicaStatus(w io.Writer, admin adminClient, now time.Time) error {
	state := new(replication.State)
	if _, err := admin.get("/edge/replication", &state); err != nil || state == nil || state.Time.IsZero() {
		return nil
	}
	var modes []string
	for _, name := range slices.Sorted(maps.Keys(state.Databases)) {
		modes = append(modes, fmt.Sprintf("%s %s", name, state.Databases[name].Mode))
	}
	if _, err := fmt.Fprintf(w, "\nreplica on %s: %s\n", state.Replica, strings.Join(modes, ", ")); err != nil {
		return err
	}
	return printReplicationProblems(w, state, now)
}

// printReplicationProblems prints what needs attention about the replica.
func printReplicationProblems(w io.Writer, state *replication.State, now time.Time) error {
	problems := state.Problems(now)
	for _, name := range slices.Sorted(maps.Keys(problems)) {
		prefix := "replica"
		if name != "" {
			prefix += " of " + name
		}
		if _, err := fmt.Fprintf(w, "\n%s: %s\n", prefix, problems[name]); err != nil {
			return err
		}
	}
	return nil
}
