package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func TestPlotsAreWellFormed(t *testing.T) {
	for _, p := range []Plot{
		{Title: "Bars & <more>", Unit: "µs", Labels: []string{"GET, HTTP/1.1", "POST"}, Series: []Series{{"edge", []float64{10, math.NaN()}}, {"other", []float64{35, 0}}}},
		{Title: "Lines", Unit: "µs", Labels: []string{"1", "2", "3"}, Lines: true, Series: []Series{{"edge", []float64{1, 2, math.NaN()}}}},
		{Title: "Nothing", Labels: []string{"1"}, Series: []Series{{"edge", []float64{0}}}},
	} {
		var svg bytes.Buffer
		if err := p.Write(&svg); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(svg.String(), "NaN") || strings.Contains(svg.String(), "Inf") {
			t.Errorf("%s: %s", p.Title, &svg)
		}
		d := xml.NewDecoder(&svg)
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", p.Title, err)
			}
		}
	}
}

func TestScalesHaveRoundSteps(t *testing.T) {
	for least, want := range map[float64]float64{0: 1, 0.7: 1, 1: 1, 1.1: 2, 4: 5, 6: 10, 43: 50, 120: 200} {
		if got := niceStep(least); got != want {
			t.Errorf("%g: %g, want %g", least, got, want)
		}
	}
}
