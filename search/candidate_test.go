package search_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"autoresearchd/search"
)

// try ends a new trial, with a candidate as a journal gives it.
func (s *tale) try(x int64, o search.Outcome) search.Result {
	id := int64(len(s.h.Done) + 1)
	t := search.Trial{
		ID: id, Constants: []search.Constant{{Name: "X", Value: search.IntValue(x)}}, Code: 1, Seed: 42,
		Proposal: search.Proposal{Strategy: "random", Description: fmt.Sprintf("X %d", x), Parent: s.h.Champion.ID},
	}
	return s.end(t, o)
}

func (s *tale) rerun(o search.Outcome) search.Result {
	s.t.Helper()
	p, ok := search.Again(s.h)
	if !ok {
		p, ok = s.judge.(search.Rerunner).Rerun(s.h)
	}
	if !ok {
		s.t.Fatal("nothing is to be run again")
	}
	return s.end(search.Trial{ID: int64(len(s.h.Done) + 1), Proposal: p, Seed: p.Seed}, o)
}

func (s *tale) end(t search.Trial, o search.Outcome) search.Result {
	t.Candidate = search.CandidateOf(s.h, t)
	r := search.Result{Trial: t, Outcome: o}
	r.Decision = s.judge.Judge(s.h, r)
	s.h.Done = append(s.h.Done, r)
	if r.Decision.Verdict == search.Keep {
		s.h.Champion = search.Original(s.h.Done, t)
	}
	return r
}

func scored(bpb float64) search.Outcome {
	return search.Outcome{Status: search.Completed, ValBPB: bpb, TrainingSeconds: 300, PeakVRAM: int64(bpb * 1000)}
}

func ended(status search.Status) search.Outcome {
	return search.Outcome{Status: status, Detail: "why"}
}

func listed(all []*search.Candidate) string {
	var b strings.Builder
	for _, c := range all {
		bpb, runs := c.Score()
		words := fmt.Sprintf("%d from %d %v %s", c.ID, c.Parent, c.Runs, c.Standing)
		if c.Failure != "" {
			words += fmt.Sprintf(" (%s)", c.Failure)
		}
		if runs > 0 {
			words += fmt.Sprintf(" %.4f by %d", bpb, runs)
		}
		fmt.Fprintf(&b, "%s, decided by %d, peak %d\n", words, c.By, c.Peak)
	}
	return b.String()
}

