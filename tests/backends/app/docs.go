package main

import "net/http"

// docs plays corteza-docs: static pages, and a real 404 for what isn't there.
func docs(*backend) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !servePage(w, r, "docs", r.URL.Path) {
			http.NotFound(w, r)
		}
	})
}
