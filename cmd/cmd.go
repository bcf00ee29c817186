// Package cmd has the edge's own commands, in addition to Caddy's, one file per verb.
package cmd

import (
	"fmt"
	"io"
	"os"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/hint"
)

// Files are the shipped files that commands use.
type Files struct {
	Caddyfile  []byte
	EnvExample []byte
}

// Register adds the commands to Caddy's. Call it once, from an init function.
func Register(files Files) {
	for _, c := range []caddycmd.Command{
		backupCommand(), certsCommand(), checkCommand(), cloudflareCommand(), demoCommand(files.Caddyfile), deployCommand(), deployAgentCommand(), drainCommand(), drillCommand(), gateCommand(), guardCommand(), handoverCommand(), healthCommand(),
		initCommand(files.EnvExample), logsCommand(), maintenanceCommand(), registryCommand(), replicaCommand(), restoreCommand(), rolloutCommand(), serveCommand(files.Caddyfile), statusCommand(), verifyCommand(),
		volumeCommand(),
	} {
		caddycmd.RegisterCommand(c)
	}
}

// withHint adds to an error the next step for a user at a terminal.
func withHint(err error, format string, args ...any) error {
	return hint.New(err, fmt.Sprintf(format, args...))
}

// runNoArgs is runWithArgs for a command that takes no arguments.
func runNoArgs(f func(cmd *cobra.Command) error) func(*cobra.Command, []string) error {
	return runWithArgs(func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return withHint(fmt.Errorf("%s takes no argument, got %q", cmd.Name(), args[0]), "edge %s --help", cmd.Name())
		}
		return f(cmd)
	})
}

// runWithArgs returns a function for cobra that prints the error of f as "edge: error: …", and its hint as "edge: hint: …".
func runWithArgs(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := f(cmd, args)
		printError(cmd.ErrOrStderr(), err)
		return err
	}
}

// withExitStatus has the program exit with the status of a command's error.
func withExitStatus(run func(*cobra.Command, []string) error, statusOf func(error) int) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if err == nil {
			return nil
		}
		if status := statusOf(err); status != 1 {
			os.Exit(status) // Caddy's own way would log the error, which is printed already
		}
		return err
	}
}

// printError prints an error and its hint; nothing if it is nil.
func printError(w io.Writer, err error) {
	if err == nil {
		return
	}
	fmt.Fprintf(w, "edge: error: %v\n", err)
	if next := hint.Of(err); next != "" {
		fmt.Fprintf(w, "edge: hint: %s\n", next)
	}
}
