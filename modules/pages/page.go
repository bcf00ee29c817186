package pages

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"strings"
)

//go:embed page.html
var source string

//go:embed page.css
var style string

var (
	page = template.Must(template.New("page").Parse(strings.Replace(source, "{{style}}", style, 1)))

	// policy lets a page have its own style, and nothing else.
	policy = "default-src 'none'; style-src 'sha256-" + hash(style) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func (f *failure) page(w io.Writer) error { return page.Execute(w, f) }

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}
