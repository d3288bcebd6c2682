package prune_test

import (
	"slices"
	"testing"

	"autoresearchd/search"
	_ "autoresearchd/search/cmaes"
	_ "autoresearchd/search/evolution"
	_ "autoresearchd/search/gp"
	_ "autoresearchd/search/llm"
	_ "autoresearchd/search/portfolio"
	_ "autoresearchd/search/random"
	"autoresearchd/search/simulate"
	_ "autoresearchd/search/sobol"
	_ "autoresearchd/search/tpe"
)

// told plays a study of which the worse half is pruned or not, but for one in
// ten, and returns how much of the way from the start to the floor is left.
func told(t *testing.T, name string, seed uint64, trials int, prunes bool) float64 {
	t.Helper()
	strategy, err := search.Default.Build(name, search.Environment{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	s, err := simulate.NewStudy(simulate.NewTask(seed, 5e-4), strategy, seed)
	if err != nil {
		t.Fatal(err)
	}
	var scores []float64
	for len(s.History.Done) < trials {
		trial, err := s.Ask()
		if err != nil {
			t.Fatal(err)
		}
		o := s.Outcome(trial)
		if n := len(scores); o.Status == search.Completed && n >= 8 && o.ValBPB > slices.Sorted(slices.Values(scores))[n/2] && trial.ID%10 != 0 {
			o.Condemned = &search.Condemned{At: 0.7, Foreseen: o.ValBPB, Why: "worse than the median"}
			if prunes {
				o.Status, o.ValBPB = search.Pruned, 0
			}
		} else if o.Status == search.Completed {
			scores = append(scores, o.ValBPB)
		}
		if err := s.Finish(trial, o); err != nil {
			t.Fatal(err)
		}
	}
	return (s.Best[len(s.Best)-1] - s.Task.Floor) / (s.Best[0] - s.Task.Floor)
}

// TestStrategiesLearnFromThePruned: what is ended early says less than a score
// and more than a crash, and costs a study none of what it finds.
func TestStrategiesLearnFromThePruned(t *testing.T) {
	const trials = 40
	for name, seeds := range map[string]int{"random": 10, "sobol": 3, "evolution": 10, "tpe": 10, "cmaes": 20, "gp": 3, "portfolio": 4} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var scored, pruned float64
			for seed := range uint64(seeds) {
				scored += told(t, name, seed, trials, false) / float64(seeds)
				pruned += told(t, name, seed, trials, true) / float64(seeds)
			}
			t.Logf("left after %d trials: %.3f with all scores, %.3f with the worse half pruned", trials, scored, pruned)
			if pruned > scored+0.06 {
				t.Errorf("%.3f is left with the worse half pruned, %.3f without", pruned, scored)
			}
		})
	}
}
