package demo

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// nginxIdleTimeout is how long the nginx images keep an idle connection.
const nginxIdleTimeout = 75 * time.Second

//go:embed webapp
var webAppFiles embed.FS

// newWebApp returns the accounting page. As in BigCapital, every unknown path is the page, with status 200, even one under
// /assets/.
func newWebApp() app {
	const index = "/index.html"
	s := newSite(webAppFiles, "webapp", index, http.StatusOK)
	// The edge calls assets immutable, because those of BigCapital have a hash in their name. These have theirs in the query.
	text := string(s.files[index].body)
	for urlPath, f := range s.files {
		if strings.HasPrefix(urlPath, "/assets/") {
			text = strings.ReplaceAll(text, `"`+urlPath+`"`, `"`+urlPath+"?v="+contentHash(f.body)+`"`)
		}
	}
	s.add(index, []byte(text))
	return app{service: "bigcapital-webapp:80", name: "bigcapital-webapp", handler: s, idleTimeout: nginxIdleTimeout}
}

//go:embed docs
var docsFiles embed.FS

// newDocs returns a few pages of documentation. A path that does not exist has status 404.
func newDocs() app {
	s := newSite(docsFiles, "docs", "/404.html", http.StatusNotFound)
	return app{service: "corteza-docs:80", name: "corteza-docs", handler: s, idleTimeout: nginxIdleTimeout}
}

// site serves embedded files as the applications' nginx does: with an ETag, without Cache-Control.
type site struct {
	files          map[string]file // by URL path
	fallback       string          // the path of the file for unknown paths
	fallbackStatus int             // the status that it is sent with
}

// file is one file of a site.
type file struct {
	name string // its extension determines the content type
	etag string
	body []byte
}

// newSite returns a site with the files of a folder. An index.html is also served at the path of its folder. It panics if a
// file cannot be read, since the files are part of the program.
func newSite(files fs.FS, folder, fallback string, fallbackStatus int) *site {
	s := &site{files: make(map[string]file), fallback: fallback, fallbackStatus: fallbackStatus}
	err := fs.WalkDir(files, folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		s.add(strings.TrimPrefix(name, folder), body)
		return nil
	})
	if err != nil {
		panic(err)
	}
	return s
}

// add serves body at a URL path, and replaces what was there.
func (s *site) add(urlPath string, body []byte) {
	f := file{name: path.Base(urlPath), etag: `"` + contentHash(body) + `"`, body: body}
	s.files[urlPath] = f
	if f.name == "index.html" {
		s.files[strings.TrimSuffix(urlPath, f.name)] = f
	}
}

// ServeHTTP implements [http.Handler].
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	f, found := s.files[r.URL.Path]
	if !found {
		f = s.files[s.fallback]
	}
	if !found && s.fallbackStatus != http.StatusOK {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(s.fallbackStatus)
		_, _ = w.Write(f.body)
		return
	}
	w.Header().Set("ETag", f.etag)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.body))
}

// contentHash returns a short hash of the content, in hexadecimal.
func contentHash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}
