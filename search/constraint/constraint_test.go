package constraint_test

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/constraint"
	"autoresearchd/search/random"
	"autoresearchd/search/simulate"
)

const gib = 1 << 30

// need is the memory that the synthetic task takes, in bytes.
func need(v map[string]search.Value) float64 {
	log2 := func(name string, start float64) float64 { return math.Log2(v[name].Number() / start) }
	return gib * 45 * math.Pow(2, 1.6*log2("DEPTH", 8)+0.9*log2("ASPECT_RATIO", 64)+0.95*log2("DEVICE_BATCH_SIZE", 128))
}

// study is a simulated one in which trials pass the constraint, as in the supervisor.
type study struct {
	task    simulate.Task
	h       search.History
	options *constraint.Options // nil: everything is admitted
	reads   bool                // trials report their memory
	noise   *rand.Rand
	whole   bool
	seed    uint64
	best    float64
	memory  int // trials that ran out of it
	repairs int
	vetoes  int
	wronged int // of these, trials that would have fitted and beaten the champion
	refused int // of these, trials that would have fitted
}

func (s *study) outcome(t search.Trial) search.Outcome {
	v := simulate.Values(t.Constants)
	bpb, status := s.task.True(v)
	o := search.Outcome{Status: status}
	if status == search.Completed {
		o.ValBPB = bpb + s.task.Noise*s.noise.NormFloat64()
		if s.reads {
			o.PeakVRAM = int64(need(v) * (1 + 0.01*s.noise.NormFloat64()))
		}
	}
	return o
}

func (s *study) finish(t *testing.T, trial search.Trial) {
	judge, err := search.LookupJudge("greedy")
	if err != nil {
		t.Fatal(err)
	}
	r := search.Result{Trial: trial, Outcome: s.outcome(trial)}
	r.Decision = judge.Judge(s.h, r)
	s.h.Done = append(s.h.Done, r)
	if r.Outcome.Status == search.OutOfMemory {
		s.memory++
	}
	if r.Decision.Verdict == search.Keep {
		s.h.Champion = trial
		if s.h.Space, err = search.NewSpace(trial.Constants, nil); err != nil {
			t.Fatal(err)
		}
		s.best, _ = s.task.True(simulate.Values(trial.Constants))
	}
}

