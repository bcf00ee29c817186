package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/theworklabs/edge/tests/reliability/load"
)

const markdown = `# Reliability

Written by ` + "`make reliability`" + ` on {{ .Date.Format "2006-01-02" }}, in {{ minutes .Took }}, on {{ .Machine }}. How it is measured, and how to run it against another
proxy, is in [tests/reliability](../tests/reliability/README.md). The same numbers, and more, are in [reliability.json](reliability.json).

{{ range .Versions }}- {{ . }}
{{ end }}
{{ .Effort.Rate }} requests a second went to the service by way of each proxy, all of them in the same seconds, and half as many to a service that was left
alone, the control. Each takes 40 ms to answer; half of them are GET, an eighth each PUT and DELETE, a quarter POST.

- *n*: how many requests. *Lost*: not answered by the application. *≤*: with none lost of n, the part that is lost is below 3/n, with
  a confidence of 95 %.
- *Refused*: before anything was sent. *Unknown*: sent, and then cut, timed out, or answered with 502 or 504: whether the
  application acted on it, the client can't tell. *Wrong*: answered by somebody else.
- *Ratio*: of p99 to the control's. *Recovered*: from the first request that was lost or took over a second until the end of the
  last such one. *Sockets*: WebSockets to both services, with the codes that they were closed with.
{{ if .Violations }}
## Not kept

What the edge promises, and did not keep in this run:

{{ range .Violations }}- {{ . }}
{{ end }}{{ end }}
## Overview

Idempotent requests lost, of all that were sent:

| scenario |{{ range .Proxies }} {{ . }} |{{ end }}
|---|{{ range .Proxies }}---|{{ end }}
{{ range overview . }}| {{ join . " | " }} |
{{ end }}
{{- range .Scenarios }}{{ $results := results $ .Name }}{{ if $results }}
## {{ title .Name }}

{{ .What }}{{ if .EdgeOnly }} Only an edge has what this takes.{{ end }}

| | proxy | idempotent: lost of n | ≤ | POST: lost of n | refused | unknown | wrong | p50 | p99 | max | control's p99 | ratio | recovered | sockets lost |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
{{ range $results }}{{ row . }}
{{ end }}{{ range $results }}{{ $proxy := .Proxy }}{{ range .Notes }}
- {{ $proxy }}: {{ . }}{{ end }}{{ range .Reasons }}
- {{ $proxy }}: {{ . }}{{ end }}{{ end }}
{{ end }}{{ end }}
{{- if .Idle }}
## Idle WebSockets

Memory of the proxy's processes (proportional set size) for each of {{ (index .Idle 0).Sockets }} WebSockets that stay idle, with access log and, in Caddy and the edge, metrics.
What the kernel keeps for their connections comes on top, and is alike for all.

| proxy | plain, KiB | TLS, KiB | goroutines: plain | TLS |
|---|---|---|---|---|
{{ range idle . }}| {{ join . " | " }} |
{{ end }}{{ end }}
{{- if .Leftovers }}
## Left behind

Before the scenarios, and idle again after those that leave the proxy running:

| proxy | goroutines before | after | descriptors before | after |
|---|---|---|---|---|
{{ range .Leftovers }}| {{ .Proxy }} | {{ .GoroutinesBefore }} | {{ .GoroutinesAfter }} | {{ .FilesBefore }} | {{ .FilesAfter }} |
{{ end }}{{ end }}`

// writeMarkdown writes the report for people.
func writeMarkdown(w io.Writer, r *Report) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"join": strings.Join, "row": tableRow, "overview": overview, "results": resultsOf, "idle": idleRows,
		"minutes": func(d fmt.Stringer) string { return d.String() },
		"title":   func(s string) string { return strings.ToUpper(s[:1]) + s[1:] },
	}).Parse(markdown)
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}

