package main

import (
	"encoding/json"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// board is a dashboard, by what differs between ours.
type board struct {
	title       string
	description string
	hasServices bool // a choice of services, as $service
	rows        []row
}

// row is a row of panels.
type row struct {
	title  string
	repeat bool // once for each chosen service
	panels []panel
}

// panel is a graph, or a number.
type panel struct {
	title       string
	description string
	unit        string // of Grafana: s, reqps, percentunit, bytes and so on; "" is a plain number
	isNumber    bool   // the last value, instead of a graph
	isStacked   bool
	alarmAbove  *float64 // a number turns red above it
	alarmBelow  *float64
	queries     []query
}

// query is an expression of Prometheus, and the name of its series.
type query struct{ expr, legend string }

const (
	columns      = 24
	graphHeight  = 8
	numberHeight = 4
	numberWidth  = 4
)

// file returns the name of the dashboard's file.
func (b board) file() string { return b.uid() + ".json" }

func (b board) uid() string { return strings.ToLower(strings.ReplaceAll(b.title, " ", "-")) }

// json returns the dashboard as Grafana reads it.
func (b board) json() ([]byte, error) {
	//lint:ignore SA1019 dashboards of version 2 can't be provisioned as files without a feature flag of Grafana 12
	builder := dashboard.NewDashboardBuilder(b.title).Uid("edge-"+b.uid()).Description(b.description).Tags([]string{"edge"}).
		Time("now-1h", "now").Refresh("10s").Timezone(common.TimeZoneBrowser).Tooltip(dashboard.DashboardCursorSyncCrosshair).Readonly().
		Link(dashboard.NewDashboardLinkBuilder("Edge").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"edge"}).AsDropdown(true).KeepTime(true))
	if b.hasServices {
		builder.WithVariable(serviceVariable())
	}
	for _, mark := range marks {
		builder.Annotation(mark.build(b.hasServices))
	}
	for _, r := range b.rows {
		line := dashboard.NewRowBuilder(r.title)
		if r.repeat {
			line.Repeat("service")
		}
		builder.WithRow(line)
		graphs := uint32(0)
		for _, p := range r.panels {
			if !p.isNumber {
				graphs++
			}
		}
		for _, p := range r.panels {
			builder.WithPanel(p.build(columns / min(max(graphs, 1), 3)))
		}
	}
	d, err := builder.Build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(d, "", "  ")
	return append(text, '\n'), err
}

func serviceVariable() cog.Builder[dashboard.VariableModel] {
	definition := "label_values(edge_requests_in_flight, service)"
	return dashboard.NewQueryVariableBuilder("service").Label("Service").Query(dashboard.StringOrMap{String: &definition}).Definition(definition).
		Datasource(source()).Multi(true).IncludeAll(true).Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc).
		Current(dashboard.VariableOption{Text: dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}}, Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}}})
}

// source is Prometheus, as the provisioning names it.
func source() common.DataSourceRef {
	kind, uid := "prometheus", "prometheus"
	return common.DataSourceRef{Type: &kind, Uid: &uid}
}

func (p panel) build(width uint32) cog.Builder[dashboard.Panel] {
	if p.isNumber {
		builder := stat.NewPanelBuilder().Title(p.title).Description(p.description).Unit(p.unit).Datasource(source()).Span(numberWidth).Height(numberHeight).
			GraphMode(common.BigValueGraphModeArea).ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).Thresholds(p.thresholds())
		for i, q := range p.queries {
			builder.WithTarget(q.build(i))
		}
		return builder
	}
	builder := timeseries.NewPanelBuilder().Title(p.title).Description(p.description).Unit(p.unit).Datasource(source()).Span(width).Height(graphHeight).Min(0).
		LineWidth(1).FillOpacity(10).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if p.isStacked {
		builder.FillOpacity(40).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
	}
	for i, q := range p.queries {
		builder.WithTarget(q.build(i))
	}
	return builder
}

func (p panel) thresholds() cog.Builder[dashboard.ThresholdsConfig] {
	steps := []dashboard.Threshold{{Color: "green"}}
	switch {
	case p.alarmAbove != nil:
		steps = append(steps, dashboard.Threshold{Color: "red", Value: p.alarmAbove})
	case p.alarmBelow != nil:
		steps = []dashboard.Threshold{{Color: "red"}, {Color: "green", Value: p.alarmBelow}}
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

func (q query) build(i int) cog.Builder[variants.Dataquery] {
	return prometheus.NewDataqueryBuilder().Expr(q.expr).LegendFormat(q.legend).RefId(string(rune('A' + i))).Range()
}

// mark is a line in all graphs of a dashboard, at the times when its expression has values.
type mark struct{ name, color, expr, title string }

// marks are what an operator has done, mostly.
var marks = []mark{
	{"Deployments", "green", `time() - max by (project, compose_service) (edge_deployment_timestamp_seconds) < 60`, "{{compose_service}} was deployed"},
	{"Containers", "blue", `sum by (service) (increase(edge_drains_total{service=~"$service"}[1m])) > 0`, "{{service}}: a container drains"},
	{"Maintenance", "orange", `max by (service) (edge_maintenance{service=~"$service"}) == 1`, "{{service}} is in maintenance"},
	{"Reloads", "purple", `sum(changes(edge_config_generation[1m])) > 0`, "the configuration was reloaded"},
}

func (m mark) build(hasServices bool) cog.Builder[dashboard.AnnotationQuery] {
	expr := m.expr
	if !hasServices {
		expr = strings.ReplaceAll(expr, "$service", ".*")
	}
	return dashboard.NewAnnotationQueryBuilder().Name(m.name).IconColor(m.color).Datasource(source()).Expr(expr).Step("60s").TitleFormat(m.title).Enable(true)
}

func graph(title, unit, description string, queries ...query) panel {
	return panel{title: title, unit: unit, description: description, queries: queries}
}

func stacked(title, unit, description string, queries ...query) panel {
	p := graph(title, unit, description, queries...)
	p.isStacked = true
	return p
}

func number(title, unit, description, expr string) panel {
	return panel{title: title, unit: unit, description: description, isNumber: true, queries: []query{{expr, ""}}}
}

func (p panel) redAbove(limit float64) panel {
	p.alarmAbove = &limit
	return p
}

func (p panel) redBelow(limit float64) panel {
	p.alarmBelow = &limit
	return p
}
