package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed site
var pages embed.FS

// servePage answers with the embedded page of that name as nginx does: an ETag, conditional and range requests, no
// Cache-Control. A folder means its index.html. It reports false, having written nothing, when there is no such page.
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
