package main

import "net/http"

// webapp plays bigcapital-webapp: every path that is no file gets index.html with 200, missing assets too.
func webapp(*backend) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !servePage(w, r, "webapp", r.URL.Path) {
			servePage(w, r, "webapp", "index.html")
		}
	})
}
