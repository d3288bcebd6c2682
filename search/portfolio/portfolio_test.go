package portfolio

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"autoresearchd/search"
	_ "autoresearchd/search/evolution"
	_ "autoresearchd/search/gp"
	_ "autoresearchd/search/random"
	"autoresearchd/search/searchtest"
	"autoresearchd/search/simulate"
	_ "autoresearchd/search/sobol"
)

// light is a portfolio of arms that ask in microseconds.
func light(env search.Environment) (search.Strategy, error) {
	env.Table = func(v any) error {
		v.(*Options).Arms = []string{"evolution", "random", "sobol"}
		return nil
	}
	return New(env)
}

func TestConformance(t *testing.T) {
	t.Run("Light", func(t *testing.T) { searchtest.Run(t, light) })
	t.Run("Defaults", func(t *testing.T) { searchtest.Run(t, New) })
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]Options{
		`search.portfolio.arms is empty`:             {Memory: 30},
		`names "random": name each other`:            {Memory: 30, Arms: []string{"random", "random"}},
		`names "portfolio": name each other`:         {Memory: 30, Arms: []string{"portfolio"}},
		`unknown strategy "nobody": known are`:       {Memory: 30, Arms: []string{"nobody"}},
		`search.portfolio.memory = 0: use 1 or more`: {Arms: []string{"random"}},
		`search.portfolio.floor = 0.6: use 0 to 0.5`: {Memory: 30, Floor: 0.6, Arms: []string{"random", "evolution"}},
		`search.portfolio.llm_share = 2: use 0 to 1`: {Memory: 30, LLMShare: 2, Arms: []string{"random"}},
		`a language model needs [llm] enabled`:       {Memory: 30, Arms: []string{"llm"}},
	} {
		_, err := New(search.Environment{Seed: 1, Table: func(v any) error { *v.(*Options) = o; return nil }})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}

func TestReward(t *testing.T) {
	scores := []float64{0.98, 0.99, 1.00, 1.01, 1.02}
	previous := math.Inf(1)
	for _, bpb := range []float64{0.90, 0.97, 0.979, 0.985, 0.995, 1.005, 1.03} {
		got := reward(scores, bpb)
		if got < 0 || got > 1 || got > previous {
			t.Errorf("reward of %g is %g after %g for a better one", bpb, got, previous)
		}
		if beats := bpb < 0.98; beats != (got >= 0.5) {
			t.Errorf("reward of %g is %g: half and more is for a new best", bpb, got)
		}
		previous = got
	}
	if got := reward(scores, 1.03); got != 0 {
		t.Errorf("the worst trial earns %g", got)
	}
}

// history is of n trials by each of the arms in turn; gains says whose are new bests.
func history(n int, arms []string, gains, seconds map[string]float64) search.History {
	var h search.History
	best := 1.0
	add := func(name string, bpb float64) {
		h.Done = append(h.Done, search.Result{
			Trial:   search.Trial{ID: int64(len(h.Done) + 1), Proposal: search.Proposal{Strategy: name}},
			Outcome: search.Outcome{Status: search.Completed, ValBPB: bpb, WallSeconds: seconds[name]},
		})
	}
	add("baseline", best)
	for range n {
		for _, name := range arms {
			bpb := best + 0.01
			if gains[name] > 0 {
				best -= gains[name]
				bpb = best
			}
			add(name, bpb)
		}
	}
	return h
}

