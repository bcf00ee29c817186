// Package plot draws bars and lines as SVG, for light and dark pages.
package plot

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Plot has a value for each series at each label.
type Plot struct {
	Title  string
	Unit   string
	Labels []string // along the bottom
	Series []Series
	// Lines draws a line for each series instead of bars.
	Lines bool
}

// Series are the values of one colour. NaN: there is none.
type Series struct {
	Name   string
	Values []float64
}

// The size of a plot, and of its margins.
const (
	width, height            = 860, 380
	left, right, top, bottom = 60, 20, 70, 70
)

// The colours differ in brightness, too.
var colours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"}

// Write writes the plot.
func (p Plot) Write(w io.Writer) error {
	b := new(strings.Builder)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(b, "<title>%s</title>\n", html.EscapeString(p.Title))
	b.WriteString("<style>text{fill:#222}line{stroke:#8886}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>\n")
	fmt.Fprintf(b, `<text x="%d" y="22" font-size="16">%s</text>`+"\n", left, html.EscapeString(p.Title+", "+p.Unit))
	p.legend(b)
	top := p.axis(b)
	if p.Lines {
		p.lines(b, top)
	} else {
		p.bars(b, top)
	}
	p.labels(b)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (p Plot) legend(b *strings.Builder) {
	for i, s := range p.Series {
		x := left + i*110
		fmt.Fprintf(b, `<rect x="%d" y="36" width="12" height="12" fill="%s"/><text x="%d" y="47">%s</text>`+"\n", x, colour(i), x+18, html.EscapeString(s.Name))
	}
}

// axis draws the lines of the scale, and returns the value at its end.
func (p Plot) axis(b *strings.Builder) float64 {
	end := 0.0
	for _, s := range p.Series {
		for _, v := range s.Values {
			if !math.IsNaN(v) {
				end = max(end, v)
			}
		}
	}
	step := niceStep(end / 5)
	end = max(math.Ceil(end/step), 1) * step
	for v := 0.0; v <= end+step/2; v += step {
		y := yOf(v, end)
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n", left, y, width-right, y, left-8, y+4, v)
	}
	return end
}

// niceStep returns the first of 1, 2, 5, 10, 20 … that is not smaller.
func niceStep(least float64) float64 {
	if least <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= least {
			return factor * power
		}
	}
	return 10 * power
}

func (p Plot) bars(b *strings.Builder, end float64) {
	slot := p.slot()
	bar := slot * 0.8 / float64(len(p.Series))
	for i, s := range p.Series {
		for j, v := range s.Values {
			if math.IsNaN(v) {
				continue
			}
			x, y := left+slot*(float64(j)+0.1)+bar*float64(i), yOf(v, end)
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>%s, %s: %.4g %s</title></rect>`+"\n",
				x, y, bar*0.92, float64(height-bottom)-y, colour(i), html.EscapeString(s.Name), html.EscapeString(p.Labels[j]), v, html.EscapeString(p.Unit))
		}
	}
}

func (p Plot) lines(b *strings.Builder, end float64) {
	for i, s := range p.Series {
		var points []string
		for j, v := range s.Values {
			if math.IsNaN(v) {
				continue
			}
			x, y := left+p.slot()*(float64(j)+0.5), yOf(v, end)
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>%s, %s: %.4g %s</title></circle>`+"\n",
				x, y, colour(i), html.EscapeString(s.Name), html.EscapeString(p.Labels[j]), v, html.EscapeString(p.Unit))
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour(i))
	}
}

// labels writes what the values belong to; long ones have a line for each part.
func (p Plot) labels(b *strings.Builder) {
	for j, label := range p.Labels {
		x := left + p.slot()*(float64(j)+0.5)
		for i, line := range strings.Split(label, ", ") {
			fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" font-size="11">%s</text>`+"\n", x, height-bottom+18+14*i, html.EscapeString(line))
		}
	}
}

func (p Plot) slot() float64 { return float64(width-left-right) / float64(len(p.Labels)) }

func yOf(v, end float64) float64 { return float64(height-bottom) - v/end*float64(height-top-bottom) }

func colour(i int) string { return colours[i%len(colours)] }
