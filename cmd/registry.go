package cmd

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/imagecleanup"
)

func registryCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "registry",
		Usage: "cleanup [--keep 20] [--keep-for 720h] [--keep-tags <regexp>] [--in-use <file>] [--dry-run | --timer]",
		Short: "Deletes old images of the stack's container registry",
		Long: `
Deletes tags of the registry of compose.registry.yaml that are neither the newest of their
repository, nor young, nor named by --keep-tags, and whose images this machine does not
have: those that run, and those that edge deploy --undo goes back to. Then it removes the
layers that no image has any more. The edge holds the requests to the registry meanwhile.
Run it on the host, where you run docker compose, for example each week: docs/registry.md.

  --keep       is how many of the newest tags of each repository stay.
  --keep-for   is how long every tag stays. Images that do not say when they were made stay.
  --keep-tags  is a regular expression for tags that stay; versions and latest if not given.
  --in-use     is a file with digests of images that other machines use, one in each line:
               docker images --digests --format '{{.Digest}}' there. May be repeated.
  --dry-run    prints what would be deleted.
  --timer      has systemd run it each week, with the same options, and deletes nothing now.
               Without systemd, it prints a line for cron.
`,
		CobraFunc: func(cmd *cobra.Command) {
			addProjectFlags(cmd)
			f := cmd.Flags()
			f.String("service", "registry", "The Compose service that is the registry")
			f.Int("keep", 20, "How many of the newest tags of each repository stay")
			f.Duration("keep-for", 30*24*time.Hour, "How long every tag stays")
			f.String("keep-tags", `^(latest|v?[0-9]+(\.[0-9]+)*)$`, "Tags that stay")
			f.StringArray("in-use", nil, "A file with digests of images that other machines use")
			f.Bool("dry-run", false, "Print what would be deleted")
			f.Bool("timer", false, "Run it each week, by systemd")
			cmd.MarkFlagsMutuallyExclusive("dry-run", "timer")
			cmd.RunE = runWithArgs(runRegistry)
		},
	}
}

func runRegistry(cmd *cobra.Command, args []string) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	policy := imagecleanup.Policy{Keep: flags.Int("keep"), KeepFor: flags.Duration("keep-for")}
	var err error
	if policy.KeepTags, err = regexp.Compile(flags.String("keep-tags")); err != nil {
		return fmt.Errorf("--keep-tags: %w", err)
	}
	if policy.Keep < 1 {
		return errors.New("--keep must be at least 1")
	}
	switch {
	case len(args) == 1 && args[0] == "cleanup":
		project, err := projectFromFlags(cmd)
		if err != nil {
			return err
		}
		files, err := cmd.Flags().GetStringArray("in-use")
		if err != nil {
			return err
		}
		var inUse, again []string
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			inUse = append(inUse, strings.Fields(string(text))...)
			absolute, err := filepath.Abs(name)
			if err != nil {
				return err
			}
			again = append(again, "--in-use", absolute)
		}
		c := &imagecleanup.Cleanup{
			InUse:  inUse,
			Docker: compose.CLI{}, Project: project, Edge: flags.String("edge"), Service: flags.String("service"), DryRun: flags.Bool("dry-run"), Out: cmd.OutOrStdout(),
			Flags: []string{"--keep", fmt.Sprint(policy.Keep), "--keep-for", policy.KeepFor.String(), "--keep-tags", policy.KeepTags.String()},
		}
		if !flags.Bool("timer") {
			return c.Run(ctx)
		}
		installed, err := c.Schedule(ctx, again...)
		if err != nil {
			return err
		}
		printTimers(cmd.OutOrStdout(), installed, "the cleanup each week")
		return nil
	case len(args) == 1 && args[0] == "delete": // not for users: cleanup runs it in the edge's container
		if policy.InUse, err = readDigests(cmd.InOrStdin()); err != nil {
			return err
		}
		return deleteImages(ctx, cmd.OutOrStdout(), flags.String("service")+":5000", policy, flags.Bool("dry-run"))
	}
	return withHint(errors.New("registry has the operation cleanup"), "edge registry cleanup --dry-run")
}

// readDigests reads a digest from each line.
func readDigests(r io.Reader) (map[string]bool, error) {
	digests := make(map[string]bool)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		digests[strings.TrimSpace(lines.Text())] = true
	}
	return digests, lines.Err()
}

func deleteImages(ctx context.Context, out io.Writer, address string, policy imagecleanup.Policy, dryRun bool) error {
	registry, err := remote.NewRegistry(address)
	if err != nil {
		return err
	}
	registry.PlainHTTP = true
	plan, err := imagecleanup.MakePlan(ctx, registry, policy, time.Now())
	if err != nil {
		return err
	}
	if dryRun {
		fmt.Fprint(out, cmp.Or(plan.String(), "there is nothing to delete\n"))
		return nil
	}
	return plan.Execute(ctx, registry, out)
}
