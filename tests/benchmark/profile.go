package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/tests/benchmark/load"
	"github.com/theworklabs/edge/tests/harness"
)

// owner is whose code the edge spends time in.
type owner struct {
	name    string
	marks   []string // a function belongs to the first owner with a mark that its name begins with
	time    float64  // ms
	lines   []profileLine
	isOther bool // has all that is left
}

// profileLine is a function, and the time in it, without the functions that it calls.
type profileLine struct {
	function string
	time     float64 // ms
}

// owners returns whom functions may belong to.
func owners() []*owner {
	return []*owner{
		{name: "the kernel: system calls", marks: []string{
			"internal/runtime/syscall", "runtime/internal/syscall", "syscall.", "runtime.futex", "runtime.usleep", "runtime.madvise", "runtime.tgkill", "runtime.write1", "runtime.read.", "runtime.epoll", "runtime.nanotime", "runtime.walltime", "runtime.vdso", "runtime.osyield", "runtime.timer_", "time.now",
		}},
		{name: "Go's allocation and garbage collection", marks: []string{
			"runtime.malloc", "runtime.newobject", "runtime.makeslice", "runtime.growslice", "runtime.makemap", "runtime.nextFree", "runtime.scan", "runtime.grey", "runtime.gc", "runtime.(*gc", "runtime.mark", "runtime.sweep", "runtime.(*sweep", "runtime.bgsweep",
			"runtime.memclr", "runtime.(*mspan)", "runtime.(*mcache)", "runtime.(*mcentral)", "runtime.(*mheap)", "runtime.heap", "runtime.(*heap", "runtime.wbBuf", "runtime.(*wbBuf)", "runtime.bulkBarrier", "runtime.findObject", "runtime.spanOf", "runtime.typePointers", "runtime.(*typePointers)", "runtime.tryDefer", "runtime.deduct", "runtime.(*spanSet)", "runtime.(*pageAlloc)", "runtime.(*limiter", "runtime.shade", "runtime.publicationBarrier", "runtime.profilealloc", "runtime.(*unwinder)", "runtime.adjust", "runtime.copystack", "runtime.getempty", "runtime.putfull", "runtime.trygetfull", "runtime.stack", "runtime.(*activeSweep)", "runtime.pcvalue", "runtime.readvarint", "runtime.step", "runtime.funcspdelta",
		}},
		{name: "Go's scheduler and runtime", marks: []string{"runtime.", "internal/runtime/", "internal/abi", "internal/cpu", "internal/bytealg", "internal/race", "sync.", "sync/", "internal/sync", "internal/poll", "internal/godebug", "time.", "gogo", "aeshash", "memeqbody", "cmpbody", "indexbytebody", "countbody", "_rt0"}},
		{name: "Go's HTTP server, parsers and connections", marks: []string{"net/http", "net/textproto", "net.", "net/url", "net/netip", "bufio.", "mime", "vendor/golang.org/x/net", "golang.org/x/net", "internal/stringslite", "context."}},
		{name: "TLS", marks: []string{"crypto/", "vendor/golang.org/x/crypto", "internal/crypto", "hash", "golang.org/x/crypto"}},
		{name: "QUIC", marks: []string{"github.com/quic-go/"}},
		{name: "Caddy", marks: []string{"github.com/caddyserver/"}},
		{name: "the edge", marks: []string{"github.com/theworklabs/edge"}},
		{name: "other packages", isOther: true},
	}
}

func (o *owner) has(function string) bool {
	return o.isOther || slices.ContainsFunc(o.marks, func(mark string) bool { return strings.HasPrefix(function, mark) })
}

// profileTime is how long the profile takes.
const profileTime = 10 * time.Second

// profiled is the load of a profile.
type profiled struct {
	method  string // GET or POST
	version string // of HTTP
	variant string // of the edge's configuration: withLog, withReuse or ""
}

// The variants of the edge's configuration, over HTTP/1.1.
const (
	withLog   = " with an access log"
	withReuse = " with reuse all"
)

// parseProfiled parses the versions of HTTP that load has, such as HTTP/1.1, with a method before it, or without one for GET.
func parseProfiled(text string) (profiled, error) {
	p := profiled{method: http.MethodGet, version: text}
	for _, variant := range []string{withLog, withReuse} {
		if version, found := strings.CutSuffix(text, variant); found && strings.HasSuffix(version, load.HTTP1) {
			p.version, p.variant = version, variant
		}
	}
	if method, version, found := strings.Cut(p.version, " "); found && !slices.Contains([]string{load.HTTP1TLS}, p.version) {
		p.method, p.version = method, version
	}
	versions := []string{load.HTTP1, load.HTTP1TLS, load.HTTP2, load.HTTP3}
	if !slices.Contains(versions, p.version) || p.method != http.MethodGet && p.method != http.MethodPost {
		return p, fmt.Errorf("profile %q: want one of %s, after GET or POST and a space; after HTTP/1.1,%s or%s", text, strings.Join(versions, ", "), withLog, withReuse)
	}
	return p, nil
}

