package evolution_test

import (
	"context"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/evolution"
	"autoresearchd/search/simulate"
)

// TestLearnsWhatFails has a study in which a quarter of the batch crashed, as
// the device batch no longer divides it, and twice the depth ran out of memory.
func TestLearnsWhatFails(t *testing.T) {
	bad, repaired := 0, 0
	const seeds = 200
	for seed := range uint64(seeds) {
		strategy, err := evolution.New(search.Environment{Seed: seed, Table: func(o any) error { o.(*evolution.Options).Opening = 0; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		s, err := simulate.NewStudy(simulate.NewTask(1, 0), strategy, 1)
		if err != nil {
			t.Fatal(err)
		}
		tell := func(name string, v search.Value, o search.Outcome) {
			t.Helper()
			trial, err := s.Admit(search.Proposal{Strategy: "suggestion", Description: name, Parent: s.History.Champion.ID, Values: map[string]search.Value{name: v}})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Finish(trial, o); err != nil {
				t.Fatal(err)
			}
		}
		tell("TOTAL_BATCH_SIZE", search.IntValue(1<<18), search.Outcome{Status: search.Completed, ValBPB: s.Best[0] - 0.005})
		tell("TOTAL_BATCH_SIZE", search.IntValue(1<<17), search.Outcome{Status: search.Crashed})
		tell("DEPTH", search.IntValue(16), search.Outcome{Status: search.OutOfMemory})
		p, err := strategy.Ask(context.Background(), s.History)
		if err != nil {
			t.Fatal(err)
		}
		trial, err := s.Admit(p)
		if err != nil {
			t.Fatal(err)
		}
		v := simulate.Values(trial.Constants)
		small := v["TOTAL_BATCH_SIZE"].Whole() <= 1<<17
		if small && v["DEVICE_BATCH_SIZE"].Whole() < 128 {
			repaired++
		}
		if small && v["DEVICE_BATCH_SIZE"].Whole() == 128 || v["DEPTH"].Whole() >= 16 && v["DEVICE_BATCH_SIZE"].Whole() >= 128 {
			bad++
		}
	}
	t.Logf("of %d proposals %d repeat a failure, %d bring the device batch along with the total", seeds, bad, repaired)
	if bad > seeds/25 || repaired == 0 {
		t.Errorf("%d of %d proposals repeat what failed, %d repaired", bad, seeds, repaired)
	}
}

// TestThePrunedMayBeRepeated: a rate with which a trial ended early is no wall, as
// one with which it diverged is.
func TestThePrunedMayBeRepeated(t *testing.T) {
	task := simulate.Task{True: func(map[string]search.Value) (float64, search.Status) { return 1, search.Completed }}
	for _, name := range []string{"MATRIX_LR", "SCALAR_LR"} {
		task.Lines = append(task.Lines, simulate.Line{Name: name, Text: "0.04", Value: search.FloatValue(0.04)})
	}
	fast := func(status search.Status) (n int) {
		for seed := range uint64(200) {
			strategy, err := evolution.New(search.Environment{Seed: seed, Table: func(o any) error { o.(*evolution.Options).Opening = 0; return nil }})
			if err != nil {
				t.Fatal(err)
			}
			s, err := simulate.NewStudy(task, strategy, 1)
			if err != nil {
				t.Fatal(err)
			}
			trial, err := s.Admit(search.Proposal{Strategy: "suggestion", Description: "faster", Parent: 1, Values: map[string]search.Value{"MATRIX_LR": search.FloatValue(0.05)}})
			if err == nil {
				err = s.Finish(trial, search.Outcome{Status: status})
			}
			if err != nil {
				t.Fatal(err)
			}
			next, err := s.Ask()
			if err != nil {
				t.Fatal(err)
			}
			if simulate.Values(next.Constants)["MATRIX_LR"].Number() >= 0.05 {
				n++
			}
		}
		return n
	}
	if pruned, failed := fast(search.Pruned), fast(search.Diverged); pruned < 4*failed+10 {
		t.Errorf("of 200 proposals %d have at least the rate that was pruned, %d the one that diverged", pruned, failed)
	}
}
