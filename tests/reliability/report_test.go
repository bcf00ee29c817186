package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/reliability/load"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// sampleReport is a report of two scenarios through two proxies.
func sampleReport() *Report {
	return &Report{
		Date: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Took: 90 * time.Second, Machine: "linux/amd64, 2 processors",
		Versions: []string{"Docker Engine 1"}, Effort: shortEffort, Proxies: []string{"edge", "nginx"},
		Scenarios: []Summary{
			{Name: "recreate", What: "It is recreated."},
			{Name: "dns", What: "It lies.", EdgeOnly: true},
			{Name: "empty", What: "It has no result."},
			{Name: "held", What: "Some are refused.", LossExpected: true},
		},
		Results: []Result{
			{
				Scenario: "recreate", Proxy: "edge",
				Methods:        map[string]load.Tally{"GET": {N: 200, Answered: 200}, "PUT": {N: 100, Answered: 100}, "POST": {N: 100, Answered: 99, Unknown: 1}},
				ControlMethods: map[string]load.Tally{"GET": {N: 50, Answered: 50}},
				Latency:        Timing{5, 1500, 2000}, Control: Timing{4, 9.5, 12}, Ratio: 157.9,
				Sockets: sockets.Tally{Opened: 10, Codes: map[int]int{1001: 10}}, ControlSockets: sockets.Tally{Opened: 10, Alive: 10, Codes: map[int]int{}},
				Recovery: 1800, Reasons: []string{"1 × POST unknown: EOF"}, Notes: []string{"a note"},
			},
			{Scenario: "recreate", Proxy: "nginx", Methods: map[string]load.Tally{"GET": {N: 200, Answered: 140, Refused: 60}}},
			{Scenario: "held", Proxy: "edge", Methods: map[string]load.Tally{"GET": {N: 77, Refused: 77}}},
			{Scenario: "dns: silence", Proxy: "edge", Methods: map[string]load.Tally{"GET": {N: 30, Answered: 29, Wrong: 1}}, Violations: []string{"1 of 30 was lost"}},
		},
		Idle: []IdleCost{
			{Proxy: "edge", Sockets: 3000, KiB: 8.04, Goroutines: 2},
			{Proxy: "edge", TLS: true, Sockets: 3000, KiB: 24.6, Goroutines: 4},
			{Proxy: "nginx", Sockets: 3000, KiB: 50},
		},
		Leftovers: []Leftover{{Proxy: "edge", GoroutinesBefore: 30, GoroutinesAfter: 90, FilesBefore: 12, FilesAfter: 12}},
		Failures:  []string{"slow start: no time"},
	}
}

func TestReportContainsAllResults(t *testing.T) {
	var out bytes.Buffer
	if err := writeMarkdown(&out, sampleReport()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- dns: silence: 1 of 30 was lost\n",
		"- slow start: no time\n",
		"- edge has 90 goroutines and 12 descriptors open, 30 and 12 before\n",
		"| recreate | 0 of 300 | 60 of 200 |\n",
		"| dns: silence | 1 of 30 |  |\n",
		"## Recreate\n\nIt is recreated.\n",
		"|  | edge | 0 of 300 | 1.00 % | 1 of 100 |  | POST 1 |  | 5.0 ms | 1.5 s | 2.0 s | 9.5 ms | 157.9 | 1.8 s | 10 of 20 (10 × 1001) |\n",
		"|  | nginx | 60 of 200 |  | 0 of 0 | GET 60 |",
		"- edge: a note\n",
		"- edge: 1 × POST unknown: EOF\n",
		"It lies. Only the edge takes part.\n",
		"| silence | edge | 1 of 30 |  | 0 of 0 |  |  | GET 1 |",
		"| edge | 8.0 | 24.6 | 2.0 | 4.0 |\n",
		"- an idle WebSocket takes 24.6 KiB over TLS, want at most 24\n",
		"- an idle WebSocket takes 4.0 goroutines over TLS, want at most 2\n",
		"| nginx | 50.0 |",
		"| edge | 30 | 90 | 12 | 12 |\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not contain %q", want)
		}
	}
	if strings.Contains(out.String(), "| held | 77 of 77") {
		t.Error("the overview has a scenario that is meant to lose requests")
	}
	if strings.Contains(out.String(), "## Empty") {
		t.Error("a scenario without a result has a table")
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestReportIsWrittenAsMarkdownAndJSON(t *testing.T) {
	dir := t.TempDir()
	if err := writeReports(dir, sampleReport()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "reliability.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if want := sampleReport(); !reflect.DeepEqual(back.Results[0].Methods, want.Results[0].Methods) || back.Took != want.Took {
		t.Errorf("%+v", back)
	}
	if _, err := os.Stat(filepath.Join(dir, "reliability.md")); err != nil {
		t.Error(err)
	}
	if err := writeReports(filepath.Join(dir, "nowhere"), sampleReport()); err == nil {
		t.Error("no error for a directory that does not exist")
	}
}

func TestMostFrequentLossReasonsComeFirst(t *testing.T) {
	r := &load.Record{}
	for _, detail := range []string{"a", "b", "b", "c", "d", "e", "f"} {
		r.Samples = append(r.Samples, load.Sample{Method: "GET", Outcome: load.Unknown, Detail: detail})
	}
	got := lossReasons(r)
	if len(got) != 5 || got[0] != "2 × GET unknown: b" {
		t.Errorf("%q", got)
	}
}
