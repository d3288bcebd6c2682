package gp_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/gp"
	"autoresearchd/search/random"
	"autoresearchd/search/searchtest"
	"autoresearchd/search/simulate"
)

func TestConformance(t *testing.T) { searchtest.Run(t, gp.New) }

func TestConformanceWithoutOpening(t *testing.T) {
	searchtest.Run(t, func(env search.Environment) (search.Strategy, error) {
		env.Table = func(o any) error {
			*o.(*gp.Options) = gp.Options{Reach: 1, Memory: 20, Candidates: 1}
			return nil
		}
		return gp.New(env)
	})
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := gp.New(search.Environment{Seed: 1, Table: func(o any) error {
		*o.(*gp.Options) = gp.Options{Opening: -1, Reach: 0, Memory: 5, Candidates: 0, Climbs: -1}
		return nil
	}})
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Fatalf("five bad options: %v", err)
	}
}

// bowl is a noisy bowl in eight learning rates, of which the best is near where
// trials run out of memory.
func bowl(seed uint64) simulate.Task {
	r := rand.New(rand.NewPCG(seed, 1))
	task := simulate.Task{Name: "bowl", Noise: 0.002, Floor: 0.9}
	var best []float64
	for i := range 8 {
		task.Lines = append(task.Lines, simulate.Line{Name: fmt.Sprintf("A%d_LR", i), Text: "0.1", Value: search.FloatValue(0.1)})
		best = append(best, (1+0.5*r.Float64())*float64(r.IntN(2)*2-1))
	}
	best[0] = 1
	task.True = func(v map[string]search.Value) (float64, search.Status) {
		sum := 0.9
		for i, at := range best {
			x := math.Log2(v[fmt.Sprintf("A%d_LR", i)].Number() / 0.1)
			if i == 0 && x > 1.2 {
				return 0, search.OutOfMemory
			}
			sum += 0.02 * math.Pow(x-at, 2) / (1 + float64(i%4))
		}
		return sum, search.Completed
	}
	return task
}

func TestFindsTheBottom(t *testing.T) {
	const studies, trials = 4, 50
	run := func(f search.Factory) (regret, failed float64) {
		for seed := range uint64(studies) {
			s, err := simulate.Run(bowl(seed), f, trials, seed)
			if err != nil {
				t.Fatal(err)
			}
			regret += (s.Best[trials-1] - s.Task.Floor) / (s.Best[0] - s.Task.Floor) / studies
			for _, r := range s.History.Done {
				if r.Outcome.Status != search.Completed {
					failed += 1. / studies / trials
				}
			}
		}
		return regret, failed
	}
	regret, failed := run(gp.New)
	byChance, failedByChance := run(random.New)
	t.Logf("%d trials: regret %.3f, random %.3f; failed %.1f %%, random %.1f %%", trials, regret, byChance, 100*failed, 100*failedByChance)
	if regret > 0.05 || regret > 0.3*byChance || failed > 0.3 {
		t.Errorf("regret %.3f against random's %.3f, %.1f %% failed", regret, byChance, 100*failed)
	}
}

func BenchmarkAsk1000(b *testing.B) { searchtest.Benchmark(b, gp.New, 1000) }
