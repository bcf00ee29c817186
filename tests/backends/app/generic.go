package main

import (
	"fmt"
	"net/http"
)

// generic plays any application: it answers every path with its name.
func generic(b *backend) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "generic", b.name)
	})
}