// ask proposes until one is admitted: a strategy that is asked again with
// nothing new known would say the same again, so another seed is.
func (s *study) ask(t *testing.T) search.Trial {
	for attempt := range uint64(50) {
		strategy, err := random.New(search.Environment{Seed: s.seed + 1000*attempt, Table: func(o any) error {
			if s.whole {
				o.(*random.Options).Around, o.(*random.Options).Change = "space", 0
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := strategy.Ask(context.Background(), s.h)
		if err != nil {
			t.Fatal(err)
		}
		trial := s.admit(t, p)
		if s.options == nil {
			return trial
		}
		v := constraint.Check(s.h, trial, *s.options)
		if (v.Action == constraint.OK) != (v.Reason == "") || (v.Action == constraint.Repair) != (len(v.Values) > 0) {
			t.Fatalf("verdict %+v", v)
		}
		bpb, status := s.task.True(simulate.Values(trial.Constants))
		if v.Action != constraint.OK && v.Like == 0 && status == search.Completed {
			s.refused++
			if bpb < s.best {
				s.wronged++
			}
		}
		switch v.Action {
		case constraint.OK:
			return trial
		case constraint.Repair:
			s.repairs++
			p.Values = maps.Clone(p.Values)
			maps.Copy(p.Values, v.Values)
			mended := s.admit(t, p)
			if again := constraint.Check(s.h, mended, *s.options); again.Action != constraint.OK {
				t.Fatalf("repaired by %v, it is refused: %+v", v.Values, again)
			}
			return mended
		case constraint.Veto:
			s.vetoes++
		}
	}
	t.Fatal("nothing is admitted")
	return search.Trial{}
}

func (s *study) admit(t *testing.T, p search.Proposal) search.Trial {
	source, consts, err := simulate.Apply(s.h.Champion.Source, s.h.Champion.Constants, p.Values)
	if err != nil {
		t.Fatal(err)
	}
	return search.Trial{ID: int64(len(s.h.Done) + 1), Proposal: p, Source: source, Constants: consts, Changed: search.Changed(s.h.Champion.Constants, consts), Seed: 42}
}

func start(t *testing.T, seed uint64) *study {
	t.Helper()
	s := &study{task: simulate.NewTask(seed, 5e-4), seed: seed, noise: rand.New(rand.NewPCG(seed, 1)), best: math.Inf(1)}
	source, consts := simulate.Source(s.task.Lines)
	s.h.Champion = search.Trial{ID: 1, Source: source, Constants: consts, Seed: 42, Proposal: search.Proposal{Strategy: "baseline"}}
	return s
}

func TestFewerTrialsRunOutOfMemory(t *testing.T) {
	const studies, trials = 8, 100
	run := func(whole, reads bool, o *constraint.Options) (share, regret float64, refused, wronged int) {
		for seed := range uint64(studies) {
			s := start(t, seed)
			s.whole, s.reads, s.options = whole, reads, o
			s.finish(t, s.h.Champion)
			first := s.best
			for len(s.h.Done) < trials {
				s.finish(t, s.ask(t))
			}
			share += float64(s.memory) / studies / trials
			regret += (s.best - s.task.Floor) / (first - s.task.Floor) / studies
			refused += s.refused
			wronged += s.wronged
		}
		return share, regret, refused, wronged
	}
	for _, whole := range []bool{false, true} {
		name := map[bool]string{false: "around the champion", true: "in the whole space"}[whole]
		free, freeRegret, _, _ := run(whole, true, nil)
		t.Logf("random %s: %.1f %% out of memory, regret %.3f", name, 100*free, freeRegret)
		for _, c := range []struct {
			name  string
			reads bool
			o     constraint.Options
			part  float64
		}{
			{"memory read, limit known", true, constraint.Options{Memory: 80 * gib}, 0.25},
			{"memory read, limit learned", true, constraint.Options{}, 0.35},
			{"nothing but failures", false, constraint.Options{}, 0.75},
		} {
			share, regret, refused, wronged := run(whole, c.reads, &c.o)
			t.Logf("%-27s %.1f %% out of memory, regret %.3f; of %d trials %d that fit were refused, %d of them better than the champion", c.name+":", 100*share, regret, studies*trials, refused, wronged)
			if share > c.part*free {
				t.Errorf("random %s, %s: %.1f %% out of memory, %.1f %% without the constraint", name, c.name, 100*share, 100*free)
			}
			if wronged > studies*trials/100 || regret > freeRegret+0.03 {
				t.Errorf("random %s, %s: %d better trials were refused, regret %.3f against %.3f", name, c.name, wronged, regret, freeRegret)
			}
		}
	}
}

func trial(t *testing.T, h search.History, id int64, values map[string]search.Value) search.Trial {
	t.Helper()
	source, consts, err := simulate.Apply(h.Champion.Source, h.Champion.Constants, values)
	if err != nil {
		t.Fatal(err)
	}
	return search.Trial{ID: id, Source: source, Constants: consts, Seed: 42, Proposal: search.Proposal{Parent: h.Champion.ID, Values: values}}
}

func begun(t *testing.T) *study {
	s := start(t, 1)
	s.reads = true
	s.finish(t, s.h.Champion)
	return s
}

func TestDuplicates(t *testing.T) {
	s := begun(t)
	lr := func(x float64) map[string]search.Value {
		return map[string]search.Value{"MATRIX_LR": search.FloatValue(x)}
	}
	s.h.Done = append(s.h.Done, search.Result{Trial: trial(t, s.h, 2, lr(0.06)), Outcome: search.Outcome{Status: search.Completed, ValBPB: 1.1}})
	s.h.Pending = []search.Trial{trial(t, s.h, 3, lr(0.07))}
	other := trial(t, s.h, 9, lr(0.06))
	other.Seed = 43
	edit := trial(t, s.h, 9, nil)
	edit.Source = []byte(strings.ReplaceAll(string(edit.Source), "import prepare\n", "# prepare\n\nimport prepare  # it\n"))
	edit.Proposal.Source = edit.Source
	var err error
	if edit.Constants, err = simulate.Read(edit.Source); err != nil {
		t.Fatal(err)
	}
	changed := trial(t, s.h, 9, nil)
	changed.Source = append(changed.Source, "prepare.more()\n"...)
	changed.Proposal.Source = changed.Source
	for _, c := range []struct {
		name  string
		trial search.Trial
		o     constraint.Options
		like  int64
	}{
		{"new", trial(t, s.h, 9, lr(0.05)), constraint.Options{}, 0},
		{"the champion", trial(t, s.h, 9, nil), constraint.Options{}, 1},
		{"the same", trial(t, s.h, 9, lr(0.06)), constraint.Options{}, 2},
		{"another seed", other, constraint.Options{}, 0},
		{"pending", trial(t, s.h, 9, lr(0.07)), constraint.Options{}, 3},
		{"nearly the same", trial(t, s.h, 9, lr(0.0601)), constraint.Options{}, 2},
		{"only equal ones", trial(t, s.h, 9, lr(0.0601)), constraint.Options{Near: -1}, 0},
		{"near enough is near", trial(t, s.h, 9, lr(0.062)), constraint.Options{Near: 0.01}, 2},
		{"a comment", edit, constraint.Options{}, 1},
		{"an edit", changed, constraint.Options{}, 0},
	} {
		v := constraint.Check(s.h, c.trial, c.o)
		if v.Like != c.like || (v.Action == constraint.Veto) != (c.like != 0) {
			t.Errorf("%s: %+v, want it to be like trial %d", c.name, v, c.like)
		}
	}
	s.h.Done[1].Outcome = search.Outcome{Status: search.Interrupted}
	if v := constraint.Check(s.h, trial(t, s.h, 9, lr(0.06)), constraint.Options{}); v.Action != constraint.OK {
		t.Errorf("an interrupted trial again: %+v", v)
	}
}

func TestRepair(t *testing.T) {
	s := begun(t)
	o := constraint.Options{Memory: 80 * gib}
	for n, v := range []map[string]search.Value{
		{"DEVICE_BATCH_SIZE": search.IntValue(64)}, {"DEVICE_BATCH_SIZE": search.IntValue(32)}, {"DEPTH": search.IntValue(6)},
		{"ASPECT_RATIO": search.IntValue(32)}, {"DEPTH": search.IntValue(9)}, {"TOTAL_BATCH_SIZE": search.IntValue(1 << 21)}, {"HEAD_DIM": search.IntValue(32)},
	} {
		one := trial(t, s.h, int64(n+2), v)
		s.h.Done = append(s.h.Done, search.Result{Trial: one, Outcome: s.outcome(one)})
	}
	big := trial(t, s.h, 20, map[string]search.Value{
		"DEPTH": search.IntValue(24), "MATRIX_LR": search.FloatValue(0.05), "HEAD_DIM": search.IntValue(64), "TOTAL_BATCH_SIZE": search.IntValue(1 << 20),
	})
	v := constraint.Check(s.h, big, o)
	if v.Action != constraint.Repair || v.Risk < 0.9 || len(v.Values) != 1 {
		t.Fatalf("depth 24: %+v", v)
	}
	if d := v.Values["DEPTH"].Whole(); d < 9 || d > 11 {
		t.Errorf("depth 24 is repaired to %d; 11 fits in truth", d)
	}
	t.Log(v.Reason)
	only := trial(t, s.h, 20, map[string]search.Value{"DEVICE_BATCH_SIZE": search.IntValue(1024)})
	if v := constraint.Check(s.h, only, o); v.Action != constraint.Veto || !strings.Contains(v.Reason, "GiB") {
		t.Errorf("nothing but a device batch of 1024: %+v", v)
	}
	if v := constraint.Check(s.h, big, constraint.Options{}); v.Action == constraint.OK && v.Risk > 0 {
		t.Errorf("nothing has run out of memory and the limit is unknown: %+v", v)
	}
}

func TestSlowStart(t *testing.T) {
	s := begun(t)
	at := func(depth int64, id int64) search.Trial {
		return trial(t, s.h, id, map[string]search.Value{"DEPTH": search.IntValue(depth), "MATRIX_LR": search.FloatValue(0.05)})
	}
	s.h.Done[0].Outcome.Phases = map[search.Phase]float64{search.Startup: 5, search.Compile: 75}
	for n, depth := range []int64{6, 7, 10, 12} {
		took := 10 * float64(depth)
		s.h.Done = append(s.h.Done, search.Result{Trial: at(depth, int64(n+2)), Outcome: search.Outcome{
			Status: search.Completed, ValBPB: 1.1, Phases: map[search.Phase]float64{search.Startup: 5, search.Compile: took - 5},
		}})
	}
	o := constraint.Options{FirstStep: 150}
	if v := constraint.Check(s.h, at(9, 20), o); v.Action != constraint.OK {
		t.Errorf("90 seconds of 150: %+v", v)
	}
	v := constraint.Check(s.h, at(24, 20), o)
	if v.Action != constraint.Repair || v.Values["DEPTH"].Whole() > 16 || !strings.Contains(v.Reason, "first step") {
		t.Errorf("240 seconds of 150: %+v", v)
	}
	s.h.Done = append(s.h.Done, search.Result{Trial: at(14, 9), Outcome: search.Outcome{
		Status: search.TimedOut, Phases: map[search.Phase]float64{search.Startup: 5, search.Compile: 145},
	}})
	if again := constraint.Check(s.h, at(24, 20), o); again.Risk < v.Risk {
		t.Errorf("depth 14 timed out, and the risk of 24 went from %.2f to %.2f", v.Risk, again.Risk)
	}
}

func BenchmarkCheck1000(b *testing.B) {
	study, err := simulate.Run(simulate.NewTask(1, 5e-4), random.New, 1000, 7)
	if err != nil {
		b.Fatal(err)
	}
	p, err := study.Ask()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		constraint.Check(study.History, p, constraint.Options{})
	}
}
