// Command reliability changes a stack while requests and WebSockets go through the edge and through other proxies, and reports what
// was lost. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/theworklabs/edge/tests/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reliability: error:", err)
		os.Exit(1)
	}
}

const usage = `go run ./tests/reliability [flags]

Changes a small stack while requests and WebSockets go through several proxies at the
same time, and reports what was lost. Run it at the top of the repository, after
tests/setup and deploy/image; make reliability does all three.

To test a proxy that is not part of the lab, give its URL with --target. It has to

  - be attached to the lab's network, ` + projectName + `_lab, which exists once the suite runs;
    the suite waits two minutes for the proxy to answer
  - send requests for the host ` + apiHost + ` to the containers with the name api,
    port 8080, and requests for ` + controlHost + ` to control, port 8080
  - forward WebSockets for both

Flags:
`

// run is the program with its arguments.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("reliability", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprint(out, usage)
		flags.PrintDefaults()
	}
	only := flags.String("scenarios", "", "prefixes of the scenarios' `names`, separated by commas; all if empty")
	names := flags.String("proxies", "edge,caddy,nginx,haproxy", "the lab's proxies that take part, separated by commas")
	short := flags.Bool("short", false, "run each scenario's change once, with fewer WebSockets")
	rate := flags.Int("rate", 0, "requests a second through each proxy (default 60)")
	project := flags.String("project", projectName, "`name` of the lab's Compose project; two runs at the same time need two")
	folder := flags.String("out", "docs", "`directory` of reliability.md and reliability.json")
	list := flags.Bool("list", false, "list the scenarios and exit")
	var targets []proxy
	flags.Func("target", "`NAME=URL` of a proxy that you run in front of the lab; can be repeated", func(text string) error {
		p, err := parseTarget(text)
		targets = append(targets, p)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q; see --help", flags.Arg(0))
	}
	chosen, err := chooseScenarios(*only)
	if err != nil {
		return err
	}
	if *list {
		for _, sc := range chosen {
			fmt.Fprintf(out, "%-30s %s\n", sc.name, sc.what)
		}
		return nil
	}
	s := newTestbed(*project, "tests/reliability", out)
	if *short {
		s.effort = shortEffort
	}
	if *rate < 0 {
		return fmt.Errorf("rate %d: want a number above 0", *rate)
	}
	if *rate > 0 {
		s.effort.Rate = *rate
	}
	if s.proxies, err = chooseProxies(*names); err != nil {
		return err
	}
	for _, target := range targets {
		if slices.ContainsFunc(s.proxies, func(p proxy) bool { return p.name == target.name }) {
			return fmt.Errorf("target: %s is the name of one of the lab's proxies, or is given twice", target.name)
		}
		s.proxies = append(s.proxies, target)
	}
	if len(s.proxies) == 0 {
		return errors.New("no proxy to test; see --proxies and --target")
	}
	report, err := s.run(ctx, chosen)
	if err != nil {
		return err
	}
	if err := writeReports(*folder, report); err != nil {
		return err
	}
	if violations := report.Violations(); len(violations) > 0 {
		return fmt.Errorf("the edge has broken promises, or scenarios could not run:\n  %s", strings.Join(violations, "\n  "))
	}
	return nil
}

// newTestbed returns a testbed that has not been opened, with full effort. It prints to out.
func newTestbed(project, folder string, out io.Writer) *testbed {
	return &testbed{
		project: &harness.Project{Name: project, Files: []string{filepath.Join(folder, "compose.yaml")}},
		effort:  fullEffort, out: out,
	}
}

// chooseScenarios returns the scenarios whose names begin with one of the prefixes, which commas separate; all if there is none.
func chooseScenarios(only string) (chosen []scenario, err error) {
	if only == "" {
		return scenarios(), nil
	}
	for _, prefix := range strings.Split(only, ",") {
		found := false
		for _, sc := range scenarios() {
			if strings.HasPrefix(sc.name, strings.TrimSpace(prefix)) {
				found = true
				if !slices.ContainsFunc(chosen, func(c scenario) bool { return c.name == sc.name }) {
					chosen = append(chosen, sc)
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("no scenario's name begins with %q; --list shows them", prefix)
		}
	}
	return chosen, nil
}

// chooseProxies returns the lab's proxies with the names, which commas separate; none if there is no name.
func chooseProxies(names string) (chosen []proxy, err error) {
	all, err := labProxies()
	if err != nil || names == "" {
		return nil, err
	}
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(p proxy) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("proxy %q: want edge, caddy, nginx or haproxy; others are given with --target", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// writeReports writes both forms of the report into a directory.
func writeReports(folder string, r *Report) error {
	for name, form := range map[string]func(io.Writer, *Report) error{"reliability.md": writeMarkdown, "reliability.json": writeJSON} {
		file, err := os.Create(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		if err := errors.Join(form(file, r), file.Close()); err != nil {
			return err
		}
	}
	return nil
}