// profile measures where the edge spends the time of requests, and prints it line by line.
func (b *bench) profile(ctx context.Context, p profiled) error {
	t := labTargets()[0]
	t.isProfiled = true
	b.targets = []*target{t}
	if err := b.open(ctx); err != nil {
		return err
	}
	defer b.close()
	loadCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	body := 0
	if p.method == http.MethodPost {
		body = kilobyte
	}
	request := t.request(p.version, p.method, kilobyte, body)
	switch p.variant {
	case withLog:
		request.Address = t.logged
	case withReuse:
		request.Address = t.reusing
	}
	clients, err := load.Open(loadCtx, request, 64)
	if err != nil {
		return err
	}
	defer clients.Close()
	loaded := make(chan error, 1)
	go func() {
		_, err := clients.Saturate(profileTime + 4*time.Second)
		loaded <- err
	}()
	select {
	case <-time.After(2 * time.Second):
	case err := <-loaded:
		return fmt.Errorf("the load has ended: %w", err)
	}
	file := filepath.Join(b.dir, "profile")
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", t.admin, int(profileTime.Seconds()))
	got, err := harness.Do(http.DefaultClient, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if got.Status != http.StatusOK {
		return fmt.Errorf("GET %s: status %d: %.200s", url, got.Status, got.Body)
	}
	if err := os.WriteFile(file, []byte(got.Body), 0o600); err != nil {
		return err
	}
	text, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0", "-unit=ms", file).Output()
	if err != nil {
		return fmt.Errorf("go tool pprof: %w", err)
	}
	traces, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", "-unit=ms", file).Output()
	if err != nil {
		return fmt.Errorf("go tool pprof: %w", err)
	}
	if err := writeProfile(b.out, p, string(text)); err != nil {
		return err
	}
	return writeCallers(b.out, string(traces))
}

// writeProfile prints tables of owners and of functions, from the output of `go tool pprof -top`.
func writeProfile(w io.Writer, p profiled, top string) error {
	all := owners()
	total := 0.0
	lines := bufio.NewScanner(strings.NewReader(top))
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // flat flat% sum% cum cum% function
		if len(fields) < 6 || !strings.HasSuffix(fields[1], "%") {
			continue
		}
		ms, err := strconv.ParseFloat(strings.TrimSuffix(fields[0], "ms"), 64)
		if err != nil {
			continue
		}
		function := strings.TrimSuffix(strings.Join(fields[5:], " "), " (inline)")
		o := all[slices.IndexFunc(all, func(o *owner) bool { return o.has(function) })]
		o.time += ms
		o.lines = append(o.lines, profileLine{function, ms})
		total += ms
	}
	if total == 0 {
		return fmt.Errorf("the profile is empty: %.200s", top)
	}
	fmt.Fprintf(w, "# Where the time of a %s over %s%s goes\n\nWritten by `go run ./tests/benchmark --profile '%s %s%s'` on %s. The edge runs in a container.\n\n",
		p.method, p.version, p.variant, p.method, p.version, p.variant, time.Now().UTC().Format(time.DateOnly))
	fmt.Fprintf(w, "%s 1 KB over %s%s, 64 connections: %.1f s of processor time in %.0f s. Without what the functions call:\n\n| code of | time |\n|---|---|\n", p.method, p.version, p.variant, total/1e3, profileTime.Seconds())
	for _, o := range all {
		if o.time > 0 {
			fmt.Fprintf(w, "| %s | %.1f %% |\n", o.name, o.time/total*100)
		}
	}
	fmt.Fprint(w, "\nFunctions with 0.3 % at least, without those that they call:\n\n| code of | function | time |\n|---|---|---|\n")
	for _, o := range all {
		for _, line := range o.lines {
			if share := line.time / total * 100; share >= 0.3 {
				fmt.Fprintf(w, "| %s | `%s` | %.1f %% |\n", o.name, line.function, share)
			}
		}
	}
	return nil
}

// isSystemCall reports whether a function makes one system call, and is not called by another one that does.
func isSystemCall(function string) bool {
	if function == "internal/runtime/syscall/linux.EpollWait" || function == "syscall.Close" {
		return true
	}
	name, found := strings.CutPrefix(function, "syscall.")
	return found && name[0] >= 'a' && name[0] <= 'z' && !strings.Contains(name, "yscall") && !strings.Contains(name, "_")
}
