package search_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"autoresearchd/search"
)

// tale is a study under the rule confirm, told trial by trial.
type tale struct {
	t     *testing.T
	judge search.Judge
	h     search.History
	text  strings.Builder
}

func begin(t *testing.T, trials int) *tale {
	judge, err := search.LookupJudge("confirm")
	if err != nil {
		t.Fatal(err)
	}
	return &tale{t: t, judge: judge, h: search.History{Trials: trials}}
}

// run judges a trial that scores bpb: the re-run that the judge wants, else a
// new program, whose constants are its id.
func (s *tale) run(bpb float64) search.Result {
	id := int64(len(s.h.Done) + 1)
	p, again := s.judge.(search.Rerunner).Rerun(s.h)
	constants := []search.Constant{{Name: "X", Value: search.IntValue(id)}}
	if again {
		for _, r := range s.h.Done {
			if r.Trial.ID == p.Parent {
				constants = r.Trial.Constants
			}
		}
	} else {
		p = search.Proposal{Strategy: "random", Description: fmt.Sprintf("X %d", id), Parent: s.h.Champion.ID}
	}
	return s.add(search.Trial{ID: id, Proposal: p, Constants: constants, Code: 1, Seed: p.Seed}, bpb)
}

// next is the trial that the judge wants to be run again, 0 if none.
func (s *tale) next() int64 {
	p, _ := s.judge.(search.Rerunner).Rerun(s.h)
	return p.Parent
}

func (s *tale) add(t search.Trial, bpb float64) search.Result {
	r := search.Result{Trial: t, Outcome: search.Outcome{Status: search.Completed, ValBPB: bpb, TrainingSeconds: 300}}
	r.Decision = s.judge.Judge(s.h, r)
	s.h.Done = append(s.h.Done, r)
	if r.Decision.Verdict == search.Keep {
		s.h.Champion = t
	}
	what := "new"
	if search.IsRerun(t) {
		what = fmt.Sprintf("trial %d again, %s", t.Proposal.Parent, t.Proposal.Why)
	}
	fmt.Fprintf(&s.text, "%d %s\n  %s: %s\n", t.ID, what, r.Decision.Verdict, r.Decision.Reason)
	return r
}

func (s *tale) claim() {
	confirmed, unconfirmed := search.Gains(s.h.Done)
	fmt.Fprintf(&s.text, "claim: %s\n  gains: %d confirmed, %d unconfirmed\n", s.judge.(search.Claimer).Claim(s.h).Words, confirmed, unconfirmed)
}

// TestConfirmInWords reads a whole study: luck that is found out, a gain that is
// confirmed, one that needs no second run, and the claim at the end.
func TestConfirmInWords(t *testing.T) {
	s := begin(t, 60)
	s.claim()
	s.run(0.9980) // the baseline
	s.claim()
	s.run(0.9984) // again, for the noise
	s.claim()
	s.run(0.9990)
	s.run(0.9978) // promising
	s.run(0.9989) // luck
	s.run(0.9976) // promising
	s.run(0.9977) // confirmed
	s.claim()
	s.run(0.9900) // beyond doubt
	for len(s.h.Done) < 60 {
		r := s.run(map[int64]float64{0: 0.9950, 1: 0.9983, 8: 0.9902}[s.next()])
		if search.IsRerun(r.Trial) {
			s.claim()
		} else if len(s.h.Done) > 54 {
			t.Errorf("trial %d is not kept for the claim", r.Trial.ID)
		}
	}
	s.golden("testdata/confirm.txt")
}

// golden compares what was told with a file.
func (s *tale) golden(file string) {
	s.t.Helper()
	got := s.text.String()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		s.t.Errorf("%v; UPDATE=1 rewrites %s; got:\n%s", err, file, got)
	}
}

