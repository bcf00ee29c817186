package demo

import (
	"embed"
	"net/http"
)

//go:embed docs
var docsFiles embed.FS

// newDocs serves a few pages of documentation. A path that doesn't exist is a real 404.
func newDocs() app {
	s := newSite(docsFiles, "docs", "/404.html", http.StatusNotFound)
	return app{service: "corteza-docs:80", name: "corteza-docs", handler: s, idleTimeout: nginxIdleTimeout}
}
