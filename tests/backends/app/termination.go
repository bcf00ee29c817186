package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// unavailableTime is how long a backend of the kind unavailable answers 503 before it exits.
const unavailableTime = 1500 * time.Millisecond

// termination handles SIGTERM and SIGINT. It does so before the boot, so that a backend can be stopped while it
// boots. ON_TERM is the kind of termination:
//
//	rude         exits at once
//	polite       finishes its requests and exits
//	deaf         ignores the signal and serves until SIGKILL
//	unavailable  answers 503 to every request, /_test/health included, and exits after unavailableTime
type termination struct {
	shutdown    atomic.Pointer[func()]
	unavailable atomic.Bool
}

// newTermination sets what the backend does on the first SIGTERM or SIGINT. A polite backend calls stop, and then the function of
// onShutdown.
func newTermination(kind string, stop func()) (*termination, error) {
	t := &termination{}
	var end func() (exitCode int)
	switch kind {
	case "rude":
		end = func() int { return 128 + int(syscall.SIGTERM) }
	case "polite":
		end = func() int {
			stop()
			if shutdown := t.shutdown.Load(); shutdown != nil {
				(*shutdown)()
			}
			return 0
		}
	case "deaf":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		return t, nil
	case "unavailable":
		end = func() int {
			t.unavailable.Store(true)
			time.Sleep(unavailableTime)
			return 0
		}
	default:
		return nil, fmt.Errorf("ON_TERM is %q, want rude, polite, deaf or unavailable", kind)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(end())
	}()
	return t, nil
}

// onShutdown sets what a polite backend does before the process exits.
func (t *termination) onShutdown(shutdown func()) { t.shutdown.Store(&shutdown) }

// wrap answers 503 to all requests that begin after the signal, if the kind is unavailable. The backend does not process them, so
// withArrivalLog must be behind it.
func (t *termination) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if t.unavailable.Load() {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}
