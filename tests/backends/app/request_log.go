package main

import (
	"fmt"
	"net/http"
	"time"
)

// withRequestLog prints a line for each request when it has ended.
func withRequestLog(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			fmt.Printf("%s %s %s %s %d %s\n", start.UTC().Format(time.RFC3339Nano), r.RemoteAddr, r.Method, r.RequestURI,
				rec.status, time.Since(start).Round(time.Microsecond))
		}()
		next.ServeHTTP(rec, r)
	})
}

// statusRecorder records the status of a response. Its Unwrap allows http.ResponseController to flush and to hijack.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader records the status, and sends it.
func (w *statusRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap returns the response writer for [http.ResponseController].
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
