package turn_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/constraint"
	"autoresearchd/search/turn"
)

const start = "MATRIX_LR = 0.04\nDEPTH = 8\n"

// read finds NAME = number, a line each; a line that begins with ! is no Python.
func read(_ context.Context, source []byte) ([]search.Constant, string, error) {
	var out []search.Constant
	at := 0
	for n, row := range strings.SplitAfter(string(source), "\n") {
		if strings.HasPrefix(row, "!") {
			return nil, fmt.Sprintf("line %d: no Python", n+1), nil
		}
		name, text, ok := strings.Cut(strings.TrimSuffix(row, "\n"), " = ")
		var v float64
		if _, err := fmt.Sscan(text, &v); ok && err == nil {
			c := search.Constant{Name: name, Text: text, Value: search.FloatValue(v), Line: n + 1, Start: at + len(name) + 3, End: at + len(row) - 1}
			if !strings.Contains(text, ".") {
				c.Value = search.IntValue(int64(v))
			}
			out = append(out, c)
		}
		at += len(row)
	}
	return out, "", nil
}

// scripted proposes what it is given, and remembers what it was told was pending.
type scripted struct {
	proposals []search.Proposal
	asked     []search.History
}

func (s *scripted) Ask(_ context.Context, h search.History) (search.Proposal, error) {
	s.asked = append(s.asked, h)
	if len(s.proposals) == 0 {
		return search.Proposal{}, search.ErrExhausted
	}
	p := s.proposals[0]
	s.proposals = s.proposals[1:]
	return p, nil
}

func (s *scripted) Tell(search.Result) {}

// rerun is a judge that wants trial 1 again while nothing is pending.
type judge = search.Judge

type rerun struct{ judge }

func (rerun) Rerun(h search.History) (search.Proposal, bool) {
	return search.Proposal{Strategy: search.Confirm, Parent: 1, Seed: 7}, len(h.Pending) == 0
}

func set(name string, v float64) map[string]search.Value {
	if name == "DEPTH" {
		return map[string]search.Value{name: search.IntValue(int64(v))}
	}
	return map[string]search.Value{name: search.FloatValue(v)}
}

func rate(v float64) search.Proposal {
	return search.Proposal{Strategy: "s", Description: fmt.Sprint("rate ", v), Parent: 1, Values: set("MATRIX_LR", v)}
}

// fixture is a study whose first trial is done.
type fixture struct {
	turn.Turn
	s     *scripted
	h     search.History
	heard []string
}

func begin(t *testing.T, proposals ...search.Proposal) *fixture {
	t.Helper()
	f := &fixture{s: &scripted{proposals: proposals}}
	greedy, err := search.LookupJudge("greedy")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[int64]string{0: start, 1: start}
	f.Turn = turn.Turn{
		World: turn.World{
			Parent: func(ctx context.Context, id int64) ([]byte, []search.Constant, error) {
				source, ok := sources[id]
				if !ok {
					return nil, nil, errors.New("there is no such trial")
				}
				constants, _, err := read(ctx, []byte(source))
				return []byte(source), constants, err
			},
			Inspect: read,
			Examine: func(ctx context.Context, source []byte) ([]search.Constant, string, error) {
				if strings.Contains(string(source), "# unscored") {
					return nil, "it has no score", nil
				}
				return read(ctx, source)
			},
			Ideas: func() []search.Idea { return []search.Idea{{ID: 4, Text: "an idea"}} },
		},
		Strategy: f.s, Name: "s", Known: func(name string) bool { return name == "arm" }, Judge: greedy, Seed: 42,
		Listener: turn.Listener{
			Vetoed: func(t search.Trial, why string) { f.hear("vetoed %s: %s", t.Proposal.Description, why) },
			Mended: func(t search.Trial, why string) { f.hear("mended %s", t.Proposal.Description) },
			Unfit:  func(id int64, err error) { f.hear("passed over %d", id) },
		},
	}
	first, _, err := f.Next(context.Background(), search.History{})
	if err != nil || first.Proposal.Strategy != turn.Baseline || string(first.Source) != start || first.Seed != 42 || first.ID != 0 {
		t.Fatalf("the first trial is %+v, %v", first, err)
	}
	first.ID = 1
	r := search.Result{Trial: first, Outcome: search.Outcome{Status: search.Completed, ValBPB: 1}}
	r.Decision = turn.Decide(f.Judge, search.History{Pending: []search.Trial{first}}, r)
	f.h = turn.After(search.History{Pending: []search.Trial{first}}, r)
	if f.h.Space, err = search.NewSpace(first.Constants, nil); err != nil {
		t.Fatal(err)
	}
	if f.h.Champion.ID != 1 || len(f.h.Pending) != 0 || len(f.h.Done) != 1 {
		t.Fatalf("after it the history is %+v", f.h)
	}
	return f
}

