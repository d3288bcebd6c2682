package cmaes

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
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

func TestConformanceWithoutSurrogate(t *testing.T) {
	searchtest.Run(t, with(func(o *Options) { *o = Options{Population: 4, Step: 0.5, Screen: 0} }))
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := with(func(o *Options) { *o = Options{Population: 2, Step: 0, Screen: -1} })(search.Environment{Seed: 1})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Fatalf("three bad options: %v", err)
	}
}

// flat is a space of n plain ranges from 0 to 1.
func flat(t *testing.T, n int) search.Space {
	t.Helper()
	low, high := 0.0, 1.0
	var lines []simulate.Line
	overrides := map[string]search.Override{}
	for i := range n {
		name := "X" + string(rune('A'+i))
		lines = append(lines, simulate.Line{Name: name, Text: "0.8", Value: search.FloatValue(0.8)})
		overrides[name] = search.Override{Low: &low, High: &high}
	}
	_, consts := simulate.Source(lines)
	space, err := search.NewSpace(consts, overrides)
	if err != nil {
		t.Fatal(err)
	}
	return space
}

// minimise runs the bare evolution strategy: no surrogate, and points that are
// not rounded.
func minimise(t *testing.T, n int, f func([]float64) float64, evaluations int) (best float64, s *state) {
	t.Helper()
	fr := newFrame(flat(t, n))
	s = &state{f: fr, o: Options{Step: 0.2}, seed: 3, home: fr.space.Start()}
	s.begin(fr.space.Start(), 0.2, 4+int(3*math.Log(float64(n))))
	r := rand.New(rand.NewPCG(1, 1))
	best = math.Inf(1)
	for range evaluations {
		if s.run > 0 {
			break
		}
		u := s.sample(r, len(s.done), 0)
		y := f(u)
		best = math.Min(best, y)
		s.done = append(s.done, point{u: u, score: y, scored: true})
		if len(s.done) == s.lambda {
			s.update()
		}
	}
	return best, s
}

func TestQuadratic(t *testing.T) {
	f := func(u []float64) float64 { // a thousand times longer than wide
		sum := 0.0
		for i := range u {
			sum += math.Pow(10, 3*float64(i)/float64(len(u)-1)) * (u[i] - 0.4) * (u[i] - 0.4)
		}
		return sum
	}
	best, s := minimise(t, 8, f, 2000)
	start := f(s.f.space.Start())
	t.Logf("from %.3g to %.3g in %d generations", start, best, s.generation)
	if best > 1e-4*start {
		t.Errorf("the lowest of 2000 is %g, the start was %g", best, start)
	}
}

func TestRosenbrock(t *testing.T) {
	best, _ := minimise(t, 4, func(u []float64) float64 {
		sum := 0.0
		for i := range len(u) - 1 {
			a, b := 3*u[i]-1, 3*u[i+1]-1
			sum += 100*(b-a*a)*(b-a*a) + (1-a)*(1-a)
		}
		return sum
	}, 4000)
	t.Logf("the lowest is %.3g", best)
	if best > 0.01 {
		t.Errorf("the lowest of 4000 is %g", best)
	}
}

// TestWeights compares with what the tutorial says they sum to.
func TestWeights(t *testing.T) {
	for _, n := range []int{4, 5, 10, 31} {
		w, neg, mueff, muneg := weigh(n, n)
		sum, less := 0.0, 0.0
		for i := range w {
			sum += w[i]
			less += neg[i]
			if i > 0 && w[i] > w[i-1] || w[i] > 0 && neg[i] < 0 {
				t.Errorf("%d: weights %v, %v", n, w, neg)
			}
		}
		if math.Abs(sum-1) > 1e-12 || math.Abs(less+1) > 1e-12 || mueff < 1 || mueff > float64(n) || muneg < 1 {
			t.Errorf("%d: weights sum to %g and %g, effective %g and %g", n, sum, less, mueff, muneg)
		}
	}
}

