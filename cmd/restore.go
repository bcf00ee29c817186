package cmd

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/backup"
	"github.com/theworklabs/edge/internal/compose"
)

func restoreCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "restore",
		Usage: "<set>|latest [<application>...] [--logical] [--queues]",
		Short: "Replaces the data of applications by that of a backup",
		Long: `
Stops the applications, stages the data of the set beside the present one, puts it in its
place, and starts the databases. If the data is what the backup's manifest says, and the
applications become healthy with it, the old data is removed; otherwise everything is put
back as it was. Meanwhile the edge shows the maintenance page.

Without applications, all of the set are restored, but for the edge's own files. A restore
that was interrupted is undone or continued by the next one.

  --logical  loads the dumps of databases instead of their physical copies: slower, and for
             every version of the server and every machine.
  --queues   restores Redis, too. Without it, queues start empty, because old jobs would be
             done again, such as sending mail.
  --timeout  is how long databases and applications may take to become healthy.

Exit status: as for edge backup.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addProjectFlags(cmd)
			cmd.Flags().Bool("logical", false, "Load the dumps of databases")
			cmd.Flags().Bool("queues", false, "Restore Redis, too")
			cmd.Flags().Duration("timeout", 5*time.Minute, "How long services may take to become healthy")
			cmd.RunE = withStatus(runWithArgs(runRestore))
		},
	}
}

func runRestore(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return withHint(errors.New("restore wants a set, or latest"), "edge backup list")
	}
	project, err := projectFromFlags(cmd)
	if err != nil {
		return err
	}
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	r := &backup.Restore{
		Docker: compose.CLI{}, Project: project, Set: args[0], Apps: args[1:], Edge: flags.String("edge"),
		Logical: flags.Bool("logical"), Queues: flags.Bool("queues"), StartTimeout: flags.Duration("timeout"),
		Out: cmd.OutOrStdout(), IsTerminal: isTerminal(os.Stdout),
	}
	return r.Run(ctx)
}