// TestSameCodeUnderSeeds runs one program under 20 seeds: however it is named
// and seeded, none is a gain.
func TestSameCodeUnderSeeds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		s := begin(t, 0)
		code := []search.Constant{{Name: "DEPTH", Value: search.IntValue(8)}, {Name: "RANDOM_SEED", Value: search.IntValue(42)}}
		s.add(search.Trial{ID: 1, Constants: code, Code: 7, Seed: 42}, 0.998)
		for id := int64(2); id <= 21; id++ {
			trial := search.Trial{ID: id, Proposal: search.Proposal{Strategy: "llm", Parent: 1}, Constants: code, Code: 7, Seed: uint64(id)}
			if id%2 == 0 { // the seed written into train.py
				trial.Seed = 42
				trial.Constants = []search.Constant{code[0], {Name: "RANDOM_SEED", Value: search.IntValue(id)}}
			}
			if r := s.add(trial, 0.998+5e-4*r.NormFloat64()); r.Decision.Verdict != search.Discard {
				t.Fatalf("trial %d: %+v", id, r.Decision)
			}
		}
	}
}

// TestConfirmAfterFailures runs a promising trial again when its second run had
// no score, but not for ever.
func TestConfirmAfterFailures(t *testing.T) {
	s := begin(t, 0)
	for _, bpb := range []float64{0.998, 0.998, 0.9975} {
		s.run(bpb)
	}
	judge := s.judge.(search.Rerunner)
	for n := range 3 {
		p, again := judge.Rerun(s.h)
		if again != (n < 2) {
			t.Fatalf("after %d re-runs without a score: again is %v, %+v", n, again, p)
		}
		if !again {
			break
		}
		trial := search.Trial{ID: int64(len(s.h.Done) + 1), Proposal: p, Seed: p.Seed}
		h := s.h
		h.Pending = []search.Trial{trial}
		if p, again := judge.Rerun(h); again {
			t.Fatalf("asked for again while it runs: %+v", p)
		}
		r := search.Result{Trial: trial, Outcome: search.Outcome{Status: search.TimedOut}}
		r.Decision = s.judge.Judge(s.h, r)
		s.h.Done = append(s.h.Done, r)
	}
}

// TestConfirmWithPending counts the re-runs that run: a promising trial is not
// run again twice, no seed is given twice, and the last trials are kept for the
// claim however many run at once.
func TestConfirmWithPending(t *testing.T) {
	s := begin(t, 60)
	s.run(0.9980)
	s.run(0.9984)
	s.run(0.9978)
	s.run(0.9988) // luck
	s.run(0.9976)
	s.run(0.9977) // confirmed
	s.run(0.9975) // promising
	rerun := func() (search.Proposal, bool) {
		p, again := s.judge.(search.Rerunner).Rerun(s.h)
		id := int64(len(s.h.Done) + len(s.h.Pending) + 1)
		if !again {
			s.h.Pending = append(s.h.Pending, search.Trial{ID: id, Constants: []search.Constant{{Name: "X", Value: search.IntValue(id)}}, Code: 1})
			return p, again
		}
		s.h.Pending = append(s.h.Pending, search.Trial{ID: id, Proposal: p, Code: 1, Seed: p.Seed})
		return p, again
	}
	if p, again := rerun(); !again || p.Parent != 7 {
		t.Errorf("first it wants %+v again", p)
	}
	for range 3 {
		if p, again := rerun(); again {
			t.Errorf("while that runs it wants %+v again", p)
		}
	}
	s.h.Pending = nil
	for len(s.h.Done) < 40 {
		s.run(0.9990)
	}
	seeds := map[uint64]int64{}
	for len(s.h.Done)+len(s.h.Pending) < 60 {
		id := len(s.h.Done) + len(s.h.Pending) + 1
		p, again := rerun()
		if final := string(p.Memo) != ""; final != (id > 54) || id > 54 && !again {
			t.Errorf("trial %d is kept for the claim: %v, again: %v", id, final, again)
		}
		if again && id > 54 {
			if seeds[p.Seed] == p.Parent {
				t.Errorf("trial %d has the seed of another run of trial %d", id, p.Parent)
			}
			seeds[p.Seed] = p.Parent
		}
	}
}

