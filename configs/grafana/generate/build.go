package main

import (
	"fmt"
	"strings"

	"autoresearchd/metrics/name"
)

var prometheus = source{"prometheus", "${datasource}"}

// of selects the series of a metric on the chosen instances.
func of(metric string, matchers ...string) string {
	return metric + "{" + strings.Join(append([]string{`job="autoresearchd"`, `instance=~"$instance"`}, matchers...), ",") + "}"
}

// ofGPU is of, for what the chosen GPUs have.
func ofGPU(metric string) string { return of(metric, `gpu=~"$gpu"`) }

// ofSeat is of, for what the chosen seats have.
func ofSeat(metric string, matchers ...string) string {
	return of(metric, append(matchers, `seat=~"$seat"`)...)
}

// recent is the window of what happens once a trial, or less often: a trial
// takes minutes, so that $__rate_interval would mostly hold none.
const recent = "[1h]"

// quantile is a quantile of a histogram over the recent window, by labels.
func quantile(q float64, histogram, by string) string {
	return fmt.Sprintf("histogram_quantile(%g, sum by (le, %s) (rate(%s%s)))", q, by, of(histogram+"_bucket"), recent)
}

func build() dashboard {
	kept := of(name.LastKeep) + " * 1000"
	all := current{true, "All", []string{"$__all"}}
	d := dashboard{
		Description: "A study of autoresearchd: whether it is well, and what it has found.",
		Editable:    true, GraphTooltip: 1, Links: []any{}, Refresh: "30s", SchemaVersion: 39, Tags: []string{"autoresearchd"},
		Time: timeRange{"now-12h", "now"}, Timezone: "browser", Title: "autoresearchd", UID: "autoresearchd",
		Templating: templating{[]variable{
			{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1, Current: current{Text: "", Value: ""}, Options: []any{}},
			query("instance", "Instance", "label_values("+name.Build+", instance)", all),
			query("seat", "Seat", "label_values("+name.TrialRunning+`{instance=~"$instance"}, seat)`, all),
			query("gpu", "GPU", "label_values("+name.GPUInfo+`{instance=~"$instance"}, gpu)`, all),
		}},
		Annotations: annotations{[]annotation{{
			Name: "Keeps", Datasource: prometheus, Enable: true, IconColor: "green",
			Expr: kept, Target: target{Datasource: prometheus, Expr: kept, RefID: "Keeps", EditorMode: "code", Range: true},
			TitleFormat: "A trial was kept", TextFormat: "{{instance}}", UseValueForTime: true,
		}}},
	}
	l := layout{}
	l.row("Is it well?", well())
	l.row("What do its seats do?", seats())
	l.row("What did it find?", found())
	d.Panels = l.panels
	return d
}

func query(id, label, values string, all current) variable {
	return variable{
		Name: id, Label: label, Type: "query", Datasource: &prometheus, Query: variableQuery{values, "Variable-" + id}, Definition: values,
		Refresh: 2, Sort: 3, Multi: true, IncludeAll: true, AllValue: ".*", Current: all, Options: []any{},
	}
}

// layout places panels from left to right and gives them numbers.
type layout struct {
	panels     []panel
	x, y, high int
}

func (l *layout) row(title string, panels []panel) {
	l.y, l.x, l.high = l.y+l.high, 0, 0
	open, none := false, []panel{}
	l.add(panel{Type: "row", Title: title, GridPos: gridPos{H: 1, W: 24}, Collapsed: &open, Panels: &none})
	for _, p := range panels {
		l.add(p)
	}
}

func (l *layout) add(p panel) {
	if l.x+p.GridPos.W > 24 {
		l.x, l.y, l.high = 0, l.y+l.high, 0
	}
	p.ID, p.GridPos.X, p.GridPos.Y = len(l.panels)+1, l.x, l.y
	l.x, l.high = l.x+p.GridPos.W, max(l.high, p.GridPos.H)
	l.panels = append(l.panels, p)
}

// line is one query of a panel and what its series are called.
type line struct{ expr, legend string }

func targets(lines []line, instant bool) []target {
	out := make([]target, len(lines))
	for i, s := range lines {
		out[i] = target{Datasource: prometheus, Expr: s.expr, LegendFormat: s.legend, RefID: string(rune('A' + i)), EditorMode: "code", Instant: instant, Range: !instant}
	}
	return out
}

// stat is a panel of one number for each instance.
func stat(title, description, unit string, steps []step, s line) panel {
	return panel{
		Type: "stat", Title: title, Description: description, GridPos: gridPos{H: 4, W: 4}, Datasource: &prometheus, Targets: targets([]line{s}, true),
		FieldConfig: &fieldConfig{
			Defaults:  defaults{Unit: unit, NoValue: "–", Color: color{Mode: "thresholds"}, Thresholds: &thresholds{"absolute", steps}},
			Overrides: []override{},
		},
		Options: statOptions{ReduceOptions: reduce{Calcs: []string{"lastNotNull"}}, Orientation: "auto", TextMode: "auto", ColorMode: "value", GraphMode: "none", JustifyMode: "auto"},
	}
}

// plain colours a number that is neither good nor bad.
func plain() []step { return []step{{"text", nil}} }

// good colours a number by what it must reach, bad by what it must not.
func good(at float64) []step { return []step{{"red", nil}, {"green", &at}} }
func bad(at float64) []step  { return []step{{"green", nil}, {"red", &at}} }

// graph is a panel of time series.
func graph(title, description, unit string, lines ...line) panel {
	return panel{
		Type: "timeseries", Title: title, Description: description, GridPos: gridPos{H: 8, W: 8}, Datasource: &prometheus, Targets: targets(lines, false),
		FieldConfig: &fieldConfig{
			Defaults: defaults{Unit: unit, Color: color{Mode: "palette-classic"}, Custom: &drawing{
				DrawStyle: "line", LineInterpolation: "linear", LineWidth: 1, PointSize: 5, ShowPoints: "auto", Stacking: stacking{"none", "A"},
			}},
			Overrides: []override{},
		},
		Options: timeseriesOptions{
			Legend:  legend{ShowLegend: true, DisplayMode: "list", Placement: "bottom", Calcs: []string{}},
			Tooltip: tooltip{Mode: "multi", Sort: "none"},
		},
	}
}

func (p panel) wide(columns int) panel { p.GridPos.W = columns; return p }

func (p panel) from(low float64) panel { p.FieldConfig.Defaults.Min = &low; return p }

func (p panel) to(high float64) panel { p.FieldConfig.Defaults.Max = &high; return p }

func (p panel) digits(n int) panel { p.FieldConfig.Defaults.Decimals = &n; return p }

func (p panel) stairs() panel {
	p.FieldConfig.Defaults.Custom.LineInterpolation, p.FieldConfig.Defaults.Custom.LineWidth = "stepAfter", 2
	return p
}

func (p panel) points() panel {
	c := p.FieldConfig.Defaults.Custom
	c.DrawStyle, c.PointSize, c.ShowPoints = "points", 6, "always"
	return p
}

func (p panel) stacked() panel {
	c := p.FieldConfig.Defaults.Custom
	c.FillOpacity, c.Stacking.Mode = 40, "normal"
	return p
}

// paint gives series whose name begins so a colour.
func (p panel) paint(series, shade string) panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{
		matcher{"byRegexp", "/^" + series + "/"}, []property{{"color", color{"fixed", shade}}},
	})
	return p
}
