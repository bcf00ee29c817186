// Command app stands in for the applications behind the edge in the end-to-end tests. It is one static program with several roles, so
// that all images share one small base.
//
// Each HTTP role serves the paths of its application and the test routes (test_routes.go) under /_test/ and /api/. Its responses have
// its name in the header X-Test-Backend.
//
// Environment:
//
//	ROLE        webapp, corteza, docs, gotenberg, generic or migration
//	PORT        port to listen on; gotenberg reads API_PORT instead, as the real one does
//	NAME        its name; the host name by default
//	BOOT_DELAY  how long it takes to boot before it listens, a Go duration
//	ON_TERM     what it does on SIGTERM: rude (the default), polite, deaf or unavailable (termination.go)
//	SLOW_START  how long it is slow after its start, a Go duration (behaviour.go)
//	ARRIVAL_LOG UDP address that gets a message for each request with an X-Test-Id (arrival_log.go)
//	LOG         1 prints one line per request
//	DB_DSN      the database that corteza waits for
//	DB_HOST     the database that migration waits for
//
// It ignores command-line arguments: the compose file passes those of the real application.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// backend is one running application.
type backend struct {
	name, role string

	// stopping is done when a polite shutdown begins. It ends streams that have no end of their own.
	stopping context.Context
	// sockets counts WebSockets, which http.Server.Shutdown does not wait for.
	sockets sync.WaitGroup
}

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
