package tpe

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/searchtest"
	"autoresearchd/search/simulate"
)

func with(change func(*Options)) search.Factory {
	return func(env search.Environment) (search.Strategy, error) {
		env.Table = func(o any) error { change(o.(*Options)); return nil }
		return New(env)
	}
}

func TestConformance(t *testing.T) { searchtest.Run(t, New) }

func TestConformanceWithoutOpening(t *testing.T) {
	searchtest.Run(t, with(func(o *Options) { *o = Options{Opening: 0, Reach: 1, Good: 0.5, Prior: 1e-3, Candidates: 1} }))
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := with(func(o *Options) { *o = Options{Opening: -1} })(search.Environment{Seed: 1})
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Fatalf("five bad options: %v", err)
	}
}

// axesForTest has one axis of each kind.
func axesForTest(t *testing.T) []axis {
	t.Helper()
	f, n := search.FloatValue, search.IntValue
	_, consts := simulate.Source([]simulate.Line{
		{Name: "MATRIX_LR", Text: "0.04", Value: f(0.04)}, {Name: "DEPTH", Text: "8", Value: n(8)},
		{Name: "TOTAL_BATCH_SIZE", Text: "2**19", Value: n(1 << 19)}, {Name: "WINDOW_PATTERN", Text: `"SL"`, Value: search.StringValue("SL")},
	})
	space, err := search.NewSpace(consts, nil)
	if err != nil {
		t.Fatal(err)
	}
	axes := newAxes(space)
	for i, want := range []kind{line, cells, cells, category} {
		if axes[i].kind != want {
			t.Fatalf("axis %d is of kind %d, want %d", i, axes[i].kind, want)
		}
	}
	return axes
}

// TestDensityIsOne integrates over the line and sums over the values of the rest.
func TestDensityIsOne(t *testing.T) {
	axes := axesForTest(t)
	home := make([]float64, len(axes))
	for i := range axes {
		home[i] = axes[i].home
	}
	at := [][]float64{home, {0.02, axes[1].places[0], axes[2].places[6], 0.01}, {-0.7, 1.3, -0.2, math.NaN()}, {math.NaN(), 0.5, math.NaN(), 0.99}, {2, -1, 2, 0.5}}
	for _, narrow := range []float64{0.01, 0.1, 0.9} {
		w := width{prior: 0.5, other: 0.5, narrow: []float64{narrow, narrow, narrow, narrow}}
		d := newDensity(axes, w, at, []float64{1, 2, 0.5, 1, 1}, 0.7)
		scratch := make([]float64, len(at)+1)
		sum := 0.0
		const steps = 2000
		u := make([]float64, 4)
		for k := range steps {
			u[0] = (float64(k) + 0.5) / steps
			if narrow > 0.05 && k%20 != 10 {
				continue
			}
			part := 0.0
			for _, u[1] = range axes[1].places {
				for _, u[2] = range axes[2].places {
					for c := range axes[3].n {
						u[3] = (float64(c) + 0.5) / float64(axes[3].n)
						part += math.Exp(d.log(u, scratch))
					}
				}
			}
			sum += part / steps
			if narrow > 0.05 {
				sum += 19 * part / steps
			}
		}
		if math.Abs(sum-1) > 2e-3 {
			t.Errorf("bandwidth %g: the density integrates to %g", narrow, sum)
		}
	}
}

// TestSamplesFollowTheDensity compares the shares of samples with the density,
// along each axis.
func TestSamplesFollowTheDensity(t *testing.T) {
	axes := axesForTest(t)[1:3]
	w := width{prior: 0.5, other: 0.5, narrow: []float64{0.1, 0.1}}
	d := newDensity(axes, w, [][]float64{{axes[0].places[2], axes[1].places[5]}, {1.1, math.NaN()}}, []float64{2, 1}, 1)
	r := rand.New(rand.NewPCG(1, 2))
	scratch := make([]float64, 3)
	got := map[[2]int]float64{}
	const draws = 40000
	for range draws {
		u := d.sample(r)
		got[[2]int{axes[0].index(u[0]), axes[1].index(u[1])}] += 1.0 / draws
	}
	for i, x := range axes[0].places {
		for k, y := range axes[1].places {
			want := math.Exp(d.log([]float64{x, y}, scratch))
			if have := got[[2]int{i, k}]; math.Abs(have-want) > 5*math.Sqrt(want/draws)+1e-4 {
				t.Errorf("value %d, %d: %.4f of the samples, the density is %.4f", i, k, have, want)
			}
		}
	}
}

