package search_test

import (
	"errors"
	"strings"
	"testing"

	"autoresearchd/search"
)

func ran(id int64, tokens int64) search.Result {
	return search.Result{
		Trial: search.Trial{ID: id, Code: 1, Kind: "cpu", Seed: 42, Budget: search.Budget{Seconds: 10}, Proposal: search.Proposal{Strategy: "x", Description: "x"},
			Constants: []search.Constant{{Name: "LR", Value: search.FloatValue(float64(id) / 100)}, {Name: "BETAS", Value: search.TupleValue(search.FloatValue(0.8), search.FloatValue(float64(id)))},
				{Name: "DEPTH", Value: search.IntValue(8)}, {Name: "SEED", Value: search.IntValue(id)}}},
		Outcome:  search.Outcome{Status: search.Completed, ValBPB: 1 + float64(id)/1000, Tokens: tokens, TrainingSeconds: 10},
		Decision: search.Decision{Verdict: search.Discard},
	}
}

// TestStarved compares a run with what came before it, and only with what did the
// same work.
func TestStarved(t *testing.T) {
	usual := []search.Result{ran(1, 100), ran(2, 230), ran(3, 76), ran(4, 150)} // the median is 125
	for name, c := range map[string]struct {
		done   []search.Result
		tokens int64
		change func(*search.Result)
		want   bool
	}{
		"far below":              {usual, 48, nil, true},
		"as slow as some":        {usual, 63, nil, false},
		"too few to compare":     {usual[:2], 1, nil, false},
		"other code":             {usual, 48, func(r *search.Result) { r.Trial.Code = 2 }, false},
		"code that is not known": {usual, 48, func(r *search.Result) { r.Trial.Code = 0 }, false},
		"another kind":           {usual, 48, func(r *search.Result) { r.Trial.Kind = "H100" }, false},
		"other work":             {usual, 48, func(r *search.Result) { r.Trial.Constants[2].Value = search.IntValue(9) }, false},
		"other budget":           {usual, 48, func(r *search.Result) { r.Trial.Budget.Seconds = 20 }, false},
		"no score":               {usual, 48, func(r *search.Result) { r.Outcome.Status = search.Crashed }, false},
		"ended early for it":     {usual, 48, func(r *search.Result) { r.Outcome.Status = search.Pruned }, true},
		"ended before its time":  {usual, 4, func(r *search.Result) { r.Outcome.TrainingSeconds = 4 }, false},
		"tokens not counted":     {usual, 0, nil, false},
	} {
		r := ran(9, c.tokens)
		if c.change != nil {
			c.change(&r)
		}
		if why, got := search.Starved(c.done, r.Trial, r.Outcome); got != c.want || got && !strings.Contains(why, "4.8 tokens a second, where 12.5 are usual") {
			t.Errorf("%s: %v %q", name, got, why)
		}
	}
	for tokens, want := range map[int64]string{920: "", 921: "implausibly fast: 92.1 tokens a second, where the fastest of 4 runs of this code with this work had 23"} {
		r := ran(9, tokens)
		if got := search.Hasty(usual, r.Trial, r.Outcome); got != want {
			t.Errorf("%d tokens: %q", tokens, got)
		}
		r.Trial.Constants[2].Value = search.IntValue(9)
		if got := search.Hasty(usual, r.Trial, r.Outcome) + search.Hasty(usual[:2], ran(9, tokens).Trial, r.Outcome); got != "" {
			t.Errorf("%d tokens with other work, or few runs: %q", tokens, got)
		}
	}
	steps := []search.Result{ran(1, 100), ran(2, 100), ran(3, 100), ran(4, 9)}
	for i := range steps {
		steps[i].Trial.Budget = search.Budget{Steps: 400}
	}
	if why, got := search.Starved(steps[:3], steps[3].Trial, steps[3].Outcome); got {
		t.Errorf("a budget in steps is the same work: %q", why)
	}
}

