// Command app stands in for the applications behind the edge in the end-to-end tests: one static program that plays
// the part named by ROLE, so that one small image base serves them all.
//
// Beside what its role serves, every HTTP role answers the exercise routes (exercise.go) under /_test/ and /api/, and
// names itself in the response header X-Test-Backend.
//
// Environment:
//
//	ROLE        webapp, corteza, docs, gotenberg, generic or migration
//	PORT        port to listen on; gotenberg reads API_PORT instead, as the real one does
//	NAME        what it calls itself; the host name by default
//	BOOT_DELAY  how long it takes to boot before it listens, a Go duration
//	ON_TERM     what SIGTERM leads to: rude (the default), polite, deaf or unavailable (termination.go)
//	SLOW_START  how long it is slow after its start, a Go duration (behave.go)
//	LEDGER      UDP address that gets a line for each request with an X-Test-Id (ledger.go)
//	LOG         1 prints one line per request
//	DB_DSN      corteza: the store it waits for; DB_HOST: what migration waits for
//
// Command-line arguments are ignored: the compose file passes those meant for the real application.
package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// backend is one running application.
type backend struct {
	name, role string

	// stopping is done when a polite shutdown begins: streams without an end of their own end then.
	stopping context.Context
	// sockets counts WebSockets, which http.Server.Shutdown does not wait for.
	sockets sync.WaitGroup
}

// site is what one role serves.
type site struct {
	network string // "tcp", or "tcp4" where the real application listens on IPv4 alone
	port    string
	handler func(*backend) http.Handler
	boot    func(next http.Handler) http.Handler // nil, or stands before everything else while the role boots
}

var sites = map[string]site{
	"webapp":    {network: "tcp4", port: port("PORT", "80"), handler: webapp},
	"corteza":   {network: "tcp", port: port("PORT", "80"), handler: corteza, boot: cortezaBooting},
	"docs":      {network: "tcp", port: port("PORT", "80"), handler: docs},
	"gotenberg": {network: "tcp", port: port("API_PORT", "3000"), handler: gotenberg},
	"generic":   {network: "tcp", port: port("PORT", "8080"), handler: generic},
}

func port(variable, byDefault string) string { return cmp.Or(os.Getenv(variable), byDefault) }

func main() {
	if err := run(os.Getenv("ROLE")); err != nil {
		fmt.Fprintln(os.Stderr, "app: error:", err)
		os.Exit(1)
	}
}

func run(role string) error {
	if role == "migration" {
		return migrate()
	}
	s, ok := sites[role]
	if !ok {
		return fmt.Errorf("unknown ROLE %q", role)
	}
	bootDelay, err := time.ParseDuration(cmp.Or(os.Getenv("BOOT_DELAY"), "0s"))
	if err != nil {
		return fmt.Errorf("read BOOT_DELAY: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read host name: %w", err)
	}
	stopping, stop := context.WithCancel(context.Background())
	b := &backend{name: cmp.Or(os.Getenv("NAME"), host), role: role, stopping: stopping}
	term, err := newTermination(cmp.Or(os.Getenv("ON_TERM"), "rude"), stop)
	if err != nil {
		return err
	}
	time.Sleep(bootDelay)
	return b.serve(s, term)
}