// TestKinds has two kinds of devices, on one of which everything scores higher:
// the champion runs there first, what is worse there than it is there is no gain,
// and no mean is of both.
func TestKinds(t *testing.T) {
	for _, rule := range []string{"greedy", "confirm"} {
		judge, err := search.LookupJudge(rule)
		if err != nil {
			t.Fatal(err)
		}
		s := &tale{t: t, judge: judge, h: search.History{Trials: 40}}
		new := func(kind string, bpb float64) search.Result {
			id := int64(len(s.h.Done) + 1)
			return s.add(search.Trial{ID: id, Kind: kind, Constants: []search.Constant{{Name: "X", Value: search.IntValue(id)}}, Code: 1, Seed: 42,
				Proposal: search.Proposal{Strategy: "random", Description: fmt.Sprint("X ", id), Parent: s.h.Champion.ID}}, bpb)
		}
		rerun := func(kind string, bpb float64) (search.Result, bool) {
			s.h.Kind = kind
			p, again := judge.(search.Rerunner).Rerun(s.h)
			if !again {
				return search.Result{}, false
			}
			trial := search.Trial{ID: int64(len(s.h.Done) + 1), Kind: kind, Proposal: p, Seed: p.Seed, Code: 1}
			h := s.h
			h.Pending = []search.Trial{trial}
			if p, again := judge.(search.Rerunner).Rerun(h); again {
				t.Errorf("%s: it wants %+v while that runs", rule, p)
			}
			return s.add(trial, bpb), true
		}
		new("fast", 1.0)
		if rule == "confirm" {
			rerun("fast", 1.0004)
		}
		if r := new("slow", 0.5); r.Decision.Verdict != search.Discard || !strings.Contains(r.Decision.Reason, "compares with nothing") {
			t.Errorf("%s: where the champion has not run: %+v", rule, r.Decision)
		}
		if r, ok := rerun("slow", 2.0); !ok || r.Trial.Proposal.Parent != 1 || r.Decision.Verdict != search.Discard || r.Trial.Proposal.Why != "to have its score on slow" && rule == "greedy" {
			t.Errorf("%s: on another kind it wants %+v, %+v", rule, r.Trial.Proposal, r.Decision)
		}
		if r, ok := rerun("slow", 2.0); ok {
			t.Errorf("%s: then it wants %+v", rule, r.Trial.Proposal)
		}
		if r := new("fast", 1.01); r.Decision.Verdict != search.Discard {
			t.Errorf("%s: worse than the champion there, better than it elsewhere: %+v", rule, r.Decision)
		}
		r := new("slow", 1.9)
		if r.Decision.Verdict != search.Keep || !strings.Contains(r.Decision.Reason, "0.100000 below the champion's 2.000000") {
			t.Errorf("%s: better than the champion there: %+v", rule, r.Decision)
		}
		if again, ok := rerun("fast", 0.95); !ok || again.Trial.Proposal.Parent != r.Trial.ID {
			t.Errorf("%s: the new champion is to run on the other kind, and what does is %+v", rule, again.Trial.Proposal)
		}
		if levels := search.Levels(s.h.Done); levels[len(levels)-1] != 1.9 {
			t.Errorf("%s: the champion is known at %v", rule, levels)
		}
		if c, ok := judge.(search.Claimer); ok {
			if claim := c.Claim(s.h); claim.Noise > 0.01 {
				t.Errorf("the noise is %g: it is between kinds", claim.Noise)
			}
		}
	}
}