// TestCandidates tells a study with every standing.
func TestCandidates(t *testing.T) {
	s := begin(t, 0)
	s.try(1, scored(0.9980))
	s.try(2, ended(search.OutOfMemory))
	s.try(3, ended(search.Tampered))
	s.try(4, ended(search.Pruned))
	s.try(5, scored(0.9990))
	s.try(6, scored(0.9978))   // promising
	s.rerun(scored(0.9988))    // luck
	s.try(7, scored(0.9977))   // promising
	s.rerun(scored(0.9975))    // kept
	s.try(8, ended("crashed")) // derived from candidate 8, trial 8
	s.try(9, ended(search.Interrupted))
	s.try(9, scored(0.9985)) // the same program: it is decided now
	s.try(10, ended(search.Interrupted))
	void := ended(search.Interrupted)
	void.Void = "starved"
	s.try(11, void)
	s.rerun(scored(0.99755))          // promising, though it is its second run
	s.rerun(ended(search.TimedOut))   // again
	s.rerun(ended(search.TimedOut))   // not a third time
	s.try(8, scored(0.9991))          // a program that crashed, proposed anew
	last := s.try(12, scored(0.9974)) // promising
	if last.Decision.Verdict != search.Discard {
		t.Fatalf("%+v", last.Decision)
	}
	h := s.h
	h.Pending = []search.Trial{
		{ID: 20, Candidate: 20, Proposal: search.Proposal{Parent: 9, Strategy: "random"}},
		{ID: 21, Candidate: 13, Proposal: search.Proposal{Parent: 13, Strategy: search.Confirm}},
	}
	const want = `1 from 0 [1] kept 0.9980 by 1, decided by 1, peak 998
2 from 1 [2] crashed (out of memory), decided by 2, peak 0
3 from 1 [3] tampered (tampered), decided by 3, peak 0
4 from 1 [4] discarded (pruned), decided by 4, peak 0
5 from 1 [5] discarded 0.9990 by 1, decided by 5, peak 999
6 from 1 [6 7] refuted 0.9983 by 2, decided by 7, peak 998
8 from 1 [8 9] kept 0.9976 by 2, decided by 9, peak 997
10 from 8 [10] crashed (crashed), decided by 10, peak 0
11 from 8 [11 12] discarded 0.9985 by 1, decided by 12, peak 998
13 from 8 [13] pending (interrupted), decided by 0, peak 0
14 from 8 [14 15 16 17] discarded 0.9976 by 1, decided by 17, peak 997
18 from 8 [18] discarded 0.9991 by 1, decided by 18, peak 999
19 from 8 [19] pending 0.9974 by 1, decided by 0, peak 997
20 from 8 [] pending, decided by 0, peak 0
`
	if got := listed(search.Candidates(h)); got != want {
		t.Errorf("got\n%s", got)
	}

	// The champion that comes while candidate 19 waits overtakes it; a run that
	// was under way then may say otherwise all the same.
	under, _ := s.judge.(search.Rerunner).Rerun(s.h)
	s.try(20, scored(0.9900))
	overtaken := `19 from 8 [19] discarded 0.9974 by 1, decided by 20, peak 997
20 from 8 [20] kept 0.9900 by 1, decided by 20, peak 990
`
	if got := listed(search.Candidates(s.h)); !strings.HasSuffix(got, overtaken) {
		t.Errorf("overtaken:\n%s", got)
	}
	s.end(search.Trial{ID: 21, Proposal: under, Seed: under.Seed}, scored(0.9700))
	kept := "19 from 8 [19 21] kept 0.9837 by 2, decided by 21, peak 997\n"
	if got := listed(search.Decided(s.h.Done)); !strings.HasSuffix(got, kept) || strings.Count(got, "\n19 from") != 1 {
		t.Errorf("kept after all:\n%s", got)
	}
	if s.h.Champion.ID != 19 {
		t.Errorf("the champion is trial %d", s.h.Champion.ID)
	}
	rulings := func(n int) (out []string) {
		for _, r := range search.Rulings(s.h.Done[:n]) {
			out = append(out, fmt.Sprintf("%d %s by %d", r.ID, r.As, r.Trial))
		}
		return out
	}
	all := rulings(len(s.h.Done))
	if got := strings.Join(all[len(all)-3:], ", "); len(all) != 14 || got != "19 discarded by 20, 20 kept by 20, 19 kept by 21" && got != "20 kept by 20, 19 discarded by 20, 19 kept by 21" {
		t.Errorf("%d rulings, the last %s", len(all), got)
	}
	for n := range s.h.Done { // what was counted stays
		if got := rulings(n); !slices.Equal(got, all[:len(got)]) {
			t.Errorf("after %d trials %q", n, got)
		}
	}
	if of, settled := search.Ended(s.h.Done[:19], s.h.Done[19]); of.ID != 20 || len(settled) != 2 {
		t.Errorf("trial 20 settled\n%s", listed(settled))
	}
	if of, settled := search.Ended(s.h.Done[:5], s.h.Done[5]); of.ID != 6 || len(settled) != 0 || of.Standing != search.StandingPending {
		t.Errorf("trial 6 settled\n%s", listed(settled))
	}
	if all := search.Candidates(search.History{Done: s.h.Done[:6]}); all[5].Standing != search.StandingPending {
		t.Errorf("before its second run: %+v", all[5])
	}
	if bpb, n := (&search.Candidate{}).Score(); n != 0 || !math.IsNaN(bpb) {
		t.Errorf("without a run: %g, %d", bpb, n)
	}
}

// TestTamperedRerun has a candidate whose second run tampered: what its first
// run scored is not believed any more, and it does not wait for another.
func TestTamperedRerun(t *testing.T) {
	s := begin(t, 0)
	s.try(1, scored(0.9980))
	s.try(2, scored(0.9978)) // promising
	lie := ended(search.Tampered)
	lie.Detail = "its losses are not those of its own logits"
	s.rerun(lie)
	want := "1 from 0 [1] kept 0.9980 by 1, decided by 1, peak 998\n2 from 1 [2 3] tampered (tampered), decided by 3, peak 0\n"
	if got := listed(search.Candidates(s.h)); got != want {
		t.Errorf("got\n%s", got)
	}
	if c := search.Candidates(s.h)[1]; !strings.Contains(c.Reason, lie.Detail) || c.Standing.Decision() != search.Crash {
		t.Errorf("%s: %s", c.Standing.Decision(), c.Reason)
	}
	if p, ok := s.judge.(search.Rerunner).Rerun(s.h); ok && p.Parent == 2 {
		t.Errorf("it is to run again: %+v", p)
	}
}
