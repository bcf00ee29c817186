package errorpages

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"strings"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

var (
	pageTemplate = template.Must(template.New("page").Parse(strings.Replace(pageSource, "{{style}}", pageStyle, 1)))

	// contentSecurityPolicy allows the page's own style, by its hash, and nothing else.
	contentSecurityPolicy = "default-src 'none'; style-src 'sha256-" + sha256Base64(pageStyle) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func (f *failure) writePage(w io.Writer) error { return pageTemplate.Execute(w, f) }

func sha256Base64(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}
