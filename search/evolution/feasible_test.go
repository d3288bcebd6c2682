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
