package search_test

import (
	"strings"
	"testing"

	"autoresearchd/search"
)

// decide has a trial judged and the check asked, as a study does, and notes it.
func (s *tale) decide(t search.Trial, bpb float64, answer search.Answer) (r search.Result, q search.Question, asked bool) {
	r = search.Result{Trial: t, Outcome: search.Outcome{Status: search.Completed, ValBPB: bpb, TrainingSeconds: 300}}
	r.Decision = s.judge.Judge(s.h, r)
	if q, asked = search.ToCheck(s.judge, s.h, r); asked {
		r.Decision = r.Decision.Answered(answer)
	}
	s.h.Done = append(s.h.Done, r)
	return r, q, asked
}

// TestCheck asks about a candidate that is to be kept and was not before, and
// about no other. One that is refused is decided: it waits for no second run.
func TestCheck(t *testing.T) {
	s := begin(t, 0)
	trial := func(x int64, p search.Proposal) search.Trial {
		return search.Trial{ID: int64(len(s.h.Done) + 1), Proposal: p, Constants: []search.Constant{{Name: "X", Value: search.IntValue(x)}}, Code: 1, Seed: p.Seed}
	}
	agrees := search.Answer{Agrees: true, Ended: "exit status 0", Words: "fine"}
	if _, _, asked := s.decide(trial(1, search.Proposal{}), 0.998, search.Answer{}); asked {
		t.Error("it is asked about the first score")
	}
	if _, _, asked := s.decide(trial(2, search.Proposal{Parent: 1}), 0.999, search.Answer{}); asked {
		t.Error("it is asked about a discard")
	}
	for i, a := range []search.Answer{{Ended: "exit status 1"}, {Failed: true, Ended: "signal: killed"}} {
		r, q, asked := s.decide(trial(int64(3+i), search.Proposal{Parent: 1, Strategy: "random"}), 0.9-float64(i)/1000, a)
		if !asked || r.Decision.Verdict != search.Discard || q.Champion != 1 || q.Candidate != r.Trial.ID || !strings.Contains(r.Decision.Reason, a.Ended) {
			t.Fatalf("%+v: %v, %+v, %+v", a, asked, q, r.Decision)
		}
		for _, c := range search.Candidates(s.h) {
			if c.ID == r.Trial.ID && c.Standing != search.StandingDiscarded {
				t.Errorf("%+v: it is %s: %s", a, c.Standing, c.Reason)
			}
		}
		if p, again := s.judge.(search.Rerunner).Rerun(s.h); again && p.Parent != 1 {
			t.Errorf("%+v: the judge wants %+v", a, p)
		}
	}
	// The same program once more, as a person may ask: both runs count.
	refused := s.h.Done[len(s.h.Done)-1].Trial
	again := refused
	again.ID, again.Seed = int64(len(s.h.Done)+1), 7
	r, q, asked := s.decide(again, 0.89, agrees)
	if !asked || len(q.Runs) != 2 || q.Candidate != refused.ID || r.Decision.Verdict != search.Keep || !strings.HasSuffix(r.Decision.Reason, "; the check agrees: fine") {
		t.Errorf("%v, %+v, %+v", asked, q, r.Decision)
	}
	if q.Claim == nil || q.Claim.Champion != refused.ID {
		t.Errorf("the claim would be %+v", q.Claim)
	}
	if _, champion := search.Ends(s.h.Done); champion.ID != refused.ID || champion.Standing != search.StandingKept {
		t.Errorf("the champion is %+v", champion)
	}
	// What follows from the record follows again.
	for i, r := range s.h.Done {
		h := search.History{Done: s.h.Done[:i]}
		d := r
		d.Decision = s.judge.Judge(h, r)
		if _, ask := search.ToCheck(s.judge, h, d); ask {
			d.Decision = d.Decision.Answered(*r.Decision.Answer)
		}
		if d.Decision.Verdict != r.Decision.Verdict || d.Decision.Reason != r.Decision.Reason {
			t.Errorf("trial %d: %+v, and again %+v", r.Trial.ID, r.Decision, d.Decision)
		}
	}
}