// TestVoid has a void run repeated once, on its kind of devices, and take no part
// in the noise.
func TestVoid(t *testing.T) {
	judge, err := search.LookupJudge(search.Confirm)
	if err != nil {
		t.Fatal(err)
	}
	first := ran(1, 100)
	first.Decision.Verdict = search.Keep
	void := ran(2, 40)
	void.Outcome.Status, void.Outcome.ValBPB, void.Outcome.Void = search.Interrupted, 0, "starved"
	h := search.History{Champion: first.Trial, Done: []search.Result{first}, Kind: "cpu"}
	if d := judge.Judge(h, void); d.Verdict != search.Discard || d.Reason != "starved: no evidence, so it is run once more" {
		t.Errorf("decided: %+v", d)
	}
	h.Done = append(h.Done, void)
	p, ok := search.Again(h)
	if !ok || p.Parent != 2 || p.Seed != 42 || !search.IsRerun(search.Trial{Proposal: p}) {
		t.Fatalf("again: %+v %v", p, ok)
	}
	again := ran(3, 40)
	again.Trial.Proposal = p
	if search.Repeats(h.Done, void.Trial) || !search.Repeats(h.Done, again.Trial) {
		t.Error("only the second run repeats a void one")
	}
	elsewhere, pending := h, h
	elsewhere.Kind, pending.Pending = "H100", []search.Trial{again.Trial}
	for name, h := range map[string]search.History{"on another kind": elsewhere, "while it runs": pending} {
		if p, ok := search.Again(h); ok {
			t.Errorf("%s: %+v", name, p)
		}
	}
	again.Outcome.ValBPB = 0.9
	if d := judge.Judge(h, again); d.Verdict != search.Keep {
		t.Errorf("its second run is judged as a first one: %+v", d)
	}
	h.Done = append(h.Done, again)
	if p, ok := search.Again(h); ok {
		t.Errorf("once more: %+v", p)
	}
	quiet := search.History{Champion: first.Trial, Done: []search.Result{first}}
	loud := search.History{Champion: first.Trial, Done: []search.Result{first, void}}
	claim := func(h search.History) float64 { return judge.(search.Claimer).Claim(h).Noise }
	if a, b := claim(quiet), claim(loud); a != b {
		t.Errorf("the noise is %g with a void run, %g without", b, a)
	}
}

// TestAnew has a trial's program run again for what was lost of it, while others
// wait, and gives it up when nothing comes of that.
func TestAnew(t *testing.T) {
	first := ran(1, 100)
	h := search.History{Champion: first.Trial, Done: []search.Result{first, ran(2, 100)}, Kind: "cpu"}
	p, err := search.Anew(h, 1)
	if err != nil || p.Parent != 1 || p.Seed != 42 || !search.IsRerun(search.Trial{Proposal: p}) {
		t.Fatalf("%+v %v", p, err)
	}
	again := ran(3, 100)
	again.Trial.Proposal = p
	h.Pending = []search.Trial{again.Trial}
	if p, err := search.Anew(h, 1); !errors.Is(err, search.ErrRunsAnew) {
		t.Errorf("while it runs: %+v %v", p, err)
	}
	h.Pending, h.Done = nil, append(h.Done, again)
	if _, err := search.Anew(h, 1); err != nil {
		t.Errorf("after one that came to nothing: %v", err)
	}
	if p, err := search.Anew(search.History{Done: append(h.Done, again)}, 1); !errors.Is(err, search.ErrNotAnew) {
		t.Errorf("after two: %+v %v", p, err)
	}
	if _, err := search.Anew(search.History{Done: append(h.Done, again, ran(4, 100))}, 1); err != nil {
		t.Errorf("lost again later: %v", err)
	}
	if p, err := search.Anew(h, 9); !errors.Is(err, search.ErrNotAnew) {
		t.Errorf("a trial that is not there: %+v %v", p, err)
	}
}
