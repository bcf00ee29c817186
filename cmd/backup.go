package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/backup"
	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/lowpriority"
	"github.com/theworklabs/edge/internal/recovery"
	"github.com/theworklabs/edge/internal/restic"
	"github.com/theworklabs/edge/internal/timers"
)

func backupCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "backup",
		Usage: "[<application>...] [--accept-shrunk] [--wait 50m] [--json] | init --repository <location> | list [--json] | logs",
		Short: "Stores the data of a Compose stack's applications, each as one set",
		Long: `
Stores, for each application, its databases, its files and its queues as one set in a restic
repository. Labels in the compose file say which service has which data; see
docs/backup.md. Run it on the host, where you run docker compose; --file, --project-name,
--project-directory, --env-file and --profile mean the same as there.

  edge backup init --repository s3:https://HOST/BUCKET
                       creates the repository and backup.env, and prints the recovery key
  edge backup          stores a set of each application
  edge backup --accept-shrunk
                       takes it as right that a set has much less data than those before
  edge backup --max-rate unlimited
                       reads as fast as it can, while nobody uses the applications
  edge backup list     lists the sets that can be restored
  edge backup logs     stores what databases have written to their logs since then, so that
                       a set can be restored to any time after it. Run it each minute.

Exit status: 0 done; 1 failed; 3 the repository cannot be reached or opened; 4 stored, but
with much less data than the set before; 5 another backup is under way.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addProjectFlags(cmd)
			cmd.Flags().Bool("json", false, "Print JSON")
			cmd.Flags().Bool("accept-shrunk", false, "Take it as right that a set has much less data than those before")
			cmd.Flags().String("max-rate", "", "How much is read a second, such as 50MB, or unlimited; default: as x-edge-backup says")
			addWaitFlag(cmd)
			cmd.RunE = withStatus(runWithArgs(runBackup))

			initialize := &cobra.Command{
				Use:   "init --repository <location> [--copy-to <location>] [--env NAME]... [--timer] [--notify <url>]",
				Short: "Creates the repository of the backups, and backup.env with its password",
			}
			addProjectFlags(initialize)
			initialize.Flags().String("repository", "", "Where to store backups: /PATH, sftp:USER@HOST:/PATH, s3:https://HOST/BUCKET, …")
			initialize.Flags().String("copy-to", "", "A second repository, to which each set is copied; without --repository, for one that is set up")
			initialize.Flags().StringArray("env", nil, "A variable for the repository: its name, whose value is in the environment, or NAME=VALUE")
			initialize.Flags().Bool("timer", false, "Run backups, logs and drills regularly, by systemd; without --repository, for one that is set up")
			initialize.Flags().String("notify", "", "Where failures are reported to: https://… (a webhook, which gets JSON) or mailto:…")
			initialize.RunE = withStatus(runNoArgs(runBackupInit))

			list := &cobra.Command{Use: "list [--json]", Short: "Lists the sets that can be restored"}
			addProjectFlags(list)
			list.Flags().Bool("json", false, "Print JSON")
			list.RunE = withStatus(runNoArgs(runBackupList))

			// For edge backup and edge drill, which run it in the edge's container.
			report := &cobra.Command{Use: "report", Short: "Tells the edge of a backup, from standard input", Hidden: true}
			report.Flags().String("address", "", "The admin API's address")
			report.RunE = runNoArgs(runBackupReport)
			logs := &cobra.Command{Use: "logs [--json]", Short: "Stores what databases have written to their logs"}
			addProjectFlags(logs)
			logs.Flags().Bool("json", false, "Print JSON")
			logs.RunE = withStatus(runNoArgs(runBackupLogs))
			cmd.AddCommand(initialize, list, logs, report)
		},
	}
}

// addWaitFlag adds the flag with which timers do not lose a run because another one is slow.
func addWaitFlag(cmd *cobra.Command) {
	cmd.Flags().Duration("wait", 0, "How long to wait for the end of another backup, restore or drill")
}

func verifyCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "verify",
		Usage: "[--data 5%]",
		Short: "Checks the repository of the backups",
		Long: `
