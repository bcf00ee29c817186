package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// site serves embedded files as the applications' nginx does: with an ETag, without Cache-Control.
type site struct {
	pages          map[string]page // by URL path
	fallback       string          // the path of the page for those that don't exist
	fallbackStatus int             // and with which status it is sent
}

// page is one file.
type page struct {
	name string // its extension decides the content type
	etag string
	body []byte
}

// newSite takes the files of a folder; an index.html is also its folder's own path.
// The files are part of the binary, so one that can't be read is a defect of the build.
func newSite(files fs.FS, folder, orElse string, status int) *site {
	s := &site{pages: make(map[string]page), fallback: orElse, fallbackStatus: status}
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

// add serves body at a path, in place of what was there.
func (s *site) add(at string, body []byte) {
	p := page{name: path.Base(at), etag: `"` + contentHash(body) + `"`, body: body}
	s.pages[at] = p
	if p.name == "index.html" {
		s.pages[strings.TrimSuffix(at, p.name)] = p
	}
}

// ServeHTTP implements http.Handler.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	p, found := s.pages[r.URL.Path]
	if !found {
		p = s.pages[s.fallback]
	}
	if !found && s.fallbackStatus != http.StatusOK {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(s.fallbackStatus)
		_, _ = w.Write(p.body)
		return
	}
	w.Header().Set("ETag", p.etag)
	http.ServeContent(w, r, p.name, time.Time{}, bytes.NewReader(p.body))
}

// contentHash is short, and other for other content.
func contentHash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}
