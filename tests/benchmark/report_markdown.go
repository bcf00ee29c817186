package main

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"
)

const markdown = `# Benchmark

Written by ` + "`make benchmark`" + ` on {{ .Date.Format "2006-01-02" }}, in {{ minutes .Took }}, on a machine with {{ .Machine }}. The numbers of all rounds are in
[benchmark.json](benchmark.json).

{{ range .Versions }}- {{ . }}
{{ end }}
The proxies run at the same time, as containers in the network of the machine, in front of one backend, a program in Go. The load comes from the
same machine, so that requests per second say little, and the processor time that the proxy's processes use for each request says more. Each
measurement takes {{ .Effort.Time }} after a warm-up of {{ .Effort.Warmup }}, one proxy after the other, in {{ .Effort.Rounds }} rounds: the tables have medians, and the smallest and
the largest value. Machines differ, and so do runs: compare the numbers of one row.

The proxies have their usual settings ([tests/benchmark/proxies](../tests/benchmark/proxies)), without access logs, except where a row says so. nginx and HAProxy of
Debian 12 have no HTTP/3. To measure another proxy, or on another machine, see ` + "`go run ./tests/benchmark --help`" + `.
{{ if .Failures }}
These measurements failed, and are not part of the tables:

{{ range .Failures }}- {{ . }}
{{ end }}{{ end }}
{{ .Notes }}
{{ range .Tables }}
## {{ .Title }}

{{ .What }}
{{ if .Plot }}
![{{ .PlotText }}](benchmark/{{ .Plot }}.svg)
{{ end }}
{{ range .Parts }}In {{ .Quantity }}:

| |{{ range $.Proxies }} {{ . }} |{{ end }}{{ if .HasRatio }} edge ÷ caddy |{{ end }}
|---|{{ range $.Proxies }}---|{{ end }}{{ if .HasRatio }}---|{{ end }}
{{ range .Rows }}| {{ join . " | " }} |
{{ end }}
{{ end }}{{ end }}`

//go:embed notes.md
var notes string

// table is a group of cases in the report.
type table struct {
	Title, What, Plot, PlotText string
	Parts                       []part
}

// part has the numbers of one quantity.
type part struct {
	Quantity string
	HasRatio bool
	Rows     [][]string
}

// groups are the tables, in their order.
var groups = []struct{ group, what, plot, plotText string }{
	{small, "64 connections, each of which sends one request after the other.", "small", "Processor time of small requests"},
	{large, "16 connections for 100 KB, 4 for 10 MB.", "", ""},
	{connections, "GET 1 KB over HTTP/1.1, by the number of connections.", "connections", "Processor time by the number of connections"},
	{endpoints, "GET 1 KB over HTTP/1.1, by the number of endpoints of the service.", "", ""},
	{latency, "GET 1 KB over HTTP/1.1, by requests a second that are sent whether or not those before have their response, so that what waits counts.", "latency", "p99 by the rate"},
	{idle, "Memory of the proxy's processes (proportional set size) for each connection, without the kernel's.", "memory", "Memory for each connection"},
}

// writeMarkdown writes the report for readers.
func writeMarkdown(w io.Writer, r *Report) error {
	t, err := template.New("").Funcs(template.FuncMap{
		"minutes": func(d time.Duration) string { return fmt.Sprintf("%.0f minutes", d.Minutes()) },
		"join":    strings.Join,
	}).Parse(markdown)
	if err != nil {
		return err
	}
	text := new(strings.Builder)
	if err := t.Execute(text, struct {
		*Report
		Notes  string
		Tables []table
	}{r, strings.TrimSpace(notes), r.tables()}); err != nil {
		return err
	}
	_, err = io.WriteString(w, strings.TrimSpace(text.String())+"\n")
	return err
}

func (r *Report) tables() (all []table) {
	for _, g := range groups {
		t := table{Title: g.group, What: g.what, Plot: g.plot, PlotText: g.plotText}
		for _, quantity := range quantities {
			if p := r.part(g.group, quantity); len(p.Rows) > 0 {
				t.Parts = append(t.Parts, p)
			}
		}
		if len(t.Parts) > 0 {
			all = append(all, t)
		}
	}
	return all
}

// part returns the numbers of one quantity of a group.
func (r *Report) part(group, quantity string) part {
	p := part{Quantity: quantity, HasRatio: slices.Contains(r.Proxies, "edge") && slices.Contains(r.Proxies, "caddy")}
	for _, name := range r.names(group) {
		row, isMeasured := []string{name}, false
		for _, proxy := range r.Proxies {
			result := r.find(group, name, proxy, quantity)
			if result == nil {
				row = append(row, "–")
				continue
			}
			isMeasured = true
			row = append(row, result.String())
		}
		if !isMeasured {
			continue
		}
		if p.HasRatio {
			row = append(row, r.ratio(group, name, quantity))
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// ratio is the edge's median divided by that of stock Caddy.
func (r *Report) ratio(group, name, quantity string) string {
	edge, caddy := r.find(group, name, "edge", quantity), r.find(group, name, "caddy", quantity)
	if edge == nil || caddy == nil || caddy.Median() == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", edge.Median()/caddy.Median())
}

// String returns the median and the range.
func (r Result) String() string {
	text := number(r.Median())
	if len(r.Rounds) > 1 {
		text += fmt.Sprintf(" (%s–%s)", number(slices.Min(r.Rounds)), number(slices.Max(r.Rounds)))
	}
	return text
}

// number returns three digits, or all before the point.
func number(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
