package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// run starts the lab, performs the chosen scenarios, and takes the lab down.
func (s *testbed) run(ctx context.Context, chosen []scenario) (report *Report, err error) {
	began := time.Now()
	report = &Report{Date: began.UTC(), Machine: machine(), Effort: s.effort}
	for _, p := range s.proxies {
		report.Proxies = append(report.Proxies, p.name)
	}
	defer func() {
		isFailed := err != nil || len(report.Violations()) > 0
		if closeErr := s.close(isFailed); err == nil {
			err = closeErr
		}
	}()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if report.Versions, err = s.versions(ctx); err != nil {
		return nil, err
	}
	for _, sc := range chosen {
		s.performAndReport(ctx, report, sc)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if err := s.compareWithBaselines(ctx); err != nil {
		return nil, err
	}
	report.Idle, report.Leftovers, report.Took = s.idleCosts, s.leftovers, time.Since(began).Round(time.Second)
	return report, nil
}

// performAndReport performs one scenario with the proxies that can take part, and adds the results to the report. If the scenario
// cannot run, the report has the error.
func (s *testbed) performAndReport(ctx context.Context, report *Report, sc scenario) {
	proxies := slices.DeleteFunc(slices.Clone(s.proxies), func(p proxy) bool { return sc.edgeOnly && !p.isEdge() })
	if len(proxies) == 0 {
		return
	}
	began := time.Now()
	report.Scenarios = append(report.Scenarios, Summary{sc.name, sc.what, sc.edgeOnly, sc.lossExpected})
	results, err := s.perform(ctx, sc, proxies)
	if err != nil {
		report.Failures = append(report.Failures, err.Error())
		fmt.Fprintf(s.out, "%-30s %s\n", sc.name, err)
		return
	}
	for _, r := range results {
		report.Results = append(report.Results, r)
		fmt.Fprintln(s.out, resultLine(r))
	}
	fmt.Fprintf(s.out, "%-30s took %s\n", sc.name, time.Since(began).Round(time.Second))
}

// versions returns the versions of the programs in the lab.
func (s *testbed) versions(ctx context.Context) ([]string, error) {
	engine, err := harness.RunDocker(ctx, "version", "--format", "Docker Engine {{.Server.Version}}")
	if err != nil {
		return nil, err
	}
	all := []string{engine}
	commands := map[string][]string{
		"edge": {"edge", "version"}, "caddy": {"caddy", "version"}, "nginx": {"nginx", "-v"}, "haproxy": {"haproxy", "-v"},
	}
	for _, p := range s.proxies {
		if p.service == "" {
			continue
		}
		id, err := s.project.Container(ctx, p.service)
		if err != nil {
			return nil, err
		}
		args := append([]string{"exec", id}, commands[p.service]...)
		if p.service == "nginx" { // it prints the version to stderr
			args = []string{"exec", id, "sh", "-c", "nginx -v 2>&1"}
		}
		out, err := harness.RunDocker(ctx, args...)
		if err != nil {
			return nil, err
		}
		first, _, _ := strings.Cut(out, "\n")
		first, _, _ = strings.Cut(first, " h1:") // the module's checksum
		if p.isEdge() {
			first = "built on Caddy " + first
		}
		all = append(all, p.name+": "+first)
	}
	return all, nil
}
