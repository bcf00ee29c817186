package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/theworklabs/edge/tests/benchmark/plot"
)

// plots returns the plots of a report, by the names of their files.
func (r *Report) plots() map[string]plot.Plot {
	all := make(map[string]plot.Plot)
	for _, p := range []struct {
		name, title, group, quantity string
		lines                        bool
	}{
		{"small", "Small requests", small, processor, false},
		{"connections", "GET 1 KB by connections", connections, processor, true},
		{"latency", "GET 1 KB by requests a second: p99", latency, p99, true},
		{"memory", "Connections on which nothing happens", idle, memory, false},
	} {
		names := r.names(p.group)
		if p.lines { // whose axis is a number
			names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, err := strconv.Atoi(name); return err != nil })
		}
		if len(names) == 0 {
			continue
		}
		drawn := plot.Plot{Title: p.title, Unit: unit(p.quantity), Labels: names, Lines: p.lines}
		for _, proxy := range r.Proxies {
			series := plot.Series{Name: proxy}
			for _, name := range names {
				value := math.NaN()
				if result := r.find(p.group, name, proxy, p.quantity); result != nil {
					value = result.Median()
				}
				series.Values = append(series.Values, value)
			}
			drawn.Series = append(drawn.Series, series)
		}
		all[p.name] = drawn
	}
	return all
}

// unit is how a plot names a quantity.
func unit(quantity string) string {
	if quantity == p99 {
		return "µs"
	}
	return quantity
}

// writePlots writes the plots into a directory.
func writePlots(folder string, r *Report) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, p := range r.plots() {
		file, err := os.Create(filepath.Join(folder, name+".svg"))
		if err != nil {
			return err
		}
		if err := p.Write(file); err != nil {
			_ = file.Close()
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}