func (f *fixture) hear(format string, args ...any) {
	f.heard = append(f.heard, fmt.Sprintf(format, args...))
}

// TestOrder has what comes first: the baseline alone, then people, the judge,
// the strategy.
func TestOrder(t *testing.T) {
	f := begin(t, rate(0.05), search.Proposal{Strategy: "arm", Parent: 1, Values: set("MATRIX_LR", 0.06), Ideas: []int64{9, 4}}, search.Proposal{Strategy: "forged", Parent: 1, Values: set("MATRIX_LR", 0.07), Ideas: []int64{9}})
	ctx := context.Background()
	if _, _, err := f.Next(ctx, search.History{Pending: []search.Trial{{ID: 1}}}); !errors.Is(err, turn.ErrWait) {
		t.Errorf("while the baseline runs: %v", err)
	}
	f.Turn.Judge = rerun{f.Turn.Judge}
	f.Suggested = []turn.Suggested{{ID: 8, Proposal: search.Proposal{Values: set("GONE", 1)}}, {ID: 9, Proposal: search.Proposal{Values: set("DEPTH", 9)}}}
	var got []string
	for range 4 {
		next, suggestion, err := f.Next(ctx, f.h)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s %v %d %v %d", next.Proposal.Strategy, strings.ReplaceAll(string(next.Source), "\n", " "), next.Changed, suggestion, next.Proposal.Ideas, next.Seed))
		f.Suggested = nil
		next.ID = int64(len(f.h.Pending) + 2)
		f.h.Pending = append(f.h.Pending, next)
	}
	want := []string{
		"suggestion MATRIX_LR = 0.04 DEPTH = 9  [DEPTH] 9 [] 42",
		"s MATRIX_LR = 0.05 DEPTH = 8  [MATRIX_LR] 0 [] 42", // the judge has nothing while something is pending
		"arm MATRIX_LR = 0.06 DEPTH = 8  [MATRIX_LR] 4 [4] 42",
		"s MATRIX_LR = 0.07 DEPTH = 8  [MATRIX_LR] 0 [] 42",
	}
	if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(f.heard, []string{"passed over 8"}) {
		t.Errorf("got\n%s\nwant\n%s\nheard %q", strings.Join(got, "\n"), strings.Join(want, "\n"), f.heard)
	}
	f.h.Pending = nil
	if next, _, err := f.Next(ctx, f.h); err != nil || next.Proposal.Strategy != search.Confirm || next.Seed != 7 {
		t.Errorf("with nothing pending: %+v, %v", next.Proposal, err)
	}
}

