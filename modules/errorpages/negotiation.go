package errorpages

import (
	"net/http"
	"strconv"
	"strings"
)

// prefersHTML reports whether a request's answer is for a person to read: the client accepts HTML by name (RFC 9110 section
// 12.5.1), as browsers do for what they show, and likes JSON no better. Scripts and programs accept anything, or JSON.
func prefersHTML(h http.Header) bool {
	var html, json float64
	for _, line := range h["Accept"] {
		for entry := range strings.SplitSeq(line, ",") {
			kind, params, _ := strings.Cut(entry, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "text/html", "application/xhtml+xml":
				html = max(html, quality(params))
			case "application/json", "application/problem+json":
				json = max(json, quality(params))
			}
		}
	}
	return html > 0 && html >= json && h.Get("X-Requested-With") == ""
}

// quality returns the weight among the parameters of a kind; 1 without one, 0 for one that is none.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}
