package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

// withArrivalLog sends the X-Test-Id of every request to the arrival log, the UDP address in ARRIVAL_LOG, before it processes the
// request. The log shows which requests have arrived, and which have arrived twice, even at backends that have ended.
func withArrivalLog(next http.Handler) (http.Handler, error) {
	address := os.Getenv("ARRIVAL_LOG")
	if address == "" {
		return next, nil
	}
	log, err := net.Dial("udp", address)
	if err != nil {
		return nil, fmt.Errorf("open the arrival log: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.Header.Get("X-Test-Id"); id != "" {
			_, _ = log.Write([]byte(id)) // the log may have been closed
		}
		next.ServeHTTP(w, r)
	}), nil
}
