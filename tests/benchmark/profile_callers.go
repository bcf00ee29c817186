package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// profilePart is what the processor works for: the time of a function that many use, such as a system call or an allocation, belongs to the part that has called it.
type profilePart struct {
	name  string
	marks []string // of the function nearest to the end of the stack that has one
}

// profileParts returns the parts, in the order in which their marks are compared.
func profileParts() []profilePart {
	const edge = "github.com/theworklabs/edge/"
	return []profilePart{
		{"the edge: the connection to the container", []string{edge + "internal/upstreamconn"}},
		{"the edge: the client's connection", []string{edge + "internal/keepconn", edge + "modules/downstream", edge + "modules/listeners", edge + "internal/gate", edge + "internal/sharedsocket"}},
		{"the edge: figures", []string{edge + "internal/traffic", "github.com/prometheus/"}},
		{"the edge: the choice of a container", []string{edge + "internal/registry", edge + "internal/affinity", edge + "internal/engineio"}},
		{"the access log", []string{"go.uber.org/zap", edge + "modules/logs", edge + "internal/redact", "github.com/caddyserver/caddy/v2/modules/caddyhttp.(*Server).logRequest", "github.com/caddyserver/caddy/v2/modules/caddyhttp.Loggable"}},
		{"the edge: the handler, and the rest of it", []string{edge}},
		{"Caddy", []string{"github.com/caddyserver/"}},
		{"TLS", []string{"crypto/", "vendor/golang.org/x/crypto", "golang.org/x/crypto"}},
		{"QUIC", []string{"github.com/quic-go/"}},
		{"Go's parser of responses", []string{"net/http.ReadResponse", "net/http.(*Response)"}},
		{"Go's HTTP/2", []string{"net/http.(*http2", "net/http.http2", "net/http/internal/http2", "golang.org/x/net/http2", "vendor/golang.org/x/net/http2"}},
		{"Go's HTTP server", []string{"net/http."}},
	}
}

const (
	garbagePart = "Go: garbage collection in the background"
	idlePart    = "Go: the scheduler, without a request"
)

// stack is a sample of a profile: the functions from the one that ran to that of the goroutine.
type stack struct {
	time      time.Duration
	functions []string
}

// partOf returns the part that a sample belongs to.
func partOf(s stack, all []profilePart) string {
	for _, function := range s.functions {
		for _, p := range all {
			if slices.ContainsFunc(p.marks, func(mark string) bool { return strings.HasPrefix(function, mark) }) {
				return p.name
			}
		}
	}
	if root := s.functions[len(s.functions)-1]; strings.HasPrefix(root, "runtime.gcBg") || strings.HasPrefix(root, "runtime.bg") {
		return garbagePart
	}
	return idlePart
}

// callOf returns the system call of a sample, and for whom it is; "" if it is none.
func callOf(s stack) (call, side string) {
	for _, function := range s.functions {
		if isSystemCall(function) || function == "runtime.futex" {
			call = function
		}
	}
	if owners()[0].has(s.functions[0]) && call == "" {
		call = s.functions[0]
	}
	switch {
	case call == "":
		return "", ""
	case slices.ContainsFunc(s.functions, func(f string) bool { return strings.HasPrefix(f, "github.com/theworklabs/edge/internal/upstreamconn") }):
		return call, "the container"
	case slices.ContainsFunc(s.functions, func(f string) bool {
		return strings.HasPrefix(f, "net/http.") || strings.HasPrefix(f, "github.com/quic-go/") || strings.HasPrefix(f, "crypto/tls.")
	}):
		return call, "the client"
	}
	return call, "the scheduler"
}

// parseStacks reads the output of `go tool pprof -traces`.
func parseStacks(traces string) (all []stack) {
	var s stack
	lines := bufio.NewScanner(strings.NewReader(traces))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "-----------+") {
			if s.time > 0 {
				all = append(all, s)
			}
			s = stack{}
			continue
		}
		if len(line) < 12 {
			continue
		}
		head, function := strings.TrimSpace(line[:11]), strings.TrimSpace(line[11:])
		if head != "" {
			ms, err := strconv.ParseFloat(strings.TrimSuffix(head, "ms"), 64)
			if err != nil {
				continue // the head of the output
			}
			s.time = time.Duration(ms * float64(time.Millisecond))
		} else if s.time == 0 {
			continue
		}
		s.functions = append(s.functions, strings.TrimSuffix(function, " (inline)"))
	}
	if s.time > 0 {
		all = append(all, s)
	}
	return all
}

// writeCallers prints for which part the time is spent: in its own code, in system calls, in allocation, and in the rest of Go's runtime.
func writeCallers(w io.Writer, traces string) error {
	stacks := parseStacks(traces)
	if len(stacks) == 0 {
		return fmt.Errorf("there are no stacks: %.200s", traces)
	}
	names, kinds := profileParts(), owners()
	type row struct{ own, system, allocation, runtime time.Duration }
	rows, calls := make(map[string]*row), make(map[[2]string]time.Duration)
	total := time.Duration(0)
	for _, s := range stacks {
		total += s.time
		name := partOf(s, names)
		r := rows[name]
		if r == nil {
			r = new(row)
			rows[name] = r
		}
		call, side := callOf(s)
		switch kind := slices.IndexFunc(kinds, func(o *owner) bool { return o.has(s.functions[0]) }); {
		case call != "":
			r.system += s.time
			calls[[2]string{call, side}] += s.time
		case kind == 1:
			r.allocation += s.time
		case kind == 0 || kind == 2:
			r.runtime += s.time
		default:
			r.own += s.time
		}
	}
	share := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return fmt.Sprintf("%.1f %%", float64(d)/float64(total)*100)
	}
	fmt.Fprint(w, "\nFor whom, with what each part calls:\n\n| part | system calls | allocation | rest of Go's runtime | other code | all |\n|---|---|---|---|---|---|\n")
	order := []string{}
	for _, p := range names {
		order = append(order, p.name)
	}
	for _, name := range append(order, garbagePart, idlePart) {
		if r := rows[name]; r != nil {
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", name, share(r.system), share(r.allocation), share(r.runtime), share(r.own), share(r.own+r.system+r.allocation+r.runtime))
		}
	}
	fmt.Fprint(w, "\nSystem calls with 0.3 % at least:\n\n| call | for | time |\n|---|---|---|\n")
	keys := make([][2]string, 0, len(calls))
	for key := range calls {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(calls[b], calls[a]), cmp.Compare(a[0]+a[1], b[0]+b[1]))
	})
	for _, key := range keys {
		if float64(calls[key])/float64(total) >= 0.003 {
			fmt.Fprintf(w, "| `%s` | %s | %s |\n", key[0], key[1], share(calls[key]))
		}
	}
	return nil
}