// TestMargin: however narrow the distribution, values beside the mean's have
// the chance that they are promised.
func TestMargin(t *testing.T) {
	_, consts := simulate.Source([]simulate.Line{{Name: "DEPTH", Text: "8", Value: search.IntValue(8)}, {Name: "USE_GATES", Text: "False", Value: search.BoolValue(false)}})
	space, err := search.NewSpace(consts, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := newFrame(space)
	for _, at := range []float64{0.001, 0.3, 0.5, 0.77, 0.999} {
		s := &state{f: f, o: Options{Step: 0.2}}
		s.begin([]float64{at, 0.25}, 1e-5, 6)
		s.margin()
		e := f.axes[0].edges
		k := f.axes[0].cell(s.mean[0])
		dev := s.sigma * s.scale[0]
		left, right := phi((e[k]-s.mean[0])/dev), 1-phi((e[k+1]-s.mean[0])/dev)
		if k == 0 {
			left = 0
		}
		if k == len(e)-2 {
			right = 0
		}
		if got, want := left+right, 1.0/6; math.Abs(got-want) > 0.01 {
			t.Errorf("at %g: other values have a chance of %.3f, want %.3f", at, got, want)
		}
	}
}

// TestFailuresAreRanked: what a failure's number would be changes nothing.
func TestFailuresAreRanked(t *testing.T) {
	if better(point{scored: true, score: 19}, point{pruned: true}) >= 0 || better(point{pruned: true}, point{}) >= 0 {
		t.Error("failures are not ranked behind what was pruned, and that behind all scores")
	}
	ask := func(number float64) search.Proposal {
		s, err := New(search.Environment{Seed: 4})
		if err != nil {
			t.Fatal(err)
		}
		study, err := simulate.NewStudy(simulate.NewTask(4, 0), s, 1)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 20 {
			trial, err := study.Ask()
			if err != nil {
				t.Fatal(err)
			}
			o := study.Outcome(trial)
			if n%2 == 1 {
				o = search.Outcome{Status: search.Diverged, ValBPB: number}
			}
			if err := study.Finish(trial, o); err != nil {
				t.Fatal(err)
			}
		}
		p, err := s.Ask(context.Background(), study.History)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if a, b := ask(0), ask(100); !reflect.DeepEqual(a, b) {
		t.Errorf("a failure's number matters: %q, %q", a.Description, b.Description)
	}
}

// TestNothingMovesTowardsFailures: where most of a generation has failed, those
// that have not decide alone where it goes.
func TestNothingMovesTowardsFailures(t *testing.T) {
	for scores := 1; scores < 8; scores++ {
		w, neg, mueff, _ := weigh(8, scores)
		sum := 0.0
		for i := range w {
			sum += w[i]
			if i >= scores && w[i] > 0 || w[i] > 0 && neg[i] < 0 {
				t.Errorf("%d of 8 have scores: weights %v, %v", scores, w, neg)
			}
		}
		if math.Abs(sum-1) > 1e-12 || mueff < 1 {
			t.Errorf("%d of 8 have scores: they weigh %g, effective %g", scores, sum, mueff)
		}
	}
	s := &state{f: newFrame(flat(t, 2)), o: Options{Step: 0.1}, seed: 3}
	s.begin([]float64{0.5, 0.5}, 0.1, 4)
	for k := range 4 { // nothing has ever run
		s.done = append(s.done, point{u: []float64{0.6, 0.1 * float64(k)}})
	}
	s.update()
	if s.mean[0] != 0.5 || s.mean[1] != 0.5 || s.sigma != 0.1 {
		t.Errorf("failures alone move the mean to %v and the step to %g", s.mean, s.sigma)
	}
}

// TestTrialsOfOthers: what a language model, a person or another arm tried moves
// the distribution only where it ran and was better, whatever number stands in a
// failure; an edit of the code never does.
func TestTrialsOfOthers(t *testing.T) {
	type foreign struct {
		status search.Status
		number float64
		source bool
	}
	play := func(insert *foreign) *state {
		own, err := New(search.Environment{Seed: 4})
		if err != nil {
			t.Fatal(err)
		}
		study, err := simulate.NewStudy(simulate.NewTask(4, 0), own, 1)
		if err != nil {
			t.Fatal(err)
		}
		turn := func() {
			trial, err := study.Ask()
			if err != nil {
				t.Fatal(err)
			}
			if err := study.Finish(trial, study.Outcome(trial)); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			turn()
		}
		h := study.History
		if insert != nil {
			u := h.Space.Start()
			for i := range u {
				u[i] = 1 - u[i]
			}
			p := h.Propose("llm", u)
			if insert.source {
				p.Source = []byte("EDITED = 1\n")
			}
			h.Done = append(h.Done, search.Result{
				Trial:   search.Trial{ID: 1000, Proposal: p, Constants: h.Space.Constants()},
				Outcome: search.Outcome{Status: insert.status, ValBPB: insert.number},
			})
		}
		for id := range int64(8) { // a whole generation and the begin of another
			r := study.History.Done[1+id%2]
			r.Trial.ID = 2000 + id
			r.Outcome.ValBPB += 1e-4 * float64(id)
			h.Done = append(h.Done, r)
		}
		fresh, err := New(search.Environment{Seed: 4})
		if err != nil {
			t.Fatal(err)
		}
		return fresh.(*strategy).replay(h)
	}
	same := func(a, b *state) bool {
		return reflect.DeepEqual(a.mean, b.mean) && a.sigma == b.sigma && reflect.DeepEqual(a.c, b.c) &&
			reflect.DeepEqual(a.chances, b.chances) && reflect.DeepEqual(a.elite, b.elite) && a.generation == b.generation
	}
	without := play(nil)
	if without.generation == 0 {
		t.Fatal("no generation has ended")
	}
	for _, status := range []search.Status{search.OutOfMemory, search.Diverged, search.TimedOut, search.Crashed, search.Pruned, search.Tampered, search.Interrupted} {
		for _, source := range []bool{false, true} {
			for _, number := range []float64{0, 100} {
				if got := play(&foreign{status, number, source}); !same(got, without) {
					t.Errorf("%s, %g, edit %v: the distribution has moved", status, number, source)
				}
			}
		}
	}
	if got := play(&foreign{search.Completed, 0.5, true}); !same(got, without) || len(got.known) != len(without.known) {
		t.Error("an edit that ran has moved the distribution, or the surrogate knows it")
	}
	if got := play(&foreign{search.Completed, 0.5, false}); same(got, without) {
		t.Error("a better trial of another's has not moved the distribution")
	}
	for status, known := range map[search.Status]int{search.OutOfMemory: 1, search.Diverged: 1, search.TimedOut: 1, search.Crashed: 0, search.Tampered: 0} {
		if got := play(&foreign{status, 100, false}); len(got.known) != len(without.known)+known {
			t.Errorf("%s: the surrogate knows %d more trials, want %d", status, len(got.known)-len(without.known), known)
		}
	}
}

// TestSurrogateOfFailures: a failure is a place like the worst tenth of what ran,
// no wall beside it.
func TestSurrogateOfFailures(t *testing.T) {
	s := &state{f: newFrame(flat(t, 1)), o: Options{Step: 0.3}, seed: 3}
	s.begin([]float64{0.5}, 0.3, 4)
	at := func(failure point) float64 {
		s.known = nil
		for k := range 20 {
			s.known = append(s.known, point{u: []float64{0.3 + 0.02*float64(k)}, score: 1 + 0.001*float64(k), scored: true})
		}
		s.known = append(s.known, failure)
		return s.fit(nil).at([]float64{0.9})
	}
	if failed, worst := at(point{u: []float64{0.9}}), at(point{u: []float64{0.9}, score: 1.017, scored: true}); math.Abs(failed-worst) > 0.4 {
		t.Errorf("the guess at a failure is %.2f, at one of the worst tenth %.2f", failed, worst)
	}
}

// TestBootstrap: what runs has the surrogate differ from one Ask to the next, and
// the one that knows all trials is asked where nothing runs.
func TestBootstrap(t *testing.T) {
	s := &state{f: newFrame(flat(t, 2)), o: Options{Step: 0.3}, seed: 3}
	s.begin([]float64{0.5, 0.5}, 0.3, 4)
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		u := []float64{r.Float64(), r.Float64()}
		s.known = append(s.known, point{u: u, score: 1 + math.Pow(u[0]-0.2, 2) + math.Pow(u[1]-0.7, 2) + 0.1*r.NormFloat64(), scored: true})
	}
	spread := func(running int) (far, off float64) {
		var all [][]float64
		for seed := range uint64(40) {
			all = append(all, s.screen(rand.New(rand.NewPCG(seed, 0)), 400, running, search.Seen{}))
		}
		for _, u := range all {
			for _, v := range all {
				far = math.Max(far, math.Hypot(u[0]-v[0], u[1]-v[1]))
			}
			off += math.Hypot(u[0]-0.2, u[1]-0.7) / float64(len(all))
		}
		return far, off
	}
	alone, _ := spread(0)
	beside, off := spread(12)
	if beside < 1.5*alone || off > 0.4 {
		t.Errorf("favourites lie up to %.2f apart where nothing runs, %.2f beside 12 trials, and %.2f from the best", alone, beside, off)
	}
}

// TestInjection: a better trial of somebody else's pulls the mean its way.
func TestInjection(t *testing.T) {
	pull := func(foreign bool) float64 {
		fr := newFrame(flat(t, 3))
		s := &state{f: fr, o: Options{Step: 0.1}, seed: 3}
		s.begin([]float64{0.5, 0.5, 0.5}, 0.1, 6)
		if foreign {
			s.foreign = append(s.foreign, point{u: []float64{0.95, 0.5, 0.5}, score: 0.5, scored: true})
		}
		for k := range 6 {
			u := []float64{0.5, 0.5, 0.5}
			u[k%3] += 0.1 * float64(1-2*(k/3))
			s.done = append(s.done, point{u: u, score: 1 + float64(k), scored: true})
		}
		s.update()
		return s.mean[0]
	}
	without, injected := pull(false), pull(true)
	if injected < without+0.02 || injected > 0.9 {
		t.Errorf("the mean goes to %.3f, without the other's trial to %.3f", injected, without)
	}
}

func TestBeatsRandomPoints(t *testing.T) {
	sum := 0.0
	const seeds = 10
	for seed := range uint64(seeds) {
		s, err := simulate.Run(simulate.NewTask(seed, 5e-4), New, 100, seed+1000)
		if err != nil {
			t.Fatal(err)
		}
		sum += (s.Best[99] - s.Task.Floor) / (s.Best[0] - s.Task.Floor) / seeds
	}
	t.Logf("upstream, 100 trials: regret %.3f", sum)
	if sum > 0.5 {
		t.Errorf("regret %.3f at 100 trials", sum)
	}
}

func BenchmarkAsk1000(b *testing.B) { searchtest.Benchmark(b, New, 1000) }

// BenchmarkRebuild1000 is an Ask after a restart, or after the champion has changed.
func BenchmarkRebuild1000(b *testing.B) {
	study, err := simulate.Run(simulate.NewTask(1, 5e-4), New, 1000, 7)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := New(search.Environment{Seed: 7})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Ask(context.Background(), study.History); err != nil {
			b.Fatal(err)
		}
	}
}
