package main

import "net/http"

// gotenberg plays bigcapital-gotenberg as far as its health check goes.
func gotenberg(*backend) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			http.NotFound(w, r)
			return
		}
		writeJSON(w, map[string]string{"status": "up"})
	})
}