// TestVetoes asks again, with what was vetoed as pending, five times at most.
func TestVetoes(t *testing.T) {
	ctx := context.Background()
	f := begin(t, rate(0.04), rate(0.05), rate(0.06))
	running, _, err := f.Admit(ctx, rate(0.05))
	if err != nil {
		t.Fatal(err)
	}
	running.ID = 2
	f.h.Pending = []search.Trial{running}
	next, _, err := f.Next(ctx, f.h)
	if err != nil || next.Proposal.Description != "rate 0.06" || len(f.heard) != 2 {
		t.Fatalf("%+v, %v, heard %q", next.Proposal, err, f.heard)
	}
	var pending []string
	for _, h := range f.s.asked {
		ids := ""
		for _, p := range h.Pending {
			ids += fmt.Sprint(p.ID, " ")
		}
		pending = append(pending, fmt.Sprintf("%s%d begun", ids, h.Begun()))
	}
	if want := []string{"2 2 begun", "2 3 2 begun", "2 3 3 2 begun"}; !reflect.DeepEqual(pending, want) {
		t.Errorf("it was asked with %q pending, want %q", pending, want)
	}
	same := make([]search.Proposal, turn.Vetoes+1)
	near := make([]search.Proposal, turn.Vetoes+1)
	for i := range same {
		same[i], near[i] = rate(0.04), rate(0.040001)
	}
	f = begin(t, same...)
	if _, _, err := f.Next(ctx, f.h); !errors.Is(err, turn.ErrTried) || len(f.heard) != turn.Vetoes {
		t.Errorf("nothing but the champion: %v after %d vetoes", err, len(f.heard))
	}
	f = begin(t, near...)
	if next, _, err := f.Next(ctx, f.h); err != nil || next.Constants[0].Text == "0.04" || len(f.heard) != turn.Vetoes {
		t.Errorf("nothing but what is near it: %v after %d vetoes", err, len(f.heard))
	}
}

// TestMends has a trial made smaller that would not fit.
func TestMends(t *testing.T) {
	f := begin(t, search.Proposal{Strategy: "s", Description: "deeper", Parent: 1, Values: map[string]search.Value{"DEPTH": search.IntValue(60), "MATRIX_LR": search.FloatValue(0.05)}})
	f.Limits = constraint.Options{Memory: 100}
	f.h.Done[0].Outcome.PeakVRAM = 40
	for i, depth := range []float64{4, 6, 12, 16} {
		trial, _, err := f.Admit(context.Background(), search.Proposal{Parent: 1, Values: set("DEPTH", depth)})
		if err != nil {
			t.Fatal(err)
		}
		trial.ID = int64(i + 2)
		f.h.Done = append(f.h.Done, search.Result{Trial: trial, Outcome: search.Outcome{Status: search.Completed, ValBPB: 2, PeakVRAM: int64(5 * depth)}})
	}
	next, _, err := f.Next(context.Background(), f.h)
	if err != nil || len(f.heard) != 1 || !strings.HasPrefix(next.Proposal.Description, "deeper (mended: DEPTH 60 -> ") || next.Constants[1].Value.Whole() >= 60 || next.Constants[0].Value.Number() != 0.05 {
		t.Errorf("%q %v, %v, heard %q", next.Proposal.Description, next.Constants, err, f.heard)
	}
}

// TestFaults has sources that cannot be trials, and a turn that is ended.
func TestFaults(t *testing.T) {
	ended := errors.New("the seat is gone")
	for want, p := range map[string]search.Proposal{
		`proposal "p" of s: train.py: line 1: no Python`:                       {Strategy: "s", Description: "p", Parent: 1, Source: []byte("!\n")},
		"train.py cannot be a trial: it has no score":                          {Strategy: "s", Parent: 1, Source: []byte(start + "# unscored\n")},
		`proposal "p" of s: it does not fit its parent: `:                      {Strategy: "s", Description: "p", Parent: 1, Values: set("GONE", 1)},
		"there is no such trial":                                               {Strategy: "s", Parent: 5},
		"ask strategy s: the search space is used up: every proposal has been": {},
	} {
		f := begin(t, p)
		if p.Strategy == "" {
			f.s.proposals = nil
		}
		if _, _, err := f.Next(context.Background(), f.h); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f := begin(t, rate(0.04), rate(0.05))
	asked := 0
	f.Asking = func() error {
		if asked++; asked == 2 {
			return ended
		}
		return nil
	}
	if _, _, err := f.Next(context.Background(), f.h); !errors.Is(err, ended) || len(f.s.asked) != 1 {
		t.Errorf("got %v after %d proposals", err, len(f.s.asked))
	}
}
