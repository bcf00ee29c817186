package demo

import (
	"embed"
	"net/http"
	"strings"
	"time"
)

//go:embed webapp
var webAppFiles embed.FS

// nginxIdleTimeout is how long the nginx images keep an idle connection.
const nginxIdleTimeout = 75 * time.Second

// newWebApp serves the accounting page. As in the real one, every unknown path is the page, with 200, even one under /assets/.
func newWebApp() app {
	const index = "/index.html"
	s := newSite(webAppFiles, "webapp", index, http.StatusOK)
	// An edge calls assets immutable, because the real ones have a digest in their name. These have theirs in the query.
	text := string(s.pages[index].body)
	for at, p := range s.pages {
		if strings.HasPrefix(at, "/assets/") {
			text = strings.ReplaceAll(text, `"`+at+`"`, `"`+at+"?v="+contentHash(p.body)+`"`)
		}
	}
	s.add(index, []byte(text))
	return app{service: "bigcapital-webapp:80", name: "bigcapital-webapp", handler: s, idleTimeout: nginxIdleTimeout}
}
