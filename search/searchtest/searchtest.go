// Package searchtest is the suite that every strategy passes, on simulated
// studies.
package searchtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

// Run holds a strategy, with the options of an empty table, to the contract.
func Run(t *testing.T, factory search.Factory) {
	t.Run("Replay", func(t *testing.T) { replay(t, factory) })
	t.Run("Contract", func(t *testing.T) { contract(t, factory) })
	t.Run("UnaskedTells", func(t *testing.T) { unasked(t, factory) })
	t.Run("Failures", func(t *testing.T) { failures(t, factory) })
	t.Run("ChangingSpace", func(t *testing.T) { changing(t, factory) })
	t.Run("Pending", func(t *testing.T) { pending(t, factory) })
	t.Run("Vetoed", func(t *testing.T) { vetoed(t, factory) })
	t.Run("SmallSpaces", func(t *testing.T) { small(t, factory) })
	t.Run("Cancelled", func(t *testing.T) { cancelled(t, factory) })
}

func build(t testing.TB, factory search.Factory) search.Strategy {
	t.Helper()
	s, err := factory(search.Environment{Seed: 7})
	if err != nil {
		t.Fatalf("build it with default options: %v", err)
	}
	return s
}

func start(t testing.TB, factory search.Factory, task simulate.Task) *simulate.Study {
	t.Helper()
	s, err := simulate.NewStudy(task, build(t, factory), 7)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask has the strategy propose, unvetoed, and checks what it proposes.
func ask(t testing.TB, s *simulate.Study) search.Trial {
	t.Helper()
	p, err := s.Strategy.Ask(context.Background(), s.History)
	if err != nil {
		t.Fatalf("ask after %d trials: %v", len(s.History.Done), err)
	}
	trial, err := s.Admit(p)
	if err != nil {
		t.Fatal(err)
	}
	check(t, s, trial)
	return trial
}

// turn asks, checks and finishes one trial; a nil outcome is the task's own.
func turn(t testing.TB, s *simulate.Study, outcome *search.Outcome) search.Trial {
	t.Helper()
	trial := ask(t, s)
	o := s.Outcome(trial)
	if outcome != nil {
		o = *outcome
	}
	if err := s.Finish(trial, o); err != nil {
		t.Fatal(err)
	}
	return trial
}

// check is what holds for every admitted proposal.
func check(t testing.TB, s *simulate.Study, trial search.Trial) {
	t.Helper()
	p := trial.Proposal
	if p.Strategy == "" || p.Description == "" || bytes.ContainsAny([]byte(p.Description), "\n\t") {
		t.Fatalf("proposal of %q says %q: it must name its strategy and describe itself in one line", p.Strategy, p.Description)
	}
	if len(p.Values) == 0 || len(trial.Changed) == 0 {
		t.Fatalf("proposal %q changes nothing", p.Description)
	}
	if len(p.Memo) > 0 && !json.Valid(p.Memo) {
		t.Fatalf("proposal %q: its memo is not JSON: %s", p.Description, p.Memo)
	}
	print := search.Fingerprint(trial.Constants)
	for _, r := range s.History.Done {
		if search.Fingerprint(r.Trial.Constants) == print {
			t.Fatalf("trial %d, %q, has the constants of trial %d", trial.ID, p.Description, r.Trial.ID)
		}
	}
	for _, r := range s.History.Pending {
		if search.Fingerprint(r.Constants) == print {
			t.Fatalf("trial %d, %q, has the constants of trial %d, which is pending", trial.ID, p.Description, r.ID)
		}
	}
	u := s.History.Space.Encode(trial.Constants)
	inside := s.History.Space.Decode(u)
	for _, d := range s.History.Space.Dimensions() {
		got, want := simulate.Values(trial.Constants)[d.Constant], inside[d.Constant]
		if !got.Equal(want) {
			t.Fatalf("proposal %q: %s = %s is outside the space, which has %s there", p.Description, d.Constant, got, want)
		}
	}
	for _, name := range search.Changed(s.History.Champion.Constants, trial.Constants) {
		if _, ok := inside[name]; !ok {
			t.Fatalf("proposal %q changes %s, which is fixed", p.Description, name)
		}
	}
}

func same(t testing.TB, what string, a, b search.Proposal) {
	t.Helper()
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("%s: proposed\n%+v, then\n%+v", what, a, b)
	}
}

// replay proves that a strategy built anew in the middle, and told the past
// again, goes on as the first would have.
func replay(t *testing.T, factory search.Factory) {
	s := start(t, factory, simulate.NewTask(1, 5e-4))
	for n := range 40 {
		first, err := s.Strategy.Ask(context.Background(), s.History)
		if err != nil {
			t.Fatal(err)
		}
		if n%6 == 3 {
			again, h := rebuilt(t, factory, s)
			second, err := again.Ask(context.Background(), h)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "rebuilt from the journal", first, second)
			s.Strategy = again
		}
		trial, err := s.Admit(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Finish(trial, s.Outcome(trial)); err != nil {
			t.Fatal(err)
		}
	}
	other, err := factory(search.Environment{Seed: 8})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.History.Done {
		other.Tell(r)
	}
	if _, err := other.Ask(context.Background(), s.History); err != nil {
		t.Fatalf("ask with another seed: %v", err)
	}
}

