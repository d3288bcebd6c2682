package journaltest

import (
	"path/filepath"
	"reflect"
	"testing"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

func fill(t *testing.T, o Options) []journal.Record {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	if err := Fill(dir, o); err != nil {
		t.Fatal(err)
	}
	r, err := journal.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []journal.Record
	err = r.Replay(func(rec journal.Record) error { all = append(all, rec); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFill(t *testing.T) {
	all := fill(t, Options{Trials: 60, Running: true})
	if len(all) != 61 || all[60].Stage != search.StageBegun || all[59].Stage != search.StageDone {
		t.Fatalf("%d trials", len(all))
	}
	statuses, verdicts, strategies := map[search.Status]int{}, map[search.Verdict]int{}, map[string]int{}
	edits := 0
	for _, r := range all[:60] {
		statuses[r.Outcome.Status]++
		verdicts[r.Decision.Verdict]++
		strategies[r.Trial.Proposal.Strategy]++
		if p := r.Trial.Proposal.Parent; p != 0 && string(all[p-1].Trial.Source) != string(r.Trial.Source) && len(r.Trial.Changed) == 0 {
			edits++
		}
	}
	if len(statuses) != 8 || len(verdicts) != 3 || len(strategies) != 7 || verdicts[search.Keep] < 4 || edits < 5 {
		t.Errorf("%v, %v, %v, %d edits", statuses, verdicts, strategies, edits)
	}
	if again := fill(t, Options{Trials: 60, Running: true}); !sameText(again, all) {
		t.Error("the second study is another one")
	}
	for _, r := range fill(t, Options{Trials: 12, Hostile: true}) {
		if len(r.Trial.Source) == 0 {
			t.Errorf("trial %d has no source", r.Trial.ID)
		}
	}
}

// sameText compares without curves: a diverged one holds a NaN.
func sameText(a, b []journal.Record) bool {
	for _, list := range [][]journal.Record{a, b} {
		for i := range list {
			if list[i].Outcome.Status != search.Completed {
				list[i].Outcome.Curve = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

// TestConfirm wants every verdict that the rule gives.
func TestConfirm(t *testing.T) {
	var h search.History
	for _, r := range fill(t, Options{Trials: 120, Bare: true, Confirm: true}) {
		h.Done = append(h.Done, r.Result)
	}
	verdicts := map[search.Standing]int{}
	for _, c := range search.Candidates(h) {
		verdicts[c.Standing]++
	}
	if verdicts[search.StandingKept] < 4 || verdicts[search.StandingRefuted] < 3 || len(verdicts) < 6 {
		t.Errorf("%v", verdicts)
	}
}

func BenchmarkFill(b *testing.B) {
	for b.Loop() {
		dir, remove, err := TempDir()
		if err != nil {
			b.Fatal(err)
		}
		defer remove()
		if err := Fill(dir, Options{Trials: 1000}); err != nil {
			b.Fatal(err)
		}
	}
}
