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
The suite sent {{ .Effort.Rate }} requests a second to the service through each proxy, through all proxies at the same time, and half as many to a second service, the
control, which it left alone. A response takes 40 ms. Half of the requests are GET, an eighth each PUT and DELETE, a quarter POST.

- *n*: the number of requests. *Lost*: not answered by the application. *≤*: if none of n is lost, less than 3/n of the requests are
  lost, with a confidence of 95 %.
- *Refused*: the request did not reach the application. *Unknown*: the request was sent, and then the connection was closed, the time
  was over, or the proxy answered 502 or 504; the client cannot know whether the application acted on it. *Wrong*: any other response.
- *Ratio*: p99 divided by that of the control. *Recovered*: the time from the first request that was lost or took more than a second
  until the end of the last one. *Sockets*: WebSockets to both services, with their close codes.
{{ if .Violations }}
## Broken promises

What the edge promises, and has not kept in this run:

{{ range .Violations }}- {{ . }}
{{ end }}{{ end }}
## Overview

Lost idempotent requests, of all idempotent requests:

| scenario |{{ range .Proxies }} {{ . }} |{{ end }}
|---|{{ range .Proxies }}---|{{ end }}
{{ range overview . }}| {{ join . " | " }} |
{{ end }}
{{- range .Scenarios }}{{ $results := results $ .Name }}{{ if $results }}
## {{ title .Name }}

{{ .What }}{{ if .EdgeOnly }} Only the edge takes part.{{ end }}

| | proxy | idempotent: lost of n | ≤ | POST: lost of n | refused | unknown | wrong | p50 | p99 | max | control's p99 | ratio | recovered | sockets lost |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
{{ range $results }}{{ row . }}
{{ end }}{{ range $results }}{{ $proxy := .Proxy }}{{ range .Notes }}
- {{ $proxy }}: {{ . }}{{ end }}{{ range .Reasons }}
- {{ $proxy }}: {{ . }}{{ end }}{{ end }}
{{ end }}{{ end }}
{{- if .Idle }}
## Idle WebSockets

Memory of the proxy's processes (proportional set size) for each of {{ (index .Idle 0).Sockets }} idle WebSockets, with access log and, in Caddy and the edge, metrics.
The memory that the kernel needs for their connections is not included; it is the same for all proxies.

| proxy | plain, KiB | TLS, KiB | goroutines: plain | TLS |
|---|---|---|---|---|
{{ range idle . }}| {{ join . " | " }} |
{{ end }}{{ end }}
{{- if .Leftovers }}
## Leaks

Before the scenarios, and when the proxy is idle again after the scenarios that do not restart it:

| proxy | goroutines before | after | descriptors before | after |
|---|---|---|---|---|
{{ range .Leftovers }}| {{ .Proxy }} | {{ .GoroutinesBefore }} | {{ .GoroutinesAfter }} | {{ .FilesBefore }} | {{ .FilesAfter }} |
{{ end }}{{ end }}`

// writeMarkdown writes the report for readers.
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

// resultsOf returns the results of a scenario. Those of a scenario with several parts are named "scenario: part".
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
	isLossExpected := make(map[string]bool)
	for _, s := range r.Scenarios {
		isLossExpected[s.Name] = s.LossExpected
	}
	for _, result := range r.Results {
		if isLossExpected[result.Scenario] {
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

// tableRow returns a result as a row of its scenario's table.
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

// byMethod returns the counts that are not 0: "GET 3, POST 1".
func byMethod(r Result, count func(load.Tally) int) string {
	var parts []string
	for _, method := range slices.Sorted(maps.Keys(r.Methods)) {
		if n := count(r.Methods[method]); n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", method, n))
		}
	}
	return strings.Join(parts, ", ")
}

// lostSockets returns how many WebSockets ended, and their close codes.
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

// ms formats milliseconds for readers.
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

// plural returns a number with a noun.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
