package evolution_test

import (
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/evolution"
	"autoresearchd/search/random"
	"autoresearchd/search/simulate"
)

const studies = 40

// regrets runs studies on differently placed tasks and returns, after each
// number of trials, how far the champion's true val_bpb is above the lowest, in
// parts of the start's distance; how often it is below the start's; and the
// share of trials that failed.
func regrets(t *testing.T, task func(seed uint64, noise float64) simulate.Task, noise float64, f search.Factory, at ...int) (mean, improved []float64, failed float64) {
	t.Helper()
	mean, improved = make([]float64, len(at)), make([]float64, len(at))
	for seed := range uint64(studies) {
		s, err := simulate.Run(task(seed, noise), f, at[len(at)-1], seed+1000)
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range at {
			mean[i] += (s.Best[n-1] - s.Task.Floor) / (s.Best[0] - s.Task.Floor) / studies
			if s.Best[n-1] < s.Best[0] {
				improved[i] += 1.0 / studies
			}
		}
		for _, r := range s.History.Done {
			if _, ok := r.Score(); !ok {
				failed += 1 / float64(studies*len(s.History.Done))
			}
		}
	}
	return mean, improved, failed
}

func TestBeatsRandom(t *testing.T) {
	trials := []int{7, 15, 30, 60, 100}
	for _, noise := range []float64{0, 5e-4} {
		evolved, improved, failed := regrets(t, simulate.NewTask, noise, evolution.New, trials...)
		drawn, byChance, failedRandom := regrets(t, simulate.NewTask, noise, random.New, trials...)
		for i, n := range trials {
			t.Logf("upstream, noise %.4f, %3d trials: regret evolution %.3f (improved %3.0f %%), random %.3f (%3.0f %%)", noise, n, evolved[i], 100*improved[i], drawn[i], 100*byChance[i])
		}
		t.Logf("failed: evolution %.1f %%, random %.1f %%", 100*failed, 100*failedRandom)
		if improved[0] < 0.95 {
			t.Errorf("noise %g: 7 trials improved on the start in only %.0f %% of the studies", noise, 100*improved[0])
		}
		if evolved[2] > 0.75*drawn[2] || evolved[4] > 0.75*drawn[4] {
			t.Errorf("noise %g: evolution %.3f and %.3f, random %.3f and %.3f at 30 and 100 trials: not clearly better", noise, evolved[2], evolved[4], drawn[2], drawn[4])
		}
	}
}

func TestFewTrialsOnCPU(t *testing.T) {
	trials := []int{4, 7, 12}
	evolved, improved, _ := regrets(t, simulate.Cpu, 0.002, evolution.New, trials...)
	drawn, byChance, _ := regrets(t, simulate.Cpu, 0.002, random.New, trials...)
	for i, n := range trials {
		t.Logf("cpu, %3d trials: regret evolution %.3f (improved %3.0f %%), random %.3f (%3.0f %%)", n, evolved[i], 100*improved[i], drawn[i], 100*byChance[i])
	}
	if improved[1] < 0.95 || evolved[1] > 0.8*drawn[1] {
		t.Errorf("7 trials: improved %.0f %%, regret %.3f against random's %.3f", 100*improved[1], evolved[1], drawn[1])
	}
}