// study has a strategy that is past its opening, on the task of one constant.
func study(t *testing.T, outcomes map[float64]search.Outcome) *simulate.Study {
	t.Helper()
	strategy, err := with(func(o *Options) { o.Opening = 2 })(search.Environment{Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	s, err := simulate.NewStudy(simulate.Task{Lines: []simulate.Line{{Name: "MATRIX_LR", Text: "0.04", Value: search.FloatValue(0.04)}},
		True: func(map[string]search.Value) (float64, search.Status) { return 1, search.Completed }}, strategy, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, lr := range []float64{0.006, 0.008, 0.012, 0.016, 0.022, 0.03, 0.05, 0.07, 0.1, 0.14, 0.19, 0.25, 0.32} {
		o, ok := outcomes[lr]
		if !ok {
			continue
		}
		trial, err := s.Admit(search.Proposal{Strategy: "suggestion", Description: "by hand", Parent: 1, Values: map[string]search.Value{"MATRIX_LR": search.FloatValue(lr)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Finish(trial, o); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestFailuresRepel has rates above the start's that fail in each of the ways,
// and rates below that score a little worse: it should go on below.
func TestFailuresRepel(t *testing.T) {
	for _, status := range []search.Status{search.OutOfMemory, search.Crashed, search.Diverged, search.TimedOut, search.Pruned} {
		outcomes := map[float64]search.Outcome{}
		for lr, bpb := range map[float64]float64{0.006: 1.3, 0.008: 1.2, 0.012: 1.1, 0.016: 1.08, 0.022: 1.05, 0.03: 1.02} {
			outcomes[lr] = search.Outcome{Status: search.Completed, ValBPB: bpb}
		}
		for _, lr := range []float64{0.05, 0.07, 0.1, 0.14, 0.19, 0.25, 0.32} {
			outcomes[lr] = search.Outcome{Status: status}
		}
		s := study(t, outcomes)
		below := 0
		const seeds = 50
		for seed := range uint64(seeds) {
			strategy, err := New(search.Environment{Seed: seed, Table: func(o any) error { o.(*Options).Opening = 2; return nil }})
			if err != nil {
				t.Fatal(err)
			}
			p, err := strategy.Ask(context.Background(), s.History)
			if err != nil {
				t.Fatal(err)
			}
			if p.Values["MATRIX_LR"].Number() < 0.047 {
				below++
			}
		}
		if below < seeds*8/10 {
			t.Errorf("%s: %d of %d proposals keep clear of the failures", status, below, seeds)
		}
	}
}

// TestPendingTrialsRepel: what runs already is not where the next one goes.
func TestPendingTrialsRepel(t *testing.T) {
	s := study(t, map[float64]search.Outcome{
		0.006: {Status: search.Completed, ValBPB: 1.1}, 0.012: {Status: search.Completed, ValBPB: 1.05},
		0.1: {Status: search.Completed, ValBPB: 1.05}, 0.25: {Status: search.Completed, ValBPB: 1.1},
	})
	var places []float64
	for range 8 {
		trial, err := s.Ask()
		if err != nil {
			t.Fatal(err)
		}
		s.History.Pending = append(s.History.Pending, trial)
		places = append(places, s.History.Space.Encode(trial.Constants)[0])
	}
	low, high := places[0], places[0]
	for _, u := range places {
		low, high = math.Min(low, u), math.Max(high, u)
	}
	if high-low < 0.1 {
		t.Errorf("8 trials at a time lie between %.3f and %.3f", low, high)
	}
}

func TestBeatsRandomPoints(t *testing.T) {
	regret := func(f search.Factory) float64 {
		sum := 0.0
		for seed := range uint64(10) {
			s, err := simulate.Run(simulate.NewTask(seed, 5e-4), f, 100, seed+1000)
			if err != nil {
				t.Fatal(err)
			}
			sum += (s.Best[99] - s.Task.Floor) / (s.Best[0] - s.Task.Floor) / 10
		}
		return sum
	}
	learned := regret(New)
	drawn := regret(with(func(o *Options) { o.Opening, o.Reach = 1000, 1 }))
	t.Logf("upstream, 100 trials: regret %.3f, of a Latin hypercube %.3f", learned, drawn)
	if learned > 0.6*drawn {
		t.Errorf("regret %.3f, of a Latin hypercube %.3f: not clearly better", learned, drawn)
	}
}

func BenchmarkAsk1000(b *testing.B) { searchtest.Benchmark(b, New, 1000) }

// TestBreadth: kernels are wide while a start that others beat is all that is
// known, never narrower than usual, and it takes no code's merit for the start's.
func TestBreadth(t *testing.T) {
	study, err := simulate.NewStudy(simulate.NewTask(1, 0), nobody{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	h := study.History
	h.Space, err = search.NewSpace(h.Champion.Constants[:7], nil)
	if err != nil {
		t.Fatal(err)
	}
	start, _ := h.Done[0].Score()
	few := broad / float64(h.Space.Len())
	done := func(n, better int, source []byte) search.History {
		g := h
		g.Done = h.Done[:1:1]
		for k := range n {
			bpb := start + 0.01
			if k < better {
				bpb = start - 0.01
			}
			g.Done = append(g.Done, search.Result{Trial: search.Trial{Proposal: search.Proposal{Source: source}}, Outcome: search.Outcome{Status: search.Completed, ValBPB: bpb}})
		}
		return g
	}
	failed := done(6, 0, nil)
	failed.Done[0].Outcome = search.Outcome{Status: search.OutOfMemory}
	many := done(6, 6, nil)
	many.Space = study.History.Space
	for name, test := range map[string]struct {
		h           search.History
		least, most float64
	}{
		"nothing yet":       {search.History{}, 1, 1},
		"a good start":      {done(6, 0, nil), 1, 1},
		"a poor one":        {done(6, 3, nil), 0.85 * few, few},
		"between":           {done(6, 1, nil), 1.2, 0.6 * few},
		"later":             {done(200, 6, nil), 1, 1.2},
		"edits of the code": {done(6, 6, []byte("EDITED = 1\n")), 1, 1},
		"it failed":         {failed, 0.85 * few, few},
		"many axes":         {many, 1, 0.6 * few},
	} {
		if got := breadth(Defaults(), test.h); !(got >= test.least && got <= test.most) {
			t.Errorf("%s: %.3f, want %.3f to %.3f", name, got, test.least, test.most)
		}
	}
}

type nobody struct{}

func (nobody) Ask(context.Context, search.History) (search.Proposal, error) {
	return search.Proposal{}, search.ErrExhausted
}
func (nobody) Tell(search.Result) {}

// TestDrawsArePutTogether: two good trials half of a range apart are drawn
// around one at a time, and between them once several trials run.
func TestDrawsArePutTogether(t *testing.T) {
	axes := []axis{{kind: line, home: 0.5}, {kind: category, n: 2, home: 0.25}}
	w := width{prior: 1, other: 0.5, narrow: []float64{0.02, 0.01}}
	m := &model{axes: axes, good: newDensity(axes, w, [][]float64{{0.25, 0.25}, {0.75, 0.75}}, []float64{1, 1}, 0)}
	between := func(parents int) (share, first float64) {
		m.parents = parents
		r := rand.New(rand.NewPCG(1, 2))
		const draws = 2000
		for range draws {
			u := m.draw(r)
			if math.Abs(u[0]-0.5) < 0.2 {
				share += 1.0 / draws
			}
			if u[1] == 0.25 {
				first += 1.0 / draws
			}
			if u[1] != 0.25 && u[1] != 0.75 {
				t.Fatalf("%d parents: a category at %g", parents, u[1])
			}
		}
		return share, first
	}
	for parents, want := range map[int]float64{1: 0, 2: 0.5, 5: 1 - 2.0/32} {
		share, first := between(parents)
		if math.Abs(share-want) > 0.05 {
			t.Errorf("%d parents: %.2f of the draws lie between the two, want %.2f", parents, share, want)
		}
		if math.Abs(first-0.5) > 0.05 {
			t.Errorf("%d parents: %.2f of the draws have the first category, want a half", parents, first)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for running, want := range map[int]int{0: 1, 1: 2, 3: 3, 15: 5, 63: 9} {
		single := 0
		for range 400 {
			switch got := together(r, running); {
			case got == 1:
				single++
			case got != want:
				t.Errorf("%d run: a mean of %d draws, want %d", running, got, want)
			}
		}
		if running == 0 && single != 400 || running > 0 && (single < 140 || single > 260) {
			t.Errorf("%d run: %d of 400 proposals are single draws", running, single)
		}
	}
}