// TestConfirmOnInWords reads a study that screens on one kind of devices, where
// everything scores higher, and confirms on another.
func TestConfirmOnInWords(t *testing.T) {
	s := begin(t, 0)
	on := func(kind string, bpb float64) {
		id := int64(len(s.h.Done) + 1)
		s.h.Kind, s.h.ConfirmOn = kind, "H200"
		p, again := s.judge.(search.Rerunner).Rerun(s.h)
		constants := []search.Constant{{Name: "X", Value: search.IntValue(id)}}
		for _, r := range s.h.Done {
			if again && r.Trial.ID == p.Parent {
				constants = r.Trial.Constants
			}
		}
		if !again {
			p = search.Proposal{Strategy: "random", Description: fmt.Sprintf("X %d", id), Parent: s.h.Champion.ID}
		}
		fmt.Fprintf(&s.text, "%s, %.4f: ", kind, bpb)
		s.add(search.Trial{ID: id, Proposal: p, Constants: constants, Code: 1, Seed: p.Seed, Kind: kind, ConfirmOn: "H200"}, bpb)
	}
	on("A100", 1.0080) // the baseline
	on("A100", 1.0085) // no gain: it never runs on the other
	on("A100", 1.0070) // promising, and waits
	on("H200", 0.9980) // the baseline there
	on("H200", 0.9984) // and again, for the noise
	on("H200", 0.9988) // what was promising: luck
	on("A100", 0.9000) // promising, however far below
	on("A100", 1.0060)
	on("H200", 0.9800) // the first of the two
	on("A100", 1.0050) // it waits, as the other does
	on("H200", 0.9810) // the second, which is no gain any more
	on("H200", 0.9790) // nothing waits that is below: a new one there, promising by itself
	on("H200", 0.9794) // confirmed, and it has no score on the A100
	on("A100", 0.9100) // so that is made first
	on("A100", 0.9050)
	for _, c := range search.Candidates(s.h) {
		bpb, runs := c.Score()
		fmt.Fprintf(&s.text, "candidate %d: %s, %.4f (%d) on %s of %v\n", c.ID, c.Standing, bpb, runs, c.Kind(), c.Kinds())
	}
	fmt.Fprintf(&s.text, "%d to be confirmed\n", search.Unconfirmed(s.h))
	s.claim()
	s.golden("testdata/confirm-on.txt")
}

// TestSeedIsNoDimension leaves seeds out of the space, unless they are asked for.
func TestSeedIsNoDimension(t *testing.T) {
	consts := []search.Constant{{Name: "SEED", Value: search.IntValue(42)}, {Name: "TORCH_SEED", Value: search.IntValue(42)}, {Name: "SEEDLING_LR", Value: search.FloatValue(0.1)}}
	s, err := search.NewSpace(consts, nil)
	if err != nil || s.Len() != 1 || s.Dimensions()[0].Name != "SEEDLING_LR" {
		t.Errorf("%v %+v", err, s.Dimensions())
	}
	low, high := 1.0, 99.0
	s, err = search.NewSpace(consts, map[string]search.Override{"SEED": {Low: &low, High: &high}})
	if err != nil || s.Len() != 2 {
		t.Errorf("%v %+v", err, s.Dimensions())
	}
}

// TestLevels follows the champion's mean, up as well as down.
func TestLevels(t *testing.T) {
	s := begin(t, 0)
	for _, bpb := range []float64{0.9980, 0.9984, 0.9990, 0.9978, 0.9980} {
		s.run(bpb)
	}
	want := []float64{0.9980, 0.9982, 0.9982, 0.9982, 0.9979}
	for i, got := range search.Levels(s.h.Done) {
		if math.Abs(got-want[i]) > 1e-12 {
			t.Errorf("after trial %d: %g, want %g", i+1, got, want[i])
		}
	}
	crash := search.Result{Trial: search.Trial{ID: 1}, Outcome: search.Outcome{Status: search.Crashed}, Decision: search.Decision{Verdict: search.Crash}}
	if got := search.Levels([]search.Result{crash}); len(got) != 1 || !math.IsNaN(got[0]) {
		t.Errorf("without a score: %v", got)
	}
}

