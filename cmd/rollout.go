package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/rollout"
)

func rolloutCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "rollout",
		Usage: "<service>... | --all [--file compose.yaml] [--dry-run] [--force] [--pull <policy>] [--timeout 2m]",
		Short: "Deploys new containers of Compose services without losing a request",
		Long: `
For each service, one after the other: pulls the image, runs the services that it needs to
have completed, starts new containers while the old ones run, waits until the edge finds
the new ones ready, drains the old ones, and then stops and removes these. Run it on the
host, where you run docker compose; --file, --project-name, --project-directory,
--env-file and --profile mean the same as there.

If a new container does not become ready, or you press Ctrl-C, the old ones stay and the
new ones are removed; press it twice to abort the requests on the new ones. Once an old
container has been stopped, the rollout is completed.

A service of which two containers can't run at a time (it writes to a volume, has a
container_name, or publishes a port) is drained, stopped and started, while the edge holds
its requests. The label edge.rollout overrides that: "true" means that containers may
share its volumes, "false" that two never run at a time.

  --pull     is always, missing or never. Without it, the compose file decides. Images that
             exist only on this machine are not pulled.
  --dry-run  prints the steps of the rollout, and changes nothing.
`,
		CobraFunc: func(cmd *cobra.Command) {
			f := cmd.Flags()
			addProjectFlags(cmd)
			f.Bool("all", false, "Roll out every service that the edge has a route to")
			f.Bool("dry-run", false, "Print what the rollout would do, and change nothing")
			f.Bool("force", false, "Replace containers that are up to date too")
			f.Bool("build", false, "Build images first, if the compose file has their build")
			f.String("pull", "", "When to pull images: always, missing or never")
			f.Bool("no-pull", false, "The same as --pull never")
			f.Duration("timeout", 2*time.Minute, "How long new containers may take to become ready")
			f.Duration("drain-timeout", 0, "How long requests on old containers may take (default 1m; 15s if the edge holds requests meanwhile)")
			f.Duration("sessions", 10*time.Second, "How long old containers still get requests of sticky sessions")
			f.Duration("stop-timeout", 0, "How long a container may take to stop (default: its own setting)")
			cmd.RunE = runWithArgs(runRollout)
		},
	}
}

func runRollout(cmd *cobra.Command, services []string) error {
	r, err := newRollout(cmd, services)
	if err != nil {
		return err
	}
	// A closed terminal, or a pipe without a reader, must not end a rollout half-way.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	ctx, forceStop, stop := notifyInterrupts(cmd.Context())
	defer stop()
	r.ForceStop = forceStop

	if dryRun, _ := cmd.Flags().GetBool("dry-run"); dryRun {
		err = printPlan(ctx, r)
	} else {
		err = r.Run(ctx)
	}
	return err
}

// printPlan prints what a rollout would do.
func printPlan(ctx context.Context, r *rollout.Rollout) error {
	plan, err := r.Plan(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(r.Out, plan)
	return err
}

// newRollout returns the rollout that the flags ask for.
func newRollout(cmd *cobra.Command, services []string) (*rollout.Rollout, error) {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	all, pull := flags.Bool("all"), flags.String("pull")
	if flags.Bool("no-pull") {
		if pull != "" && pull != "never" {
			return nil, fmt.Errorf("--no-pull and --pull %s can't go together", pull)
		}
		pull = "never"
	}
	switch {
	case all == (len(services) > 0):
		return nil, withHint(errors.New("rollout wants the names of services, or --all"), "docker compose config --services lists them")
	case !slices.Contains([]string{"", "always", "missing", "never"}, pull):
		return nil, fmt.Errorf("--pull %s: want always, missing or never", pull)
	}
	project, err := projectFromFlags(cmd)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"timeout", "drain-timeout", "sessions", "stop-timeout"} {
		if flags.Duration(name) < 0 {
			return nil, fmt.Errorf("--%s: a duration can't be negative", name)
		}
	}
	return &rollout.Rollout{
		Docker: compose.CLI{}, Project: project,
		Edge: flags.String("edge"), Services: services,
		ReadyTimeout: flags.Duration("timeout"), DrainTimeout: flags.Duration("drain-timeout"), SessionGrace: flags.Duration("sessions"),
		StopTimeout: flags.Duration("stop-timeout"), Pull: pull, Build: flags.Bool("build"), Force: flags.Bool("force"),
		Out: cmd.OutOrStdout(), IsTerminal: isTerminal(os.Stdout),
	}, nil
}

// notifyInterrupts returns a context that ends at the first signal to stop, and a channel that is closed at the second signal. The
// caller must call the function.
func notifyInterrupts(ctx context.Context) (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	second, done := make(chan struct{}), make(chan struct{})
	go func() {
		for _, act := range []func(){cancel, func() { close(second) }} {
			select {
			case <-signals:
				act()
			case <-done:
				return
			}
		}
	}()
	return ctx, second, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
