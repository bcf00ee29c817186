package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
)

// site is an HTTP role.
type site struct {
	network string // "tcp", or "tcp4" if the real application listens only on IPv4
	port    string
	handler func(*backend) http.Handler
	boot    func(next http.Handler) http.Handler // answers while the role boots; may be nil
}

var sites = map[string]site{
	"webapp":    {network: "tcp4", port: port("PORT", "80"), handler: webapp},
	"corteza":   {network: "tcp", port: port("PORT", "80"), handler: corteza, boot: cortezaBooting},
	"docs":      {network: "tcp", port: port("PORT", "80"), handler: docs},
	"gotenberg": {network: "tcp", port: port("API_PORT", "3000"), handler: gotenberg},
	"generic":   {network: "tcp", port: port("PORT", "8080"), handler: generic},
}

func port(variable, byDefault string) string { return cmp.Or(os.Getenv(variable), byDefault) }

// generic stands in for any application: it answers every path with its name.
func generic(b *backend) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "generic", b.name)
	})
}

// docs stands in for corteza-docs: static pages, and 404 for missing ones.
func docs(*backend) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !servePage(w, r, "docs", r.URL.Path) {
			http.NotFound(w, r)
		}
	})
}

// webapp stands in for bigcapital-webapp: every path without a file gets index.html with 200, even a missing asset.
func webapp(*backend) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !servePage(w, r, "webapp", r.URL.Path) {
			servePage(w, r, "webapp", "index.html")
		}
	})
}

// gotenberg stands in for bigcapital-gotenberg. It has only the health check.
func gotenberg(*backend) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			http.NotFound(w, r)
			return
		}
		writeJSON(w, map[string]string{"status": "up"})
	})
}

//go:embed site
var pages embed.FS

// servePage answers with an embedded page as nginx does: with an ETag, conditional and range requests, and without Cache-Control. The
// name of a directory means its index.html. If there is no such page, servePage writes nothing and returns false.
func servePage(w http.ResponseWriter, r *http.Request, root, name string) bool {
	if strings.HasSuffix(name, "/") {
		name += "index.html"
	}
	name = path.Join("site", root, path.Clean("/"+name))
	content, err := fs.ReadFile(pages, name)
	if err != nil {
		return false
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%.8x"`, sha256.Sum256(content)))
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	return true
}