// resultsOf returns the results of a scenario; those of one that has several parts are named "scenario: part".
func resultsOf(r *Report, scenario string) (all []Result) {
	for _, result := range r.Results {
		if result.Scenario == scenario || strings.HasPrefix(result.Scenario, scenario+": ") {
			all = append(all, result)
		}
	}
	return all
}

func overview(r *Report) (rows [][]string) {
	cells := make(map[string]map[string]string)
	var order []string
	apart := make(map[string]bool)
	for _, s := range r.Scenarios {
		apart[s.Name] = s.LossExpected
	}
	for _, result := range r.Results {
		if apart[result.Scenario] {
			continue
		}
		if cells[result.Scenario] == nil {
			cells[result.Scenario] = make(map[string]string)
			order = append(order, result.Scenario)
		}
		t := result.Idempotent()
		cells[result.Scenario][result.Proxy] = fmt.Sprintf("%d of %d", t.Lost(), t.N)
	}
	for _, scenario := range order {
		row := []string{scenario}
		for _, p := range r.Proxies {
			row = append(row, cells[scenario][p])
		}
		rows = append(rows, row)
	}
	return rows
}

// tableRow is a result as a row of its scenario's table.
func tableRow(r Result) string {
	idempotent, post := r.Idempotent(), r.Post()
	limit := ""
	if idempotent.Lost() == 0 && idempotent.N > 0 {
		limit = fmt.Sprintf("%.2f %%", 100*lossBound(idempotent.N))
	}
	_, part, _ := strings.Cut(r.Scenario, ": ")
	return "| " + strings.Join([]string{
		part, r.Proxy, fmt.Sprintf("%d of %d", idempotent.Lost(), idempotent.N), limit, fmt.Sprintf("%d of %d", post.Lost(), post.N),
		byMethod(r, func(t load.Tally) int { return t.Refused }), byMethod(r, func(t load.Tally) int { return t.Unknown }),
		byMethod(r, func(t load.Tally) int { return t.Wrong }),
		ms(r.Latency.P50), ms(r.Latency.P99), ms(r.Latency.Max), ms(r.Control.P99), fmt.Sprintf("%.1f", r.Ratio), ms(r.Recovery), lostSockets(r),
	}, " | ") + " |"
}

// byMethod writes what is counted for each method that has any: "GET 3, POST 1".
func byMethod(r Result, count func(load.Tally) int) string {
	var parts []string
	for _, method := range slices.Sorted(maps.Keys(r.Methods)) {
		if n := count(r.Methods[method]); n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", method, n))
		}
	}
	return strings.Join(parts, ", ")
}

// lostSockets writes how many WebSockets ended, and their close codes.
func lostSockets(r Result) string {
	text := fmt.Sprintf("%d of %d", r.Sockets.Lost()+r.ControlSockets.Lost(), r.Sockets.Opened+r.ControlSockets.Opened)
	codes := maps.Clone(r.Sockets.Codes)
	for code, n := range r.ControlSockets.Codes {
		if codes == nil {
			codes = make(map[int]int)
		}
		codes[code] += n
	}
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		parts = append(parts, fmt.Sprintf("%d × %d", codes[code], code))
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

func idleRows(r *Report) (rows [][]string) {
	for _, p := range r.Proxies {
		row := []string{p, "", "", "", ""}
		for _, cost := range r.Idle {
			if cost.Proxy != p {
				continue
			}
			column := 1
			if cost.TLS {
				column = 2
			}
			row[column] = fmt.Sprintf("%.1f", cost.KiB)
			if cost.Goroutines > 0 {
				row[column+2] = fmt.Sprintf("%.1f", cost.Goroutines)
			}
		}
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	return rows
}

// ms writes milliseconds as people read them.
func ms(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 1, 64) + " ms"
	case v < 1000:
		return strconv.FormatFloat(v, 'f', 0, 64) + " ms"
	default:
		return strconv.FormatFloat(v/1000, 'f', 1, 64) + " s"
	}
}

// plural writes a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