// TestGivenUp has a champion whose later runs are worse than an earlier one's: that
// one runs again, and takes its place if it is the better one still. In the study's
// last trials, which only state, nothing is given up.
func TestGivenUp(t *testing.T) {
	for _, c := range []struct {
		trials  int
		again   float64 // the earlier champion's run
		verdict search.Verdict
	}{{0, 0.9982, search.Keep}, {0, 1.0100, search.Discard}, {31, 0.9982, search.Discard}} {
		s := begin(t, c.trials)
		for _, bpb := range []float64{0.9980, 0.9984, 0.9978, 0.9979} {
			s.run(bpb)
		}
		for s.next() == 0 {
			s.run(0.9990)
		}
		if r := s.run(1.0000); r.Trial.Proposal.Parent != 3 || r.Decision.Verdict != search.Discard {
			t.Fatalf("the champion, trial 3, is to run again: %+v", r)
		}
		if c.trials > 0 && s.next() != 1 {
			t.Fatalf("the last comparison is of trial %d", s.next())
		}
		r := s.run(c.again)
		if r.Trial.Proposal.Parent != 1 || r.Decision.Verdict != c.verdict || strings.HasSuffix(r.Decision.Reason, "candidate 3 is given up for it") != (c.verdict == search.Keep) {
			t.Errorf("%d trials, %g: trial %d again: %+v", c.trials, c.again, r.Trial.Proposal.Parent, r.Decision)
		}
		_, champion := search.Ends(s.h.Done)
		last := int64(1)
		if c.verdict == search.Discard {
			last = 3
		}
		if champion.ID != last || s.next() == last && c.trials == 0 {
			t.Errorf("%d trials, %g: the champion is %d, to run again is %d", c.trials, c.again, champion.ID, s.next())
		}
		for _, x := range search.Candidates(s.h) {
			if x.ID == 3 && (x.Standing != search.StandingKept || x.GivenUp != map[search.Verdict]int64{search.Keep: 1}[c.verdict]) {
				t.Errorf("%d trials, %g: %+v", c.trials, c.again, x)
			}
		}
	}
}

// TestAlike has the kinds that compare.
func TestAlike(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"NVIDIA H200", "NVIDIA H200", true}, {"NVIDIA H200", "NVIDIA H200 NVL", false}, {"NVIDIA H200", "", true},
		{"2 CPU cores", "AMD EPYC 7B13, 2 CPU cores", true}, {"12 CPU cores", "AMD EPYC 7B13, 2 CPU cores", false},
		{"Intel Xeon, 2 CPU cores", "AMD EPYC 7B13, 2 CPU cores", false},
	} {
		if search.Alike(c.a, c.b) != c.want || search.Alike(c.b, c.a) != c.want {
			t.Errorf("%q and %q compare: %v", c.a, c.b, !c.want)
		}
	}
}

// TestBars holds each trial against the champion on its own kind of devices.
func TestBars(t *testing.T) {
	var done []search.Result
	add := func(kind string, bpb float64, verdict search.Verdict, again bool) {
		id := int64(len(done) + 1)
		trial := search.Trial{ID: id, Kind: kind, Constants: []search.Constant{{Name: "X", Value: search.IntValue(id)}}, Code: 1}
		if again {
			trial.Proposal = search.Proposal{Strategy: search.Confirm, Parent: 1}
		}
		done = append(done, search.Result{Trial: trial, Outcome: search.Outcome{Status: search.Completed, ValBPB: bpb}, Decision: search.Decision{Verdict: verdict}})
	}
	add("A100", 1.01, search.Keep, false)
	add("H200", 1.00, search.Discard, true)
	add("H200", 0.99, search.Keep, false)
	add("A100", 1.02, search.Discard, false)
	before, after := search.Bars(done)
	if got := fmt.Sprint(before, after); got != "[NaN NaN 1 NaN] [1.01 1 0.99 NaN]" {
		t.Error(got)
	}
}
