// Package cmd is the edge's own commands beside Caddy's, one file per verb.
package cmd

import (
	"errors"
	"fmt"
	"io"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Files are shipped files that commands carry with them.
type Files struct {
	Caddyfile  []byte
	EnvExample []byte
}

// Register adds the commands to Caddy's. Call it once, while the program is initialized.
func Register(files Files) {
	for _, c := range []caddycmd.Command{
		certsCommand(), checkCommand(), demoCommand(files.Caddyfile), drainCommand(), guardCommand(), healthCommand(),
		initCommand(files.EnvExample), maintenanceCommand(), rolloutCommand(), serveCommand(files.Caddyfile), statusCommand(),
	} {
		caddycmd.RegisterCommand(c)
	}
}

// hintError is an error with the one thing to do about it.
type hintError struct {
	error
	hint string
}

func (h hintError) Unwrap() error { return h.error }

// withHint adds to an error what a person at a terminal should do next.
func withHint(err error, format string, args ...any) error {
	return hintError{err, fmt.Sprintf(format, args...)}
}

// runNoArgs makes a cobra function of ours, for a command that takes no arguments.
func runNoArgs(f func(cmd *cobra.Command) error) func(*cobra.Command, []string) error {
	return runWithArgs(func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return withHint(fmt.Errorf("%s takes no argument, got %q", cmd.Name(), args[0]), "edge %s --help", cmd.Name())
		}
		return f(cmd)
	})
}

// runWithArgs makes a cobra function print errors as the style asks: "edge: error: …", then "edge: hint: …".
func runWithArgs(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := f(cmd, args)
		printError(cmd.ErrOrStderr(), err)
		return err
	}
}

func printError(w io.Writer, err error) {
	if err == nil {
		return
	}
	fmt.Fprintf(w, "edge: error: %v\n", err)
	if h, ok := errors.AsType[hintError](err); ok {
		fmt.Fprintf(w, "edge: hint: %s\n", h.hint)
	}
}
