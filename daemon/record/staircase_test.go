package record

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"autoresearchd/search"
)

// TestStaircase has a champion whose later runs are worse than its first ones:
// the line stands where it is known to be now, what it beat by luck is marked,
// and what was discarded because it was not below it then is, too.
func TestStaircase(t *testing.T) {
	start := time.Date(2026, 1, 5, 22, 0, 0, 0, time.UTC)
	var done []search.Result
	run := func(bpb float64, verdict search.Verdict, again int64) {
		id := int64(len(done) + 1)
		r := search.Result{Trial: search.Trial{ID: id, Candidate: id, StartedAt: start.Add(time.Duration(id-1) * time.Hour)}}
		r.Trial.Proposal = search.Proposal{Strategy: "tpe", Parent: 1, Description: fmt.Sprint("DEPTH 8 -> ", id)}
		if again > 0 {
			r.Trial.Candidate, r.Trial.Proposal = again, search.Proposal{Strategy: search.Confirm, Parent: again}
		}
		r.Outcome = search.Outcome{Status: search.Completed, ValBPB: bpb, WallSeconds: 1800}
		if bpb == 0 {
			r.Outcome.Status = search.OutOfMemory
		}
		r.Decision = search.Decision{Verdict: verdict, Reason: "reason"}
		done = append(done, r)
	}
	run(1.00, search.Keep, 0)
	run(0.90, search.Discard, 0) // promising
	run(0.92, search.Keep, 2)
	run(0, search.Crash, 0)
	run(0.93, search.Discard, 0)
	run(1.03, search.Discard, 2) // which is 0.95 now
	run(0.94, search.Discard, 0) // promising
	run(0.99, search.Discard, 7) // and luck, at 0.965
	run(0.93, search.Discard, 0) // pending

	s := NewStaircase(done)
	var got []string
	for _, m := range s.Marks {
		line := fmt.Sprintf("%d %s at %d, %.1f h", m.ID, m.Standing, m.At, m.Hours)
		if bpb, n := m.Score(); n > 0 {
			line += fmt.Sprintf(", %.3f of %d", bpb, n)
		}
		if m.Against != nil {
			line += fmt.Sprintf(" against %.2f", *m.Against)
		}
		if m.Below {
			line += ", below"
		}
		got = append(got, line)
	}
	for _, x := range s.Steps {
		got = append(got, fmt.Sprintf("from %d, %.1f h: %.2f of %d", x.At, x.Hours, x.ValBPB, x.Champion))
	}
	want := []string{
		"1 kept at 1, 0.5 h, 1.000 of 1",
		"2 kept at 3, 2.5 h, 0.950 of 3 against 1.00",
		"4 crashed at 4, 3.5 h against 0.95",
		"5 discarded at 5, 4.5 h, 0.930 of 1 against 0.95, below",
		"7 refuted at 8, 7.5 h, 0.965 of 2 against 0.95",
		"9 pending at 9, 8.5 h, 0.930 of 1 against 0.95",
		"from 1, 0.5 h: 1.00 of 1",
		"from 3, 2.5 h: 0.95 of 2",
	}
	if s.Baseline != 1 || s.Champion != 2 || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("baseline %g, champion %d\n%s", s.Baseline, s.Champion, strings.Join(got, "\n"))
	}
}
