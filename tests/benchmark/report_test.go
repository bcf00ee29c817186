package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReportShowsMediansAndRatios(t *testing.T) {
	r := &Report{Proxies: []string{"edge", "caddy", "nginx"}, Versions: []string{"edge: 1"}, Failures: []string{"it broke"}}
	c := benchCase{group: small, name: "GET"}
	r.Cases = []Summary{{small, "GET"}, {small, "PUT"}}
	for _, value := range []float64{30, 10, 20} {
		r.add(c, "edge", values{processor: value})
	}
	r.add(c, "caddy", values{processor: 80})
	r.add(c, "caddy", values{processor: 120.4})
	var text bytes.Buffer
	if err := writeMarkdown(&text, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| GET | 20.0 (10.0–30.0) | 100 (80.0–120) | – | 0.20 |", "- it broke", "- edge: 1", "## Small requests", "benchmark/small.svg"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &text)
		}
	}
	for _, unwanted := range []string{"PUT", "## Memory"} {
		if strings.Contains(text.String(), unwanted) {
			t.Errorf("%q has not been measured, and is in\n%s", unwanted, &text)
		}
	}
}

// TestTheReportIsCurrent: docs/benchmark.md and the plots are what `go run ./tests/benchmark --again` writes.
func TestTheReportIsCurrent(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	r, err := readReport(filepath.Join(docs, "benchmark.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := writeReports(dir, r); err != nil {
		t.Fatal(err)
	}
	files := []string{"benchmark.md", "benchmark.json"}
	for name := range r.plots() {
		files = append(files, filepath.Join("benchmark", name+".svg"))
	}
	for _, file := range files {
		want, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(docs, file)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not current (%v): run go run ./tests/benchmark --again", file, err)
		}
	}
}

func TestReportsThatCannotBeWritten(t *testing.T) {
	if err := writeReports(filepath.Join(t.TempDir(), "none"), new(Report)); err == nil {
		t.Error("a directory that does not exist: no error")
	}
	file := filepath.Join(t.TempDir(), "benchmark.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readReport(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("half a report: %v", err)
	}
}
