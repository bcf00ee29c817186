package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/reliability/lab"
)

// effort is how much the benchmark does.
type effort struct {
	Rounds  int           `json:"rounds"`
	Warmup  time.Duration `json:"warmup_ns"`
	Time    time.Duration `json:"time_ns"` // of one measurement
	Sockets int           `json:"sockets"` // idle ones
	Waiting int           `json:"waiting"` // requests
}

// A proxy needs two descriptors for each connection, and a container has 20,000 of them on many machines.
var (
	fullEffort  = effort{Rounds: 5, Warmup: 2 * time.Second, Time: 2 * time.Second, Sockets: 9000, Waiting: 2000}
	shortEffort = effort{Rounds: 1, Warmup: 50 * time.Millisecond, Time: 200 * time.Millisecond, Sockets: 50, Waiting: 50}
)

// bench is a run of the benchmark.
type bench struct {
	effort  effort
	targets []*target
	port    string // of the backend; "": a free one
	out     io.Writer

	halfRate int // requests a second
	dir      string
	backend  *exec.Cmd
	failures []string
}

// run runs cases on all targets, in turn, as often as the effort says.
func (b *bench) run(ctx context.Context, chosen []benchCase) (r *Report, err error) {
	began := time.Now()
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	defer b.close()
	r = &Report{Date: began.UTC().Truncate(time.Second), Machine: machine(), Effort: b.effort}
	for _, t := range b.targets {
		r.Proxies = append(r.Proxies, t.name)
		r.Versions = append(r.Versions, t.describe(ctx))
	}
	for _, c := range chosen {
		r.Cases = append(r.Cases, Summary{Group: c.group, Name: c.name})
	}
	for round := range b.effort.Rounds {
		for _, c := range chosen {
			for _, t := range b.targets {
				if err := b.measure(ctx, r, c, t, round); err != nil {
					return nil, err
				}
			}
		}
	}
	r.Took = time.Since(began)
	r.Failures = b.failures
	return r, nil
}

// measure runs a case on one target. What fails is part of the report, unless the run ends.
func (b *bench) measure(ctx context.Context, r *Report, c benchCase, t *target, round int) error {
	if !t.has(c.version) || c.ours && t.image == "" {
		return nil
	}
	got, err := b.runCase(ctx, c, t)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	what := fmt.Sprintf("%s: %s, %s", c.group, c.name, t.name)
	if err != nil {
		b.failures = append(b.failures, fmt.Sprintf("%s, round %d: %v", what, round+1, err))
		fmt.Fprintf(b.out, "%s: %v\n", what, err)
		return nil
	}
	r.add(c, t.name, got)
	fmt.Fprintf(b.out, "%d %s:", round+1, what)
	for _, quantity := range quantities {
		if value, found := got[quantity]; found {
			fmt.Fprintf(b.out, " %.1f %s", value, quantity)
		}
	}
	fmt.Fprintln(b.out)
	return nil
}

func (b *bench) runCase(ctx context.Context, c benchCase, t *target) (values, error) {
	if c.fresh {
		if err := t.start(ctx, b.dir, b.endpoints(max(c.endpoints, 1))); err != nil {
			return nil, err
		}
		if c.endpoints > 1 {
			defer func() { _ = t.start(ctx, b.dir, b.endpoints(1)) }()
		}
	}
	return c.run(ctx, b, t)
}

// endpoints returns the first n addresses of the backend.
func (b *bench) endpoints(n int) (all []string) {
	for i := range n {
		all = append(all, endpoint(i, b.port))
	}
	return all
}

// open starts the backend and the proxies.
func (b *bench) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.dir, err = os.MkdirTemp("", "edge-benchmark-"); err != nil {
		return err
	}
	if err := lab.WriteCertificate(b.dir, "localhost"); err != nil {
		return err
	}
	if b.port == "" {
		if b.port, err = testport.Reserve(); err != nil {
			return err
		}
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	b.backend = exec.Command(program)
	b.backend.Env = append(os.Environ(), backendVariable+"="+b.port)
	log, err := os.Create(filepath.Join(b.dir, "backend.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	b.backend.Stdout, b.backend.Stderr = log, log
	if err := b.backend.Start(); err != nil {
		return err
	}
	err = harness.EventuallyContext(ctx, 20*time.Second, "the backend listens", func() bool {
		content, _ := os.ReadFile(log.Name())
		return len(content) > 0
	})
	if err != nil {
		return err
	}
	for _, t := range b.targets {
		if err := t.start(ctx, b.dir, b.endpoints(1)); err != nil {
			return err
		}
	}
	return nil
}

// close ends what open has started.
func (b *bench) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, t := range slices.Backward(b.targets) {
		if err := t.stop(ctx); err != nil {
			fmt.Fprintln(b.out, err)
		}
	}
	if b.backend != nil && b.backend.Process != nil {
		_ = b.backend.Process.Kill()
		_ = b.backend.Wait()
	}
	_ = os.RemoveAll(b.dir)
}
