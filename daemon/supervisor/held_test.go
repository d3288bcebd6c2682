package supervisor

import (
	"strings"
	"testing"

	"autoresearchd/daemon/config"
	"autoresearchd/search"
)

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
		err := holds((&config.Config{Search: config.Search{Space: c.space}}).Search.Overrides(), c.to, search.Trial{ID: 1, Constants: skipped(10, true)})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
