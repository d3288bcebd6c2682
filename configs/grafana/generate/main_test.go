package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"testing"

	"autoresearchd/metrics/name"
)

func TestCurrent(t *testing.T) {
	have, err := os.ReadFile("../dashboards/autoresearchd.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, file()) {
		t.Error("configs/grafana/dashboards/autoresearchd.json is not what the generator writes: run go generate ./configs")
	}
}

// TestPanels proves what a person who opens the dashboard relies on: every
// metric is drawn, every panel says what it shows, and none covers another.
func TestPanels(t *testing.T) {
	drawn := map[string]bool{}
	taken := map[[2]int]string{}
	ids := map[int]bool{}
	for _, p := range build().Panels {
		if ids[p.ID] {
			t.Errorf("%s: another panel has its number %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if at[0] >= 24 || taken[at] != "" {
					t.Errorf("%s and %q are both at %v", p.Title, taken[at], at)
				}
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("%s has no description, unit or query", p.Title)
		}
		for _, q := range p.Targets {
			for _, metric := range regexp.MustCompile(`autoresearch_\w+`).FindAllString(q.Expr, -1) {
				drawn[regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(metric, "")] = true
			}
		}
	}
	// Left out: what only rules and other queries read, and what is a panel's
	// own time axis.
	beside := []string{name.ValBPB, name.TrialRunning, name.TrialStart, name.ActiveSince, name.TrialBudget, name.TrialLimit, name.ReloadTime, name.Build, name.GPUInfo, name.LLMEnabled, name.LLMFailures}
	for _, metric := range name.All {
		if drawn[metric] == slices.Contains(beside, metric) {
			t.Errorf("%s is drawn: %v", metric, drawn[metric])
		}
	}
}
