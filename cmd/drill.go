package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/backup"
	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/lowpriority"
)

func drillCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "drill",
		Usage: "[<set>|latest|random] [--logical | --in-turn] [--keep] [--wait 12h] [--json]",
		Short: "Restores a backup into a scratch project, and checks it",
		Long: `
Creates a project NAME-drill with the same images, without ports, and with networks from
which nothing gets out. Restores the set there, starts the databases and the applications,
and compares the data with the backup's manifest. Then it removes the project, and prints
how long the restore took. It changes nothing of the project itself.

  --logical  loads the dumps of databases instead of their physical copies.
  --in-turn  both in turn: the dumps in even weeks of the calendar, else physical copies.
  --keep     leaves the scratch project.

Exit status: as for edge backup.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addProjectFlags(cmd)
			cmd.Flags().Bool("logical", false, "Load the dumps of databases")
			cmd.Flags().Bool("in-turn", false, "Load the dumps in even weeks of the calendar")
			cmd.MarkFlagsMutuallyExclusive("logical", "in-turn")
			cmd.Flags().Bool("keep", false, "Leave the scratch project")
			cmd.Flags().Bool("json", false, "Print JSON")
			addWaitFlag(cmd)
			cmd.Flags().Duration("timeout", 5*time.Minute, "How long services may take to become healthy")
			cmd.RunE = withStatus(runWithArgs(runDrill))
		},
	}
}

func runDrill(cmd *cobra.Command, args []string) error {
	set := "latest"
	switch len(args) {
	case 0:
	case 1:
		set = args[0]
	default:
		return fmt.Errorf("drill takes one set, got %q", args)
	}
	project, err := projectFromFlags(cmd)
	if err != nil {
		return err
	}
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	lowpriority.ApplyToSelf()
	d := &backup.Drill{
		Docker: compose.CLI{IsLowPriority: true}, Project: project, Set: set, Edge: flags.String("edge"),
		Logical: flags.Bool("logical") || flags.Bool("in-turn") && backup.IsLogicalWeek(time.Now()), Keep: flags.Bool("keep"), StartTimeout: flags.Duration("timeout"), Wait: flags.Duration("wait"),
		Out: cmd.OutOrStdout(), IsTerminal: isTerminal(os.Stdout),
	}
	asJSON := flags.Bool("json")
	if asJSON {
		d.Out, d.IsTerminal = cmd.ErrOrStderr(), false
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	result, err := d.Run(ctx)
	if asJSON && result != nil {
		err = errors.Join(err, json.NewEncoder(cmd.OutOrStdout()).Encode(result))
	}
	return err
}
