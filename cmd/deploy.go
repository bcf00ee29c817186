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
	"os/user"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/deploy"
	"github.com/theworklabs/edge/internal/rollout"
)

func deployCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "deploy",
		Usage: "<service> <image>... | --undo <service> | --unpin <service>... | --list [--undo-on-errors 5m] [--pull never] [--timeout 2m]",
		Short: "Deploys images to Compose services, and goes back to the last good ones",
		Long: `
Pulls the image, writes it, with its digest, into compose.deploy.yaml, and rolls the service
out as edge rollout does. COMPOSE_FILE in .env then names that file, so that docker compose
up keeps the image. If the new version does not become ready, the service keeps the image
that it had. Run it on the host, where you run docker compose; --file, --project-name,
--project-directory, --env-file and --profile mean the same as there.

  edge deploy web registry.example.com/shop/web:1.3
  edge deploy migration shop/api:7 api shop/api:7     services that belong together
  edge deploy --undo web     the image before the last deployment, and those of the services
                             that were deployed with it; again: the one before that
  edge deploy --unpin web    the image of the compose file counts again, from the next start on
  edge deploy --list         the last deployments

  --undo-on-errors  is how long to watch the errors of the new version. If a route to the
                    service has at least 10, twice the error rate of the version before, and
                    1 % more, the deployment is undone; not if a migration has run with it.
  --pull never      uses the image that this machine has.

Exit status: 0 the new version serves; 1 failed, and what ran before runs; 3 undone, because
it has more errors; 4 it has more errors or does not become ready, and was not undone,
because a migration has run, there is no other version, or that failed.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addDeployFlags(cmd)
			cmd.Flags().Bool("undo", false, "Roll back to the image before the last deployment")
			cmd.Flags().Bool("unpin", false, "Let the image of the compose file count again")
			cmd.Flags().Bool("list", false, "Print the last deployments")
			cmd.Flags().Bool("json", false, "Print them as JSON")
			cmd.Flags().Bool("wait", true, "Wait until the new version is ready: it always does, and --timeout says how long")
			cmd.MarkFlagsMutuallyExclusive("undo", "unpin", "list")
			cmd.RunE = withExitStatus(runWithArgs(runDeploy), deployExitStatus)

			// For edge deploy, which runs it in the edge's container.
			cmd.Flags().String("notify-edge", "", "Notify the edge of a deployment")
			cmd.Flags().String("address", "", "The admin API's address")
			for _, name := range []string{"notify-edge", "address"} {
				_ = cmd.Flags().MarkHidden(name) // it exists
			}
		},
	}
}

// addDeployFlags adds the flags that deploy and deploy-agent have in common.
func addDeployFlags(cmd *cobra.Command) {
	addProjectFlags(cmd)
	f := cmd.Flags()
	f.Duration("undo-on-errors", 0, "How long to watch the errors of the new version")
	f.String("pull", "", "When to pull the image: never, or always if a registry has it")
	f.Duration("timeout", 2*time.Minute, "How long new containers may take to become ready")
	f.Duration("drain-timeout", 0, "How long requests on old containers may take (default 1m; 15s if the edge holds requests meanwhile)")
	f.Duration("sessions", 10*time.Second, "How long old containers still get requests of sticky sessions")
}

func runDeploy(cmd *cobra.Command, args []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	if event := flags.String("notify-edge"); event != "" {
		_, err := newAdminClient(flags.String("address")).post("/edge/deployments", []byte(event), nil, nil)
		return err
	}
	if !flags.Bool("wait") {
		return withHint(errors.New("a deployment always waits until the new version is ready, since it could not be undone otherwise"), "--timeout says how long")
	}
	isUndo := flags.Bool("undo")
	return withDeploySignals(cmd, func(ctx context.Context, d *deploy.Deploy) error {
		d.By = currentUser()
		switch {
		case flags.Bool("list"):
			return listDeployments(ctx, cmd.OutOrStdout(), d, args, flags.Bool("json"))
		case flags.Bool("unpin") && len(args) > 0:
			return d.Unpin(ctx, args)
		case isUndo && len(args) == 1:
			return d.Undo(ctx, args[0])
		case isUndo || flags.Bool("unpin") || len(args) == 0 || len(args)%2 != 0:
			return withHint(errors.New("deploy wants a service and an image"), "edge deploy web registry.example.com/shop/web:1.3; to roll back: edge deploy --undo web")
		}
		for pair := range slices.Chunk(args, 2) {
			d.Images = append(d.Images, deploy.ServiceImage{Service: pair[0], Image: pair[1]})
		}
		return d.Run(ctx)
	})
}

// withDeploySignals calls a function with the deployment that the flags ask for, and with a context that ends at the first signal to stop; the second one no longer waits for requests. A
// closed terminal, or a pipe without a reader, must not end a rollout half-way.
func withDeploySignals(cmd *cobra.Command, run func(context.Context, *deploy.Deploy) error) error {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	ctx, forceStop, stop := notifyInterrupts(cmd.Context())
	defer stop()
	d, err := newDeploy(cmd, forceStop)
	if err != nil {
		return err
	}
	return run(ctx, d)
}

// newDeploy returns the deployment that the flags ask for, without its images.
func newDeploy(cmd *cobra.Command, forceStop <-chan struct{}) (*deploy.Deploy, error) {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	project, err := projectFromFlags(cmd)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"undo-on-errors", "timeout", "drain-timeout", "sessions"} {
		if flags.Duration(name) < 0 {
			return nil, fmt.Errorf("--%s: a duration can't be negative", name)
		}
	}
	pull := flags.String("pull")
	if pull != "" && pull != "never" && pull != "always" {
		return nil, fmt.Errorf("--pull %s: want always or never", pull)
	}
	return &deploy.Deploy{
		Docker: compose.CLI{}, Project: project, Pull: pull, WatchTime: flags.Duration("undo-on-errors"), Out: cmd.OutOrStdout(),
		NewRollout: func(p compose.Project, o deploy.RolloutOptions) deploy.Rollout {
			return &rollout.Rollout{
				Docker: compose.CLI{}, Project: p, Edge: flags.String("edge"),
				Services: o.Services, Force: o.Force, SkipOneShots: o.SkipOneShots, IsLocked: o.IsLocked, CheckUpToDate: true,
				ReadyTimeout: flags.Duration("timeout"), DrainTimeout: flags.Duration("drain-timeout"), SessionGrace: flags.Duration("sessions"),
				Pull: "missing", // the images are there, and a registry does not know those that were built here
				Out:  cmd.OutOrStdout(), IsTerminal: isTerminal(os.Stdout), ForceStop: forceStop,
			}
		},
	}, nil
}

// currentUser returns who runs the command; with sudo, who that was before.
func currentUser() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// listDeployments prints the deployments of all services, or of those that are named, the newest last.
func listDeployments(ctx context.Context, w io.Writer, d *deploy.Deploy, services []string, asJSON bool) error {
	all, err := d.Deployments(ctx)
	if err != nil {
		return err
	}
	if len(services) > 0 {
		maps.DeleteFunc(all, func(name string, _ []deploy.Deployment) bool { return !slices.Contains(services, name) })
	}
	if asJSON {
		return json.NewEncoder(w).Encode(all)
	}
	return printDeployments(w, all)
}

func printDeployments(w io.Writer, all map[string][]deploy.Deployment) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tTIME\tRESULT\tIMAGE\tBY\tERROR")
	for _, service := range slices.Sorted(maps.Keys(all)) {
		for _, d := range all[service] {
			image := d.Pinned
			if image == "" {
				image = "that of the compose file"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", service, d.Time.Local().Format(time.DateTime), d.Result, image, d.By, d.Error)
		}
	}
	return t.Flush()
}

// deployExitStatus returns the exit status of an error of edge deploy, as its help has it.
func deployExitStatus(err error) int {
	switch {
	case errors.Is(err, deploy.ErrUndone):
		return 3
	case errors.Is(err, deploy.ErrNotUndone):
		return 4
	}
	return 1
}