Checks that the repository is sound, and reads a part of its data. It does not restore
anything. Exit status: as for edge backup.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addProjectFlags(cmd)
			cmd.Flags().String("data", "5%", "How much of the data to read: a random percentage, or N/M for a fixed part")
			cmd.RunE = withStatus(runNoArgs(func(cmd *cobra.Command) error {
				b, err := newBackup(cmd, nil)
				if err != nil {
					return err
				}
				data, _ := cmd.Flags().GetString("data")
				return b.Verify(cmd.Context(), data)
			}))
		},
	}
}

// newBackup returns the backup that the flags ask for.
func newBackup(cmd *cobra.Command, apps []string) (*backup.Backup, error) {
	project, err := projectFromFlags(cmd)
	if err != nil {
		return nil, err
	}
	edge, _ := cmd.Flags().GetString("edge")
	lowpriority.ApplyToSelf()
	return &backup.Backup{
		Docker: compose.CLI{IsLowPriority: true}, Project: project, Apps: apps, Edge: edge, Out: cmd.OutOrStdout(), IsTerminal: isTerminal(os.Stdout),
	}, nil
}

func runBackup(cmd *cobra.Command, apps []string) error {
	b, err := newBackup(cmd, apps)
	if err != nil {
		return err
	}
	b.AcceptShrunk, _ = cmd.Flags().GetBool("accept-shrunk")
	b.Wait, _ = cmd.Flags().GetDuration("wait")
	if text, _ := cmd.Flags().GetString("max-rate"); text != "" {
		n, err := backup.ParseRate("--max-rate", text)
		if err != nil {
			return err
		}
		b.MaxRate = &n
	}
	asJSON, _ := cmd.Flags().GetBool("json")
	if asJSON {
		b.Out, b.IsTerminal = cmd.ErrOrStderr(), false
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	result, err := b.Run(ctx)
	if asJSON && result != nil {
		err = errors.Join(err, json.NewEncoder(cmd.OutOrStdout()).Encode(result))
	}
	return err
}

func runBackupInit(cmd *cobra.Command) error {
	project, err := projectFromFlags(cmd)
	if err != nil {
		return err
	}
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	env, err := variablesFromFlags(cmd)
	if err != nil {
		return err
	}
	i := &backup.Init{
		Docker: compose.CLI{IsLowPriority: true}, Project: project, Edge: flags.String("edge"),
		Repository: flags.String("repository"), CopyTo: flags.String("copy-to"), Env: env, Notify: flags.String("notify"), Timer: flags.Bool("timer"),
	}
	created, err := i.Run(cmd.Context())
	if created != nil { // also with an error: the recovery key is shown nowhere else
		printCreated(cmd.OutOrStdout(), created)
	}
	return err
}

func printCreated(out io.Writer, created *backup.Created) {
	switch {
	case created.RecoveryKey == "":
	case created.IsSecond:
		fmt.Fprintf(out, `edge: created the second repository %s, for %s

It has the password of the first one, and a recovery key of its own:

    %s

%s
Next: edge backup
`, created.Repository, created.File, created.RecoveryKey, keepRecoveryKey)
	default:
		fmt.Fprintf(out, `edge: created the repository %s, and %s with its password

The recovery key opens the repository if this machine is lost:

    %s

%s
A backup stores:
%s
Next: edge backup
`, created.Repository, created.File, created.RecoveryKey, keepRecoveryKey, indent(created.Plan.String()))
	}
	printTimers(out, created.Timers, "a backup each hour, the logs each minute, and a drill each week")
}

const keepRecoveryKey = `It is stored nowhere, and is not shown again. Keep it where you keep other passwords, together with the
location of the repository, and with what the storage asks for: access keys, or an SSH key.
`

// variablesFromFlags returns the variables of --env, with their values. NAME alone keeps a secret out of the arguments, which other users can see.
func variablesFromFlags(cmd *cobra.Command) ([]string, error) {
	env, err := cmd.Flags().GetStringArray("env")
	if err != nil {
		return nil, err
	}
	for i, variable := range env {
		if name, _, hasValue := strings.Cut(variable, "="); !hasValue {
			value, isSet := os.LookupEnv(name)
			if !isSet {
				return nil, withHint(fmt.Errorf("--env %s: the variable is not set", name), "export %s, and with sudo: sudo --preserve-env=%s", name, name)
			}
			env[i] = name + "=" + value
		}
	}
	return env, nil
}

// printTimers prints the units that run something from now on, or the lines for a file in /etc/cron.d.
func printTimers(w io.Writer, installed *timers.Timers, what string) {
	switch {
	case installed == nil:
	case len(installed.Units) > 0:
		fmt.Fprintf(w, "\nsystemd runs %s:\n%s\n", what, indent(strings.Join(installed.Units, "\n")))
	default:
		fmt.Fprintf(w, "\nThis machine has no systemd. For cron, in /etc/cron.d/%s:\n%s\n", installed.CronFile, indent(strings.Join(installed.Cron, "\n")))
	}
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ")
}

func runBackupList(cmd *cobra.Command) error {
	b, err := newBackup(cmd, nil)
	if err != nil {
		return err
	}
	sets, err := b.List(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"sets": sets})
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SET\tAPPLICATION\tTIME\tSIZE\tADDED\tDRILL")
	for _, s := range sets {
		drill := "-"
		if s.Drilled {
			drill = "passed"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.App, s.Time.Local().Format(time.DateTime), backup.FormatBytes(s.Size), backup.FormatBytes(s.Added), drill)
	}
	return w.Flush()
}

