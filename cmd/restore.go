package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/theworklabs/edge/internal/backup"
	"github.com/theworklabs/edge/internal/compose"
)

func restoreCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "restore",
		Usage: "<set>|latest [<application>...] [--from <project>] [--at <time>] [--tenant <organization>] [--logical] [--queues] [--new-host]",
		Short: "Replaces the data of applications by that of a backup",
		Long: `
Stops the applications, stages the data of the set beside the present one, puts it in its
place, and starts the databases. If the data is what the backup's manifest says, and the
applications become healthy with it, the old data is removed; otherwise everything is put
back as it was. Meanwhile the edge shows the maintenance page.

Without applications, all of the set are restored, but for the edge's own files. A restore
that was interrupted is undone or continued by the next one.

  --from     restores sets of another project, such as the one from which the databases move
             to this machine. Data of services that this project does not have is left out.
  --at       rolls databases forward, from the latest set before a time to that time, such as
             "2026-11-26 14:02:59" or 14:02:59: they get what was committed before. Files and
             queues are those of the set. Needs edge backup logs.
  --tenant   restores the database of one organization of BigCapital, while the applications
             run; the others stay as they are.
  --new-host creates the project in this directory, on a machine that has nothing of it, from
             --repository and the recovery key. EDGE_BACKUP_PASSWORD has the key; on a terminal,
             you are asked for it.
  --logical  loads the dumps of databases instead of their physical copies: slower, and for
             every version of the server and every machine.
  --queues   restores Redis, too. Without it, queues start empty, because old jobs would be
             done again, such as sending mail.
  --timeout  is how long databases and applications may take to become healthy.

Exit status: as for edge backup.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addProjectFlags(cmd)
			cmd.Flags().String("from", "", "The project whose sets are restored, if it is another one")
			cmd.Flags().String("at", "", "The time to which databases are rolled forward, in this machine's time zone")
			cmd.Flags().String("tenant", "", "Restore the database of one organization of BigCapital only")
			cmd.Flags().Bool("new-host", false, "Create the project on a machine that has nothing of it")
			cmd.Flags().String("repository", "", "With --new-host: where the backups are")
			cmd.Flags().StringArray("env", nil, "With --new-host: a variable for the repository, as for edge backup init")
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
	var at time.Time
	if text := flags.String("at"); text != "" {
		if at, err = parseTime(text, time.Now()); err != nil {
			return err
		}
	}
	if !flags.Bool("new-host") && (cmd.Flags().Changed("repository") || cmd.Flags().Changed("env")) {
		return withHint(errors.New("--repository and --env are for --new-host"), "the repository of a project that is set up is in its backup.env")
	}
	if flags.Bool("new-host") {
		if flags.String("from") != "" {
			return withHint(errors.New("--new-host and --from exclude each other"), "name the project with --project-name")
		}
		if flags.String("tenant") != "" {
			return withHint(errors.New("--new-host and --tenant exclude each other"), "restore everything, and then the tenant: edge restore latest --tenant ORGANIZATION")
		}
		return restoreOnNewHost(ctx, cmd, project, args, at)
	}
	r := backup.Restore{
		Docker: compose.CLI{}, Project: project, Set: args[0], Apps: args[1:], From: flags.String("from"), Edge: flags.String("edge"),
		At: at, Logical: flags.Bool("logical"), Queues: flags.Bool("queues"), StartTimeout: flags.Duration("timeout"),
		Out: cmd.OutOrStdout(), IsTerminal: isTerminal(os.Stdout),
	}
	if tenant := flags.String("tenant"); tenant != "" {
		if r.From != "" {
			return withHint(errors.New("--tenant and --from exclude each other"), "restore all of the application with --from")
		}
		return (&backup.Tenant{Restore: r, Tenant: tenant}).Run(ctx)
	}
	return r.Run(ctx)
}

// restoreOnNewHost creates a project from its backups.
func restoreOnNewHost(ctx context.Context, cmd *cobra.Command, project compose.Project, args []string, at time.Time) error {
	if len(args) > 1 {
		return fmt.Errorf("--new-host restores all applications, got %q", args[1:])
	}
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	if flags.String("repository") == "" {
		return withHint(errors.New("--new-host wants --repository"), "--repository s3:https://HOST/BUCKET, sftp:USER@HOST:/PATH or /PATH")
	}
	env, err := variablesFromFlags(cmd)
	if err != nil {
		return err
	}
	password := os.Getenv("EDGE_BACKUP_PASSWORD")
	if password == "" {
		if password, err = askSecret(cmd, "Recovery key: "); err != nil {
			return err
		}
	}
	directory := project.Directory
	if directory == "" {
		if directory, err = os.Getwd(); err != nil {
			return err
		}
	}
	if directory, err = filepath.Abs(directory); err != nil {
		return err
	}
	n := &backup.NewHost{
		Docker: compose.CLI{}, Directory: directory, Project: project.Name, Set: args[0], Edge: flags.String("edge"),
		Settings: &backup.Settings{Repository: flags.String("repository"), Password: password, Env: env},
		At:       at, Logical: flags.Bool("logical"), Queues: flags.Bool("queues"), StartTimeout: flags.Duration("timeout"),
		Out: cmd.OutOrStdout(), IsTerminal: isTerminal(os.Stdout),
	}
	return n.Run(ctx)
}

// askSecret asks for a secret on the terminal, without showing it.
func askSecret(cmd *cobra.Command, question string) (string, error) {
	if !isTerminal(os.Stdin) {
		return "", withHint(errors.New("the recovery key is needed, and there is no terminal to ask for it"), "export EDGE_BACKUP_PASSWORD=…")
	}
	fmt.Fprint(cmd.ErrOrStderr(), question)
	text, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(cmd.ErrOrStderr())
	return strings.TrimSpace(string(text)), err
}

// parseTime reads a time of day, which means today's, or a date and a time in this machine's time zone, or RFC 3339.
func parseTime(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t.Truncate(time.Second), nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	return time.Time{}, withHint(fmt.Errorf("%q is not a time", text), `such as --at "%s", or --at %s for today`, now.Format(time.DateTime), now.Format("15:04"))
}
