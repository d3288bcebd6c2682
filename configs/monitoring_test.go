package configs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"autoresearchd/metrics/name"
)

func text(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func matches(pattern, text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// TestRules holds the rules to the metrics that there are, and each alert to a
// paragraph of the runbook and to tests in which it fires and does not. What
// the rules say is promtool's to check.
func TestRules(t *testing.T) {
	alerts := text(t, "prometheus/rules/autoresearchd.alerts.yml")
	recording := text(t, "prometheus/rules/autoresearchd.recording.yml")
	tests := text(t, "prometheus/tests/alerts.yml")
	runbook := text(t, "prometheus/RUNBOOK.md")

	known := slices.Concat(name.All, matches(`record: (\S+)`, recording))
	for _, word := range matches(`((?:\w+:)?autoresearch_\w+(?::\w+)?)`, alerts+recording+tests) {
		base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(word, "")
		if !slices.Contains(known, word) && !slices.Contains(known, base) {
			t.Errorf("the rules or their tests ask for %s, which nobody exposes", word)
		}
	}
	for _, word := range matches("`(autoresearch_\\w+)`", runbook) {
		if !slices.Contains(name.All, word) {
			t.Errorf("the runbook names %s, which nobody exposes", word)
		}
	}

	names := matches(`- alert: (\w+)`, alerts)
	if sections := matches(`(?m)^## (\w+)$`, runbook); !slices.Equal(names, sections) {
		t.Errorf("the runbook has %v\nthe alerts are %v", sections, names)
	}
	blocks := strings.Split(alerts, "- alert: ")[1:]
	for i, alert := range names {
		for _, want := range []string{"severity: ", "summary: ", "description: ", "runbook: configs/prometheus/RUNBOOK.md#" + strings.ToLower(alert) + "\n"} {
			if !strings.Contains(blocks[i], want) {
				t.Errorf("%s has no %q", alert, want)
			}
		}
		for _, outcome := range []string{"exp_alerts: []", "exp_alerts:\n"} {
			if !strings.Contains(tests, "alertname: "+alert+"\n        "+outcome) {
				t.Errorf("%s is never tested for %q", alert, outcome)
			}
		}
	}
}

// TestInstalledTogether proves that the files name each other as they lie.
func TestInstalledTogether(t *testing.T) {
	prometheus := text(t, "prometheus/prometheus.yml")
	for _, pattern := range matches(`(?m)^  - (rules/\S+)`, prometheus) {
		if found, err := filepath.Glob("prometheus/" + pattern); err != nil || len(found) != 2 {
			t.Errorf("rule_files %s: %v, %v", pattern, found, err)
		}
	}
	for _, alert := range matches(`(Autoresearch\w+)`, text(t, "alertmanager/alertmanager.yml")) {
		if !strings.Contains(text(t, "prometheus/rules/autoresearchd.alerts.yml"), "- alert: "+alert+"\n") {
			t.Errorf("the example for Alertmanager names %s, which is no alert", alert)
		}
	}
}