func shares(t *testing.T, h search.History) map[string]float64 {
	t.Helper()
	s, err := light(search.Environment{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*strategy).Weights(h)
}

func TestGainsAndCostDecide(t *testing.T) {
	arms := []string{"evolution", "random", "sobol"}
	even := map[string]float64{"evolution": 300, "random": 300, "sobol": 300}
	w := shares(t, history(10, arms, map[string]float64{"random": 0.001}, even))
	if w["random"] < 0.7 {
		t.Errorf("the arm that finds every gain has the shares %v", w)
	}
	for _, name := range arms {
		if w[name] < 0.01 {
			t.Errorf("%s is starved: %v", name, w)
		}
	}
	gains := map[string]float64{"random": 0.001, "sobol": 0.001}
	w = shares(t, history(10, arms, gains, map[string]float64{"evolution": 300, "random": 150, "sobol": 600}))
	if w["random"] < 2*w["sobol"] {
		t.Errorf("the same gains at a quarter of the time have the shares %v", w)
	}
	// What paid long ago does not pay for ever.
	h := history(10, arms, map[string]float64{"random": 0.001}, even)
	late := history(40, arms, map[string]float64{"evolution": 0.001}, even)
	for _, r := range late.Done[1:] {
		r.Outcome.ValBPB -= 0.1
		h.Done = append(h.Done, r)
	}
	if w = shares(t, h); w["evolution"] < 2*w["random"] {
		t.Errorf("after the arm that gains has changed, the shares are %v", w)
	}
}

// The pruned earn nothing and are no score that others are ranked among, but
// the time that they saved is their arm's.
func TestThePrunedCostLess(t *testing.T) {
	arms := []string{"evolution", "random", "sobol"}
	h := history(12, arms, map[string]float64{"sobol": 0.001}, map[string]float64{"evolution": 340, "random": 340, "sobol": 340})
	before := shares(t, h)
	for i := range h.Done {
		if h.Done[i].Trial.Proposal.Strategy == "random" {
			h.Done[i].Outcome = search.Outcome{Status: search.Pruned, WallSeconds: 170}
		}
	}
	if after := shares(t, h); after["random"] < 1.2*before["random"] || after["sobol"] < 0.5 {
		t.Errorf("with the trials of random pruned halfway the shares are %v, and were %v", after, before)
	}
}

// What runs counts for the opening: nobody knows more before it ends, whichever
// arm it is of.
func TestManyAtOnceOpenSooner(t *testing.T) {
	h := history(0, nil, nil, nil)
	for n := range Defaults().Opening {
		if w := shares(t, h); w["evolution"] < 0.8 {
			t.Errorf("with %d that run the opening is over: %v", n, w)
		}
		h.Pending = append(h.Pending, search.Trial{ID: int64(n + 2), Proposal: search.Proposal{Strategy: "evolution"}})
	}
	if w := shares(t, h); w["evolution"] > 0.6 {
		t.Errorf("with %d that run it is still on: %v", len(h.Pending), w)
	}
}

// onlyRandom puts another strategy in the place of every arm but random, which
// must be the one that answers.
func onlyRandom(t *testing.T, other search.Strategy) (*strategy, search.History) {
	t.Helper()
	study, err := simulate.NewStudy(simulate.NewTask(1, 0), mute{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	made, err := light(search.Environment{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	s := made.(*strategy)
	for i := range s.arms {
		if s.arms[i].name != "random" {
			s.arms[i].strategy = other
		}
	}
	p, err := s.Ask(context.Background(), study.History)
	if err != nil || p.Strategy != "random" {
		t.Errorf("asked %v, %v", p.Strategy, err)
	}
	return s, study.History
}

// An arm that has nothing to say is passed over.
func TestNextArmAnswers(t *testing.T) {
	onlyRandom(t, mute{})
}

// An arm whose fallback stands in for it is passed over too, as long as
// another has something to say itself.
func TestFallbackComesLast(t *testing.T) {
	s, h := onlyRandom(t, standIn{})
	for i := range s.arms {
		s.arms[i].strategy = standIn{}
	}
	p, err := s.Ask(context.Background(), h)
	if err != nil || p.Strategy != "fallback" {
		t.Errorf("with nothing but fallbacks asked %v, %v", p.Strategy, err)
	}
}

type standIn struct{ mute }

func (standIn) Ask(context.Context, search.History) (search.Proposal, error) {
	return search.Proposal{Strategy: "fallback"}, nil
}

// A model that is no good has the floor, one that is good all of its share, and
// one that nobody knows yet a part.
func TestCeiling(t *testing.T) {
	s := &strategy{o: Defaults()}
	const mean = 0.2
	for _, c := range []struct{ asked, reward, least, most float64 }{
		{0, 0, 0.05, 0.05}, {8, 0.1, 0.04, 0.05}, {20, 0, 0.04, 0.04}, {4, 0.7, 0.15, 0.29}, {10, 3, 0.3, 0.3},
	} {
		if got := s.ceiling(stat{asked: c.asked, reward: c.reward}, mean); got < c.least-1e-9 || got > c.most+1e-9 {
			t.Errorf("after a reward of %g in %g trials its ceiling is %g, want %g to %g", c.reward, c.asked, got, c.least, c.most)
		}
	}
}

type mute struct{}

func (mute) Tell(search.Result) {}
func (mute) Ask(context.Context, search.History) (search.Proposal, error) {
	return search.Proposal{}, search.ErrExhausted
}

func TestBeta(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range [][2]float64{{0.5, 1.5}, {3, 7}, {40, 2}} {
		const n = 20000
		var sum, square float64
		for range n {
			x := beta(r, c[0], c[1])
			sum += x
			square += x * x
		}
		mean, sd := sum/n, math.Sqrt(square/n-sum*sum/n/n)
		a, b := c[0], c[1]
		wantSD := math.Sqrt(a * b / ((a + b) * (a + b) * (a + b + 1)))
		if math.Abs(mean-a/(a+b)) > 5*wantSD/math.Sqrt(n) || math.Abs(sd/wantSD-1) > 0.05 {
			t.Errorf("beta(%g, %g): mean %g, deviation %g; want %g, %g", a, b, mean, sd, a/(a+b), wantSD)
		}
	}
}

// TestArmsTables names what is wrong in the table of every arm, even of one
// that takes no part.
func TestArmsTables(t *testing.T) {
	bad := search.Tools{Options: func(name string) func(any) error {
		return func(o any) error {
			if name != Name {
				reflect.ValueOf(o).Elem().SetZero()
			}
			return nil
		}
	}}
	_, err := New(search.Environment{Tools: bad})
	for _, want := range []string{"search.evolution.population = 0", "search.gp.memory = 0", "search.tpe.good = 0", "search.llm.history = 0"} {
		if err == nil || strings.Count(err.Error(), want) != 1 {
			t.Errorf("does not say once %q: %v", want, err)
		}
	}
}
