package errorpages_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/html"

	"github.com/theworklabs/edge/internal/maintenance"
)

// allPages returns a failed request for each page.
func allPages() map[string]failedRequest {
	all := map[string]failedRequest{
		"down":               {err: httpError(503), downFor: "3 minutes"},
		"maintenance":        {err: caddyhttp.Error(503, &maintenance.Error{Message: "Back at noon.", RetryAfter: time.Hour})},
		"maintenance, plain": {err: caddyhttp.Error(503, &maintenance.Error{})},
		"503 of a POST":      {err: httpError(503), method: http.MethodPost},
		"299":                {err: httpError(299)}, // not an error status, but a configuration may set it
	}
	for status := 400; status < 600; status++ {
		all[strconv.Itoa(status)] = failedRequest{err: httpError(status), responseHeader: map[string]string{"Retry-After": "17"}}
	}
	return all
}

func TestEachPageIsWellFormedSmallAndSelfContained(t *testing.T) {
	for name, request := range allPages() {
		request.accept = browserAccept
		w := request.serve(t)
		text := w.Body.String()
		if len(text) > 4096 {
			t.Errorf("%s: %d bytes, want at most 4096", name, len(text))
		}
		if err := wellFormed(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		p := parsePage(t, text)
		if p.count["main"] != 1 || p.count["h1"] != 1 || p.count["title"] != 1 || p.count["footer"] != 1 || p.lang != "en" {
			t.Errorf("%s: got landmarks %v, lang %q", name, p.count, p.lang)
		}
		if p.text["h1"] == "" || !strings.Contains(p.text["title"], p.text["h1"]) || p.text["code"] != requestID {
			t.Errorf("%s: got the texts %q", name, p.text)
		}
		if len(p.externalRefs) > 0 {
			t.Errorf("%s: the page refers to %q, want nothing outside it", name, p.externalRefs)
		}
		if refreshes := w.Header().Get("Refresh") != ""; refreshes != (p.roles["status"] == 1) {
			t.Errorf("%s: refreshes is %t, roles are %v; want a status on pages that refresh only", name, refreshes, p.roles)
		}
		sum := sha256.Sum256([]byte(p.text["style"]))
		csp := w.Header().Get("Content-Security-Policy")
		if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(csp, want) || !strings.HasPrefix(csp, "default-src 'none'; ") {
			t.Errorf("%s: the policy %q does not allow the style, want %s", name, csp, want)
		}
	}
}

// voidElements are the elements without an end tag.
var voidElements = map[string]bool{"meta": true, "br": true}

// wellFormed returns an error if a start tag has no end tag, or tags are not nested.
func wellFormed(text string) error {
	var open []string
	for z := html.NewTokenizer(strings.NewReader(text)); ; {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF || len(open) > 0 {
				return fmt.Errorf("%v with %q open", z.Err(), open)
			}
			return nil
		case html.StartTagToken:
			if name, _ := z.TagName(); !voidElements[string(name)] {
				open = append(open, string(name))
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if len(open) == 0 || open[len(open)-1] != string(name) {
				return fmt.Errorf("</%s> with %q open", name, open)
			}
			open = open[:len(open)-1]
		case html.TextToken:
			if bare := strings.TrimSpace(string(z.Text())); bare != "" && (len(open) == 0 || open[len(open)-1] == "body") {
				return fmt.Errorf("%q is in no element", bare)
			}
		}
	}
}

// parsedPage is what the HTML parser finds in a page.
type parsedPage struct {
	lang         string
	count        map[string]int
	text         map[string]string // of the first element of each name
	roles        map[string]int
	externalRefs []string // elements and attributes that load or run something, and inline styles
}

func parsePage(t *testing.T, text string) parsedPage {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	p := parsedPage{count: map[string]int{}, text: map[string]string{}, roles: map[string]int{}}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		p.count[n.Data]++
		if p.count[n.Data] == 1 && n.FirstChild != nil {
			p.text[n.Data] = n.FirstChild.Data
		}
		switch n.Data {
		case "script", "link", "img", "iframe", "object", "base", "form":
			p.externalRefs = append(p.externalRefs, n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case n.Data == "html" && a.Key == "lang":
				p.lang = a.Val
			case a.Key == "role":
				p.roles[a.Val]++
			case a.Key == "src" || a.Key == "style" || strings.HasPrefix(a.Key, "on"):
				p.externalRefs = append(p.externalRefs, a.Key)
			}
		}
	}
	if style := p.text["style"]; strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		p.externalRefs = append(p.externalRefs, style)
	}
	return p
}

// TestTextContrastMeetsWCAG: WCAG 2.2, criterion 1.4.3 requires a contrast of 4.5.
func TestTextContrastMeetsWCAG(t *testing.T) {
	style := parsePage(t, failedRequest{accept: browserAccept, err: httpError(503)}.serve(t).Body.String()).text["style"]
	light, dark, found := strings.Cut(style, "prefers-color-scheme: dark")
	if !found || !strings.Contains(style, "color-scheme: light dark") {
		t.Fatal("the style has one colour scheme, want light and dark")
	}
	for _, text := range regexp.MustCompile(`[;{ ]color: ([^;} ]+)`).FindAllStringSubmatch(style, -1) {
		if !strings.HasPrefix(text[1], "var(--") && text[1] != "light" {
			t.Errorf("the colour %s is the same in both schemes, want a variable", text[1])
		}
	}
	for name, scheme := range map[string]map[string]float64{"light": parseLuminances(t, light), "dark": parseLuminances(t, dark)} {
		for _, pair := range [][2]string{
			{"text", "surface"}, {"accent", "surface"}, // in main
			{"text", "background"}, {"muted", "background"}, // in the footer
		} {
			if got := contrastRatio(scheme[pair[0]], scheme[pair[1]]); got < 4.5 {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want 4.5", name, pair[0], pair[1], got)
			} else {
				t.Logf("%s: %s on %s: %.2f", name, pair[0], pair[1], got)
			}
		}
	}
}

// parseLuminances returns the relative luminance of each colour that a style defines, by name. Of two definitions the first counts.
func parseLuminances(t *testing.T, style string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, m := range regexp.MustCompile(`--(\w+): #([0-9a-f]{6})`).FindAllStringSubmatch(style, -1) {
		rgb, err := strconv.ParseUint(m[2], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if _, again := all[m[1]]; !again {
			all[m[1]] = 0.2126*linearize(rgb>>16&255) + 0.7152*linearize(rgb>>8&255) + 0.0722*linearize(rgb&255)
		}
	}
	for _, name := range []string{"background", "surface", "text", "muted", "accent"} {
		if _, ok := all[name]; !ok {
			t.Fatalf("got no colour %s in %q", name, style)
		}
	}
	return all
}

func linearize(channel uint64) float64 {
	c := float64(channel) / 255
	if c <= 0.04045 {
		return c / 12.92
	}
	return math.Pow((c+0.055)/1.055, 2.4)
}

func contrastRatio(a, b float64) float64 { return (max(a, b) + 0.05) / (min(a, b) + 0.05) }

func TestAnimationRespectsPrefersReducedMotion(t *testing.T) {
	style := parsePage(t, failedRequest{accept: browserAccept, err: httpError(503)}.serve(t).Body.String()).text["style"]
	before, _, found := strings.Cut(style, "@media (prefers-reduced-motion: no-preference)")
	if !found || strings.Contains(before, "animation") || strings.Contains(before, "transition") {
		t.Errorf("the style animates for everybody:\n%s", style)
	}
}
