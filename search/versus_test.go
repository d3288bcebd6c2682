package search_test

import (
	"fmt"
	"math"
	"testing"

	"autoresearchd/search"
)

// TestCompare compares a champion with the baseline as its runs come in.
func TestCompare(t *testing.T) {
	s := begin(t, 0)
	s.try(1, scored(1.000)) // the baseline
	s.try(2, scored(0.980)) // beyond doubt: 40 times the noise
	s.try(3, ended(search.Crashed))
	words := func(a, b int64) string {
		v := search.Compare(s.h.Done, a, b)
		return fmt.Sprintf("%.4f ± %.4f %s", v.Gain, v.Interval, v.Claim)
	}
	first := words(2, 1)
	if want := fmt.Sprintf("0.0200 ± %.4f ", search.StudentT(0.975, 2)*5e-4*math.Sqrt2); first != want {
		t.Errorf("before anything ran again: %s, want %s", first, want)
	}
	if v := search.Compare(s.h.Done, 3, 1); !math.IsNaN(v.Gain) {
		t.Errorf("one without a score: %+v", v)
	}
	if v := search.Compare(s.h.Done, 2, 9); !math.IsNaN(v.Gain) {
		t.Errorf("one that never was: %+v", v)
	}
	seeds := []uint64{7, 8, 9}
	for i, of := range []int64{2, 1, 2, 1, 2, 1} {
		p := search.Proposal{Strategy: search.Confirm, Parent: of, Seed: seeds[i/2]}
		s.end(search.Trial{ID: int64(len(s.h.Done) + 1), Proposal: p, Seed: p.Seed}, scored(0.98+0.02*float64(2-of)))
	}
	if got := search.Compare(s.h.Done[:5], 2, 1).Claim; got != "unconfirmed (1 of 3 paired seeds)" {
		t.Errorf("after a pair: %q", got)
	}
	if v := search.Compare(s.h.Done, 2, 1); v.Claim != "confirmed" || math.Abs(v.Gain-0.02) > 1e-9 || v.Interval >= search.Compare(s.h.Done[:5], 2, 1).Interval {
		t.Errorf("after three pairs: %+v", v)
	}
	if v := search.Compare(s.h.Done, 1, 2); v.Claim != "unconfirmed (within luck)" || math.Abs(v.Gain+0.02) > 1e-9 {
		t.Errorf("the other way round: %+v", v)
	}
}

func TestSameProgram(t *testing.T) {
	trial := func(code uint64, seed, x int64) search.Trial {
		return search.Trial{Code: code, Constants: []search.Constant{{Name: "SEED", Value: search.IntValue(seed)}, {Name: "X", Value: search.IntValue(x)}}}
	}
	a := trial(5, 1, 2)
	for name, c := range map[string]struct {
		b    search.Trial
		want bool
	}{
		"itself": {a, true}, "another seed": {trial(5, 9, 2), true}, "another value": {trial(5, 1, 3), false}, "other code": {trial(6, 1, 2), false}, "code that is not known": {trial(0, 1, 2), false},
	} {
		if got := search.SameProgram(a, c.b); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if search.SameProgram(trial(0, 1, 2), trial(0, 1, 2)) {
		t.Error("two whose code is not known are taken for the same")
	}
}
