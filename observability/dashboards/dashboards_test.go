package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// TestTheFilesAreCurrent: go run ./observability/dashboards
func TestTheFilesAreCurrent(t *testing.T) {
	want := make(map[string]bool)
	for _, b := range boards() {
		text, err := b.json()
		if err != nil {
			t.Fatal(err)
		}
		want[b.file()] = true
		file, err := os.ReadFile(filepath.Join("..", "..", output, b.file()))
		if err != nil || !bytes.Equal(file, text) {
			t.Errorf("%s is not what the program writes (%v): go run ./observability/dashboards", b.file(), err)
		}
	}
	files, err := filepath.Glob(filepath.Join("..", "..", output, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !want[filepath.Base(file)] {
			t.Errorf("%s is of no dashboard", file)
		}
	}
}

// TestGrafanaKnowsEachField: the schema of its kinds refuses unknown and missing ones.
func TestGrafanaKnowsEachField(t *testing.T) {
	for _, b := range boards() {
		text, err := b.json()
		if err != nil {
			t.Fatal(err)
		}
		if err := checkSchema(text); err != nil {
			t.Errorf("%s: %v", b.title, err)
		}
		if err := checkSchema(bytes.Replace(text, []byte(`"title"`), []byte(`"tittle"`), 1)); err == nil {
			t.Errorf("%s: a field that Grafana does not know is accepted", b.title)
		}
	}
}

// checkSchema returns what Grafana's schema refuses.
func checkSchema(text []byte) error {
	var d dashboard.Dashboard //lint:ignore SA1019 as in board.go
	err := d.UnmarshalJSONStrict(text)
	if problems, ok := errors.AsType[cog.BuildErrors](err); ok && len(problems) == 0 {
		return nil // a list of no errors is what the SDK means by none
	}
	return err
}

// TestPanelsDoNotOverlap, and each says what it shows.
func TestPanelsDoNotOverlap(t *testing.T) {
	for _, b := range boards() {
		text, err := b.json()
		if err != nil {
			t.Fatal(err)
		}
		var laidOut struct {
			Panels []struct {
				Title   string
				GridPos struct{ X, Y, W, H int }
				Targets []struct{ Expr, LegendFormat string }
			}
		}
		if err := json.Unmarshal(text, &laidOut); err != nil {
			t.Fatal(err)
		}
		taken := make(map[[2]int]string)
		for _, p := range laidOut.Panels {
			if p.Title == "" || p.GridPos.X+p.GridPos.W > columns {
				t.Errorf("%s: %+v has no title, or is too wide", b.title, p)
			}
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" {
						t.Fatalf("%s: %s is on %s", b.title, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			for _, target := range p.Targets {
				if !b.hasServices && strings.Contains(target.Expr, "$service") {
					t.Errorf("%s: %s uses $service, which it does not have", b.title, p.Title)
				}
			}
		}
	}
}
