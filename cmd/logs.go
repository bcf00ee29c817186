package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/logview"
)

func logsCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "logs",
		Usage: "[<services...>] [--since <time>] [--follow] [--errors] [--slow <duration>] [--request <id>]",
		Short: "Shows the logs of the edge and of the services as one",
		Long: `
Runs docker compose logs, merges the lines of all containers by time, and prints the edge's
own entries so that people can read them. With services, it prints their lines, and the
edge's entries about them.

  --since    a time, as docker compose logs takes it: 10m, or 2026-11-27T14:00:00.
             Without it, the last 500 lines of each container are read.
  --follow   goes on with new lines.
  --errors   only errors: requests with a status from 500 on, or without a complete response,
             entries of that level, and lines that say so.
  --slow     only requests that took at least so long.
  --request  only what is about a request: its ID is in the access log, on error pages, and
             in the header X-Request-Id that applications get. Lines of applications that
             log it, or the ID of the trace, are found, too.

Filters are combined. Control characters are removed.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addProjectFlags(cmd)
			cmd.Flags().String("since", "", "Only lines since then")
			cmd.Flags().Int("tail", 500, "How many lines of each container, without --since")
			cmd.Flags().Bool("follow", false, "Go on with new lines")
			cmd.Flags().Bool("errors", false, "Only errors")
			cmd.Flags().Duration("slow", 0, "Only requests that took at least so long")
			cmd.Flags().String("request", "", "Only what is about the request with this ID")
			cmd.Flags().Bool("no-color", false, "Print no colors; also with the variable NO_COLOR")
			cmd.RunE = runWithArgs(runLogs)
		},
	}
}

func runLogs(cmd *cobra.Command, services []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	project, err := projectFromFlags(cmd)
	if err != nil {
		return err
	}
	edgeProject, edgeService := "", flags.String("edge")
	if name, service, isOther := strings.Cut(edgeService, "/"); isOther {
		edgeProject, edgeService = name, service
	}
	if slow := flags.Duration("slow"); slow < 0 {
		return withHint(errors.New("--slow can't be negative"), "--slow 1s")
	}
	if id := flags.String("request"); cmd.Flags().Changed("request") && len(id) < 6 {
		return withHint(errors.New("--request takes the ID of a request"), "it is request_id in the access log, and on error pages")
	}
	view := &logview.View{
		Out: cmd.OutOrStdout(), IsColor: isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && !flags.Bool("no-color"), Follow: flags.Bool("follow"),
		Errors: flags.Bool("errors"), Slow: flags.Duration("slow"), Request: flags.String("request"), Services: services, Edge: edgeService,
	}
	options := []string{"logs", "--no-color", "--timestamps"}
	if since := flags.String("since"); since != "" {
		options = append(options, "--since", since)
	} else {
		options = append(options, "--tail", strconv.Itoa(flags.Int("tail")))
	}
	if view.Follow {
		options = append(options, "--follow")
	}
	// Compose selects the services: the names of their containers may be any.
	sources := []logSource{{project.Args(slices.Concat(options, services)...), logview.Selected}}
	options = append(options, edgeService)
	switch {
	case edgeProject != "":
		sources = append(sources, logSource{compose.Project{Name: edgeProject}.Args(options...), logview.FromEdge})
	case len(services) > 0 && !slices.Contains(services, edgeService):
		sources = append(sources, logSource{project.Args(options...), logview.FromEdge})
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return showLogs(ctx, compose.CLI{}, view, sources, cmd.ErrOrStderr())
}

// logSource is a command that prints logs.
type logSource struct {
	args []string
	of   logview.Source
}

// showLogs runs the commands that print logs, and shows their lines.
func showLogs(ctx context.Context, docker compose.CLI, view *logview.View, sources []logSource, warnings io.Writer) error {
	var running sync.WaitGroup
	errs := make([]error, len(sources))
	for i, source := range sources {
		running.Go(func() {
			lines := view.LineWriter(source.of)
			_, err := docker.Stream(ctx, nil, lines, source.args...)
			switch {
			case ctx.Err() != nil:
			case err != nil && source.of == logview.FromEdge: // the lines of the services are what was asked for
				fmt.Fprintf(warnings, "edge: warning: the lines of the edge cannot be read: %v\nedge: hint: --edge PROJECT/SERVICE names it\n", err)
			default:
				errs[i] = err
			}
			_ = lines.Close() // it never fails
		})
	}
	if view.Follow {
		following, stop := context.WithCancel(ctx)
		shown := make(chan struct{})
		go func() {
			defer close(shown)
			view.Run(following)
		}()
		running.Wait()
		stop()
		<-shown
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return withHint(err, "run it where compose.yaml is, or name the file with --file")
	}
	return view.Close()
}
