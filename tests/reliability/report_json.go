package main

import (
	"encoding/json"
	"io"
)

// writeJSON writes the report as JSON.
func writeJSON(w io.Writer, r *Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}
