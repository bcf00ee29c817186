// Command benchmark measures what the edge costs beside stock Caddy, nginx and HAProxy, in one run, and writes docs/benchmark.md.
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
)

// backendVariable has the port of the backend in the environment of its process, which runs this program, too.
const backendVariable = "EDGE_BENCHMARK_BACKEND"

func main() {
	if port := os.Getenv(backendVariable); port != "" {
		fmt.Fprintln(os.Stderr, "benchmark: error:", runBackend(port))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmark: error:", err)
		os.Exit(1)
	}
}

const usage = `go run ./tests/benchmark [flags]

Measures the edge, stock Caddy, nginx and HAProxy, one after the other and again, in
front of one backend on this machine. Run it at the top of the repository, after
tests/setup and deploy/image; make benchmark does all three. It needs root, and takes
about 45 minutes.

To measure another proxy, run it on this machine in front of 127.0.0.1:PORT, with
--backend PORT, and give the ID of its process and its URLs with --target.

Flags:
`

// run is the program with its arguments.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("benchmark", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprint(out, usage)
		flags.PrintDefaults()
	}
	b := &bench{effort: fullEffort, out: out}
	only := flags.String("cases", "", "beginnings of GROUP: CASE, separated by semicolons; all if empty")
	names := flags.String("proxies", "edge,caddy,nginx,haproxy", "the proxies that take part, separated by commas; traefik (with its fastProxy) and traefik-standard, too, if tests/traefik-setup has built it")
	folder := flags.String("out", "docs", "`directory` of benchmark.md, benchmark.json and the plots; \"\": writes nothing")
	list := flags.Bool("list", false, "list the cases and exit")
	again := flags.Bool("again", false, "write benchmark.md and the plots again, from benchmark.json")
	profile := flags.String("profile", "", "print where the edge's time goes in this `load`, such as HTTP/2 or \"POST HTTP/1.1\", and exit")
	flags.IntVar(&b.effort.Rounds, "rounds", b.effort.Rounds, "how often each case is measured")
	flags.DurationVar(&b.effort.Time, "time", b.effort.Time, "how long one measurement takes")
	flags.StringVar(&b.port, "backend", "", "`port` of the backend; a free one if empty")
	var others []*target
	flags.Func("target", "`NAME=PID,http://HOST:PORT[,https://HOST:PORT]` of a proxy that you run; can be repeated", func(text string) error {
		t, err := parseTarget(text)
		others = append(others, t)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q; see --help", flags.Arg(0))
	}
	if *again {
		return writeAgain(*folder)
	}
	if b.effort.Rounds < 1 || b.effort.Time <= 0 {
		return errors.New("rounds and time: want more than 0")
	}
	if *profile != "" {
		p, err := parseProfiled(*profile)
		if err != nil {
			return err
		}
		return b.profile(ctx, p)
	}
	chosen, err := chooseCases(*only)
	if err != nil {
		return err
	}
	if *list {
		for _, c := range chosen {
			fmt.Fprintf(out, "%s: %s\n", c.group, c.name)
		}
		return nil
	}
	if b.targets, err = chooseTargets(*names, others); err != nil {
		return err
	}
	report, err := b.run(ctx, chosen)
	if err != nil {
		return err
	}
	if *folder != "" {
		if err := writeReports(*folder, report); err != nil {
			return err
		}
	}
	if len(report.Failures) > 0 {
		return fmt.Errorf("%d measurements failed:\n  %s", len(report.Failures), strings.Join(report.Failures, "\n  "))
	}
	return nil
}

// chooseCases returns the cases whose names begin with one of some texts.
func chooseCases(only string) (chosen []benchCase, err error) {
	if only == "" {
		return cases(), nil
	}
	for _, prefix := range strings.Split(only, ";") {
		found := false
		for _, c := range cases() {
			if strings.HasPrefix(c.group+": "+c.name, strings.TrimSpace(prefix)) {
				found = true
				chosen = append(chosen, c)
			}
		}
		if !found {
			return nil, fmt.Errorf("no case begins with %q; --list shows them", strings.TrimSpace(prefix))
		}
	}
	return chosen, nil
}

// chooseTargets returns our proxies with the names, and others.
func chooseTargets(names string, others []*target) (chosen []*target, err error) {
	for _, name := range strings.Split(names, ",") {
		if name == "" {
			continue
		}
		all := labTargets()
		i := slices.IndexFunc(all, func(t *target) bool { return t.name == name })
		if i < 0 {
			return nil, fmt.Errorf("proxy %q: want edge, caddy, nginx, haproxy, traefik or traefik-standard; others are given with --target", name)
		}
		chosen = append(chosen, all[i])
	}
	for _, t := range others {
		if slices.ContainsFunc(chosen, func(other *target) bool { return other.name == t.name }) {
			return nil, fmt.Errorf("target: the name %s is taken", t.name)
		}
		chosen = append(chosen, t)
	}
	if len(chosen) == 0 {
		return nil, errors.New("no proxy to measure; see --proxies and --target")
	}
	return chosen, nil
}

// writeReports writes all forms of the report into a directory.
func writeReports(folder string, r *Report) error {
	for name, form := range map[string]func(io.Writer, *Report) error{"benchmark.md": writeMarkdown, "benchmark.json": writeJSON} {
		file, err := os.Create(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		if err := errors.Join(form(file, r), file.Close()); err != nil {
			return err
		}
	}
	return writePlots(filepath.Join(folder, "benchmark"), r)
}

// writeAgain writes the forms for readers from the numbers of an earlier run.
func writeAgain(folder string) error {
	r, err := readReport(filepath.Join(folder, "benchmark.json"))
	if err != nil {
		return err
	}
	return writeReports(folder, r)
}