// rebuilt is a strategy built anew and told the past again, and the history as
// the journal gives it back.
func rebuilt(t testing.TB, factory search.Factory, s *simulate.Study) (search.Strategy, search.History) {
	t.Helper()
	again := build(t, factory)
	h := s.History
	h.Done = nil
	h.Pending = slices.Clone(h.Pending)
	for _, r := range s.History.Done {
		h.Done = append(h.Done, viaJSON(t, r))
		again.Tell(h.Done[len(h.Done)-1])
		if r.Trial.ID == h.Champion.ID {
			h.Champion = h.Done[len(h.Done)-1].Trial
		}
	}
	return again, h
}

// viaJSON is a result as the journal gives it back; its source lies elsewhere.
func viaJSON(t testing.TB, r search.Result) search.Result {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var out search.Result
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func contract(t *testing.T, factory search.Factory) {
	for _, task := range []simulate.Task{simulate.NewTask(2, 5e-4), simulate.Cpu(2, 0.002)} {
		s := start(t, factory, task)
		for range 60 {
			turn(t, s, nil)
		}
	}
}

// unasked mixes in trials of people and of other strategies.
func unasked(t *testing.T, factory search.Factory) {
	s := start(t, factory, simulate.NewTask(3, 5e-4))
	for n := range 30 {
		if n%3 == 0 {
			p := search.Proposal{Strategy: "suggestion", Description: "by hand", Parent: 1 + int64(n/3)%s.History.Champion.ID,
				Values: map[string]search.Value{"MATRIX_LR": search.FloatValue(0.04 + float64(n+1)*0.00137), "WARMUP_RATIO": search.FloatValue(0.9)},
				Memo:   []byte(`{"op": 5, "theirs": [1, 2]}`)}
			trial, err := s.Admit(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Finish(trial, s.Outcome(trial)); err != nil {
				t.Fatal(err)
			}
		}
		turn(t, s, nil)
	}
}

func failures(t *testing.T, factory search.Factory) {
	outcomes := []search.Outcome{
		{Status: search.OutOfMemory}, {Status: search.Crashed, Detail: "ValueError"}, {Status: search.Diverged, ValBPB: math.NaN()},
		{Status: search.TimedOut}, {Status: search.Pruned, ValBPB: 1.1}, {Status: search.Tampered, ValBPB: 0.01},
		{Status: search.Interrupted}, {Status: search.Completed, ValBPB: math.NaN()}, {Status: search.Completed, ValBPB: math.Inf(1)},
		{Status: search.Completed, ValBPB: math.Inf(-1)}, {Status: search.Completed}, {Status: search.Completed, ValBPB: 1e9}, {},
	}
	for i := range outcomes {
		s := start(t, factory, simulate.NewTask(4, 0))
		for range 8 { // nothing but this
			turn(t, s, &outcomes[i])
		}
		if s.History.Champion.ID != 1 {
			t.Errorf("%+v became the champion", outcomes[i])
		}
	}
	s := start(t, factory, simulate.NewTask(4, 0))
	s.History.Done[0].Outcome, s.History.Done[0].Decision = search.Outcome{Status: search.Crashed}, search.Decision{Verdict: search.Crash}
	for n := range 40 { // not even the baseline has a score, then a few have
		if n%5 == 4 && n > 20 {
			turn(t, s, nil)
		} else {
			turn(t, s, &outcomes[n%len(outcomes)])
		}
	}
}

// changing edits the champion's code: constants come, go and change their type.
func changing(t *testing.T, factory search.Factory) {
	s := start(t, factory, simulate.NewTask(5, 0))
	s.Task.True = nil
	line := func(name, text string, v search.Value) simulate.Line {
		return simulate.Line{Name: name, Text: text, Value: v}
	}
	replace := func(l []simulate.Line, with simulate.Line) []simulate.Line {
		for i := range l {
			if l[i].Name == with.Name {
				l[i] = with
			}
		}
		return l
	}
	betas := search.TupleValue(search.FloatValue(0.8), search.FloatValue(0.95), search.BoolValue(true))
	edits := []func([]simulate.Line) []simulate.Line{
		func(l []simulate.Line) []simulate.Line {
			return append(l, line("ROPE_BASE", "200_000.0", search.FloatValue(200000)))
		},
		func(l []simulate.Line) []simulate.Line { return append(l[:1:1], l[3:]...) },
		func(l []simulate.Line) []simulate.Line {
			return replace(l, line("ASPECT_RATIO", "0.5", search.FloatValue(0.5)))
		},
		func(l []simulate.Line) []simulate.Line {
			return replace(l, line("ADAM_BETAS", "(0.8, 0.95, True)", betas))
		},
		func(l []simulate.Line) []simulate.Line {
			l = replace(l, line("ADAM_BETAS", "0.9", search.FloatValue(0.9)))
			return append(l, line("USE_GATES", "False", search.BoolValue(false)), line("NAME", `"run"`, search.StringValue("run")))
		},
		func(l []simulate.Line) []simulate.Line { return l[len(l)-4:] },
	}
	bpb := 0.99
	finish := func(trial search.Trial, better bool) {
		t.Helper()
		o := search.Outcome{Status: search.Completed, ValBPB: bpb + 0.01}
		if better {
			bpb -= 0.001
			o.ValBPB = bpb
		}
		if err := s.Finish(trial, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, edit := range edits {
		for k := range 6 {
			finish(ask(t, s), k == 2)
		}
		var lines []simulate.Line
		for _, c := range s.History.Champion.Constants {
			lines = append(lines, simulate.Line{Name: c.Name, Text: c.Text, Value: c.Value, Comment: c.Comment})
		}
		source, _ := simulate.Source(edit(lines))
		edited, err := s.Admit(search.Proposal{Strategy: "llm", Description: "an edit", Parent: s.History.Champion.ID, Source: source})
		if err != nil {
			t.Fatal(err)
		}
		finish(edited, true)
	}
	ask(t, s)
}

// pending has sixteen trials run at once, which end in any order: none is asked
// for twice, and a strategy that is told the decisions in their order goes on as
// one that made the proposals in theirs.
func pending(t *testing.T, factory search.Factory) {
	s := start(t, factory, simulate.NewTask(6, 5e-4))
	for range 5 {
		turn(t, s, nil)
	}
	r := rand.New(rand.NewPCG(6, 1))
	for range 3 {
		for len(s.History.Pending) < 16 {
			s.History.Pending = append(s.History.Pending, ask(t, s))
		}
		for range 11 {
			trial := s.History.Pending[r.IntN(len(s.History.Pending))]
			if err := s.Finish(trial, s.Outcome(trial)); err != nil {
				t.Fatal(err)
			}
		}
		first, err := s.Strategy.Ask(context.Background(), s.History)
		if err != nil {
			t.Fatal(err)
		}
		again, h := rebuilt(t, factory, s)
		for i := range h.Pending {
			h.Pending[i] = viaJSON(t, search.Result{Trial: h.Pending[i]}).Trial
		}
		second, err := again.Ask(context.Background(), h)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "told in the order of decisions", first, second)
	}
}

// vetoed refuses what is proposed, again and again: then something else comes,
// and what comes next is no copy of it.
func vetoed(t *testing.T, factory search.Factory) {
	s := start(t, factory, simulate.NewTask(8, 0))
	for range 6 {
		turn(t, s, nil)
	}
	for range 3 {
		kept := s.History
		for range 5 {
			s.History.Pending = append(s.History.Pending, ask(t, s))
			s.History.Vetoed++
		}
		trial := ask(t, s)
		s.History = kept
		if err := s.Finish(trial, s.Outcome(trial)); err != nil {
			t.Fatal(err)
		}
	}
}

func small(t *testing.T, factory search.Factory) {
	one := simulate.Task{Lines: []simulate.Line{{Name: "MATRIX_LR", Text: "0.04", Value: search.FloatValue(0.04)}, {Name: "SEED", Text: "42", Value: search.IntValue(42)}},
		True: func(v map[string]search.Value) (float64, search.Status) {
			return 1 + math.Pow(math.Log(v["MATRIX_LR"].Number()/0.1), 2), search.Completed
		}}
	s := start(t, factory, one)
	for range 25 {
		turn(t, s, nil)
	}
	flag := simulate.Task{Lines: []simulate.Line{{Name: "USE_GATES", Text: "False", Value: search.BoolValue(false)}},
		True: func(map[string]search.Value) (float64, search.Status) { return 1, search.Completed }}
	s = start(t, factory, flag)
	turn(t, s, nil)
	if _, err := s.Strategy.Ask(context.Background(), s.History); !errors.Is(err, search.ErrExhausted) {
		t.Errorf("ask when both values of the only flag are tried: %v, want ErrExhausted", err)
	}
	nothing := simulate.Task{Lines: []simulate.Line{{Name: "SEED", Text: "42", Value: search.IntValue(42)}}, True: flag.True}
	s = start(t, factory, nothing)
	if _, err := s.Strategy.Ask(context.Background(), s.History); !errors.Is(err, search.ErrNoDimension) {
		t.Errorf("ask with nothing to search: %v, want ErrNoDimension", err)
	}
}

func cancelled(t *testing.T, factory search.Factory) {
	s := start(t, factory, simulate.NewTask(7, 0))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Strategy.Ask(ctx, s.History); !errors.Is(err, context.Canceled) {
		t.Errorf("ask with a cancelled context: %v", err)
	}
	turn(t, s, nil)
}

// Benchmark measures one Ask at so many trials of upstream's constants.
func Benchmark(b *testing.B, factory search.Factory, trials int) {
	s, err := simulate.Run(simulate.NewTask(1, 5e-4), factory, trials, 7)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Strategy.Ask(context.Background(), s.History); err != nil {
			b.Fatal(err)
		}
	}
}
