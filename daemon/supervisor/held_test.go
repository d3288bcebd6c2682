package supervisor

import (
	"context"
	"strings"
	"testing"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// reading is a trainer that finds the same constants in every source.
type reading struct {
	trainer.Trainer
	found trainer.Inspection
}

func (r reading) Inspect(context.Context, []byte) (trainer.Inspection, error) { return r.found, nil }

// TestHeldConstants holds that no proposal changes what a score means, unless [search.space] lets it.
func TestHeldConstants(t *testing.T) {
	skipped := func(n int64, held bool) []search.Constant {
		return []search.Constant{{Name: "SKIPPED", Value: search.IntValue(n), Text: "x", Why: "it decides which steps the clock leaves out (line 9)", Held: held}}
	}
	low, high := 1.0, 20.0
	for name, c := range map[string]struct {
		to    []search.Constant
		space map[string]config.Axis
		want  string
	}{
		"changed":      {skipped(11, true), nil, "SKIPPED = 11: leave it at 10: it decides which steps the clock leaves out (line 9), so scores could not be compared"},
		"the same":     {skipped(10, true), nil, ""},
		"beside":       {skipped(11, false), nil, ""},
		"taken in":     {skipped(11, true), map[string]config.Axis{"SKIPPED": {Low: &low, High: &high}}, ""},
		"out of range": {skipped(21, true), map[string]config.Axis{"SKIPPED": {Low: &low, High: &high}}, "outside low = 1 to high = 20"},
	} {
		s := &Supervisor{champion: &journal.Record{Result: search.Result{Trial: search.Trial{Constants: skipped(10, true)}}}}
		s.o.Trainer = reading{found: trainer.Inspection{Constants: c.to, Evaluates: true}}
		_, err := s.check(t.Context(), &config.Config{Search: config.Search{Space: c.space}}, nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestNothingToPropose(t *testing.T) {
	var c config.Config
	c.Search.Strategy = "evolution"
	others := []trainer.Other{{Name: "DEPTH", Line: 5, Why: "line 8 sets it again"}}
	if err := canPropose(&c, search.Space{}, others); err == nil || !strings.Contains(err.Error(), "DEPTH: line 8 sets it again") {
		t.Errorf("evolution: %v", err)
	}
	c.Search.Strategy, c.LLM.Enabled = "llm", true
	if err := canPropose(&c, search.Space{}, others); err != nil {
		t.Errorf("llm: %v", err)
	}
}