func runBackupLogs(cmd *cobra.Command) error {
	project, err := projectFromFlags(cmd)
	if err != nil {
		return err
	}
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	lowpriority.ApplyToSelf()
	l := &backup.Logs{Docker: compose.CLI{IsLowPriority: true}, Project: project, Edge: flags.String("edge"), Out: cmd.OutOrStdout()}
	asJSON := flags.Bool("json")
	if asJSON {
		l.Out = cmd.ErrOrStderr()
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	result, err := l.Run(ctx)
	if asJSON && result != nil {
		err = errors.Join(err, json.NewEncoder(cmd.OutOrStdout()).Encode(result))
	}
	return err
}

func runBackupReport(cmd *cobra.Command) error {
	body, err := io.ReadAll(cmd.InOrStdin())
	if err != nil {
		return err
	}
	address, _ := cmd.Flags().GetString("address")
	_, err = newAdminClient(address).post("/edge/backups", body, nil, nil)
	return err
}

// printBackups prints to which time there are backups, and what needs attention about them. It prints nothing if it cannot be read: the user asked for something else.
func printBackups(w io.Writer, admin adminClient, now time.Time) error {
	var status recovery.Status
	if _, err := admin.get("/edge/backups", &status); err != nil {
		return nil
	}
	for _, line := range status.Summary(now) {
		if _, err := fmt.Fprintf(w, "\n%s\n", line); err != nil {
			return err
		}
	}
	for _, p := range status.Problems(now) {
		name := p.Project
		if p.App != "" {
			name += "/" + p.App
		}
		if _, err := fmt.Fprintf(w, "\nbackup of %s: %s\n", name, p.Message); err != nil {
			return err
		}
	}
	return nil
}

// withStatus has the program exit with the status of an error of the commands about backups.
func withStatus(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return withExitStatus(func(cmd *cobra.Command, args []string) error {
		setHome()
		return run(cmd, args)
	}, backupExitStatus)
}

// setHome sets HOME, which systemd's services do not have: restic keeps its cache there, and Docker its settings.
func setHome() {
	if os.Getenv("HOME") != "" {
		return
	}
	if u, err := user.Current(); err == nil {
		_ = os.Setenv("HOME", u.HomeDir) // it fails for names that are no names only
	}
}

// backupExitStatus returns the exit status of an error of the commands about backups, as their help has it.
func backupExitStatus(err error) int {
	repository, isRepository := errors.AsType[*restic.Error](err)
	switch {
	case errors.Is(err, backup.ErrShrunk):
		return 4
	case errors.Is(err, backup.ErrBusy) || isRepository && repository.Kind == restic.Locked:
		return 5
	case isRepository && (repository.Command == "snapshots" || repository.Kind == restic.WrongPassword || repository.Kind == restic.NoRepository || repository.Kind == restic.Unreachable):
		return 3
	}
	return 1
}
