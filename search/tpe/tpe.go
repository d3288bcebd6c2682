// Package tpe is the tree-structured Parzen estimator (Bergstra et al., NeurIPS
// 2011): one density of the good trials, one of the bad ones, and the next trial
// is, of a few that are drawn from the first, the one where the ratio of the two
// is highest.
//
// The densities are multivariate, mixtures of product kernels, as in BOHB
// (Falkner et al., arXiv 1807.01774); good trials weigh the more the better they
// rank, and the bandwidths follow the spread of the trials on each axis down to a
// floor, which Watanabe (arXiv 2304.11127) found to matter most. The prior is a
// wide kernel about the champion. Kernels are wider while little is known, on few
// axes, and where the study's start proved to be no better than what was drawn
// around it: then the best may lie anywhere in the ranges, and the good trials
// would soon agree on one value of a short range of whole numbers, such as a number
// of layers, and never leave it. Whole numbers and ordered grids have the
// kernel's share between their neighbours, unordered ones a chance of staying.
//
// Where a code edit has added a constant, or changed its type, older trials have
// no place on its axis: there their kernel is the prior, so they teach what they
// can of the other constants and nothing of this one. That is what a density by
// group of constants is for, without losing what groups have in common.
//
// Trials that were pruned rank behind all that have a score, and those that
// failed behind these: they make the density of the bad, and no number is ever
// made up for them. Trials that run are among the bad too (the constant liar of
// Ginsbourger et al., 2010), so several that run at a time keep apart. One kernel
// at a time leads from one good trial to the next, which takes as many results as
// there are steps; where several run, every other proposal is a mean of several
// draws, so that what was found side by side is put together (intermediate
// recombination; Beyer, "Toward a theory of evolution strategies", 1995). If all
// were, the good trials would draw in on each other, and a long study would stand
// still.
//
// Ask reads everything out of the history and keeps nothing, so that a study
// goes on after a restart as it would have gone on without.
package tpe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"autoresearchd/search"
)

// Name is the strategy's name in autoresearch.toml.
const Name = "tpe"

// Options is the [search.tpe] table.
type Options struct {
	Opening    int     `toml:"opening" doc:"trials that fill the space around the champion before the densities are asked"`
	Reach      float64 `toml:"reach" doc:"how far the opening strays from the champion, as a fraction of the way to the ends of each range"`
	Good       float64 `toml:"good" doc:"share of the trials that counts as good"`
	Prior      float64 `toml:"prior" doc:"weight of the prior around the champion, in trials"`
	Candidates int     `toml:"candidates" doc:"points drawn from the good density, of which the best ratio is proposed"`
}

// Defaults are the options of an empty table.
func Defaults() Options {
	return Options{Opening: 6, Reach: 0.5, Good: 0.12, Prior: 0.5, Candidates: 48}
}

func init() { search.Default.Register(Name, New, Defaults()) }

type strategy struct {
	seed uint64
	o    Options
}

// New is the search.Factory.
func New(env search.Environment) (search.Strategy, error) {
	o := Defaults()
	if err := env.Decode(&o); err != nil {
		return nil, err
	}
	var faults []error
	if o.Opening < 0 {
		faults = append(faults, fmt.Errorf("search.tpe.opening = %d: use 0 or more", o.Opening))
	}
	if !(o.Reach > 0 && o.Reach <= 1) {
		faults = append(faults, fmt.Errorf("search.tpe.reach = %g: use a number above 0 and at most 1", o.Reach))
	}
	if !(o.Good > 0 && o.Good <= 0.5) {
		faults = append(faults, fmt.Errorf("search.tpe.good = %g: use a number above 0 and at most 0.5", o.Good))
	}
	if !(o.Prior > 0) || math.IsInf(o.Prior, 1) {
		faults = append(faults, fmt.Errorf("search.tpe.prior = %g: use a number above 0", o.Prior))
	}
	if o.Candidates < 1 || o.Candidates > 10000 {
		faults = append(faults, fmt.Errorf("search.tpe.candidates = %d: use 1 to 10000", o.Candidates))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &strategy{env.Seed, o}, nil
}

// Tell does nothing: the history that Ask is given says it all.
func (s *strategy) Tell(search.Result) {}

const attempts = 400 // draws for a point that no trial has had, once the model's own are used up

func (s *strategy) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if err := ctx.Err(); err != nil {
		return search.Proposal{}, err
	}
	if h.Space.Len() == 0 {
		return search.Proposal{}, search.ErrNoDimension
	}
	r := search.Stream(s.seed, h)
	seen := search.SeenIn(h)
	fresh := func(u []float64) bool { return !seen[h.Space.Fingerprint(u)] }
	m := learn(s.o, h)
	var u []float64
	if m.scored < s.o.Opening || m.scored < 2 {
		u = s.open(h, m, fresh)
	} else {
		m.parents = together(r, len(h.Pending)-h.Vetoed)
		u = m.propose(r, s.o.Candidates, fresh)
	}
	if u == nil {
		var err error
		if u, err = stray(ctx, h.Space, r, fresh); err != nil {
			return search.Proposal{}, err
		}
	}
	return h.Propose(Name, u), nil
}

// open returns the next point of a Latin hypercube (McKay et al., 1979) that is
// drawn in towards the champion. Once trials have failed, it is the one of a
// few that is least like them.
func (s *strategy) open(h search.History, m *model, fresh func([]float64) bool) []float64 {
	size := max(2, s.o.Opening)
	tries := 1
	risk := func([]float64) float64 { return 0 }
	if m.failed > 0 {
		tries, risk = 8, m.risk(s.o.Prior)
	}
	var best []float64
	least := math.Inf(1)
	for n := range tries {
		turn := h.Begun() + (h.Vetoed+n)*size
		r := rand.New(rand.NewPCG(s.seed, 0x6f70656e+uint64(turn/size)))
		u := h.Space.Start()
		dims := h.Space.Dimensions()
		for i := range u {
			cell := r.Perm(size)[turn%size]
			x := (float64(cell) + r.Float64()) / float64(size)
			if dims[i].Ordered {
				u[i] += s.o.Reach * (x - u[i])
			} else if r.Float64() < s.o.Reach {
				u[i] = x
			}
		}
		if v := risk(u); v < least && fresh(u) {
			best, least = u, v
		}
	}
	return best
}

// stray draws anything that has not been tried, close to the champion first.
func stray(ctx context.Context, space search.Space, r *rand.Rand, fresh func([]float64) bool) ([]float64, error) {
	dims := space.Dimensions()
	for n := range attempts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		u := space.Start()
		sure := r.IntN(len(dims))
		for i := range dims {
			switch {
			case n > attempts/2:
				u[i] = dims[i].Sample(r)
			case i == sure || r.Float64() < 2/float64(len(dims)):
				u[i] = dims[i].Mutate(r, u[i], 0.1+0.4*float64(n)/attempts)
			}
		}
		if fresh(u) {
			return u, nil
		}
	}
	return nil, search.ErrExhausted
}

// model is what the history teaches, rebuilt at each Ask.
type model struct {
	axes      []axis
	breadth   float64 // of the kernels, times the usual
	scored    int     // trials with a score, or pruned
	failed    int
	parents   int     // draws that a candidate is a mean of
	trials    []trial // the best first
	good, bad *density
	scratch   []float64
}

// trial is one that is known, in the champion's space.
type trial struct {
	at    []float64 // places, NaN where it has none
	class class
	score float64
}

// class ranks what has no score behind all that has.
type class uint8

const (
	scored class = iota
	pruned
	failed
	pending
)

func learn(o Options, h search.History) *model {
	m := &model{axes: newAxes(h.Space), breadth: breadth(o, h)}
	dims := h.Space.Dimensions()
	places := func(t *search.Trial) []float64 {
		at := make([]float64, len(dims))
		for i := range dims {
			var ok bool
			if at[i], ok = dims[i].Place(t.Constants); !ok {
				at[i] = math.NaN()
			}
		}
		return at
	}
	var trials []trial
	for i := range h.Done {
		r := &h.Done[i]
		score, ok := r.Score()
		t := trial{score: score}
		switch status := r.Outcome.Status; {
		case ok:
			m.scored++
		case status == search.Pruned:
			t.class = pruned
			m.scored++
		case status == search.OutOfMemory, status == search.Diverged, status == search.TimedOut,
			status == search.Completed,                                    // without a score that can be one
			status == search.Crashed && len(r.Trial.Proposal.Source) == 0: // else the edit is to blame
			t.class = failed
			m.failed++
		default:
			continue
		}
		t.at = places(&r.Trial)
		trials = append(trials, t)
	}
	for i := range h.Pending { // the liar: they are believed to be bad, so that nobody goes there again
		trials = append(trials, trial{at: places(&h.Pending[i]), class: pending})
	}
	slices.SortStableFunc(trials, func(a, b trial) int {
		if a.class != b.class {
			return cmp.Compare(a.class, b.class)
		}
		if a.class != scored {
			return 0
		}
		return cmp.Compare(a.score, b.score)
	})
	n := min(mostGood, max(leastGood, int(math.Ceil(o.Good*float64(m.scored)))), m.scored)
	m.good = m.mix(trials[:n], o.Prior, true)
	m.bad = m.mix(trials[n:], o.Prior, false)
	m.trials = trials
	m.scratch = make([]float64, len(trials)+1)
	return m
}

// The number of good trials, whatever their share.
const (
	leastGood = 2
	mostGood  = 25
)

// mix makes a density of trials. Good ones weigh by the logarithm of their rank.
func (m *model) mix(trials []trial, prior float64, good bool) *density {
	at := make([][]float64, len(trials))
	weights := make([]float64, len(trials))
	sum := 0.0
	for k := range trials {
		at[k], weights[k] = trials[k].at, 1
		if good {
			weights[k] = math.Log(float64(len(trials)+1) / float64(k+1))
		}
		sum += weights[k]
	}
	for k := range weights {
		weights[k] *= float64(len(weights)) / sum
	}
	return newDensity(m.axes, m.widths(at, prior), at, weights, prior)
}

// The bandwidths, in parts of a range.
const (
	share  = 0.6  // of Scott's rule: the kernels of a few trials in many dimensions overlap all the same
	spread = 0.25 // of one more trial about the champion, so that two or three have a spread at all
	finest = 0.02 // the narrowest: scores are noisy
	notch  = 0.3  // of the distance of two values on a grid, the narrowest there
	change = 0.3  // how many trials the other choices of a category count for, in parts of the prior
)

func (m *model) widths(at [][]float64, prior float64) width {
	w := width{prior: 1, other: 0.8, narrow: make([]float64, len(m.axes))}
	n := float64(len(at))
	scott := math.Pow(math.Max(1, n), -1/(float64(len(m.axes))+4))
	for i := range m.axes {
		a := &m.axes[i]
		if a.kind == category {
			b := change * prior / (n + prior)
			w.narrow[i] = b * float64(a.n-1) / (1 + b*float64(a.n))
			continue
		}
		sum, square, count := a.home, a.home*a.home+spread*spread, 1.0
		for k := range at {
			if x := at[k][i]; !math.IsNaN(x) {
				sum, square, count = sum+x, square+x*x, count+1
			}
		}
		deviation := math.Sqrt(math.Max(0, square/count-sum*sum/count/count))
		s := share * deviation * scott
		switch {
		case a.kind == line:
			s *= 1 + (m.breadth-1)/2
		case a.whole && len(a.places) <= few:
			s *= m.breadth
		}
		if a.kind == cells {
			s = math.Max(s, notch/float64(len(a.places)))
		}
		s = math.Max(s, finest)
		w.narrow[i] = math.Min(1, s)
	}
	return w
}

// How much wider than usual kernels are: in full on a short range of whole numbers,
// half as much on a continuous one, not at all on grids, whose few values somebody
// has chosen.
const (
	few    = 6    // values of a short range, at most
	broad  = 21.0 // parted among the axes, after a poor start: wide kernels of many are hardly ever hit
	widest = 3.0
	narrow = 60.0 // trials after which a third is left of what they are wider
	judges = 4    // trials, at least, by which the start is judged
)

// breadth is how many times as wide as usual kernels are: a start that half of
// the first trials beat says nothing of where the best lies, one that none beats
// is close to it.
func breadth(o Options, h search.History) float64 {
	if len(h.Done) == 0 {
		return 1
	}
	start, ok := h.Done[0].Score()
	beaten := 1.0
	if ok {
		better, count := 0.0, 0.0
		for _, r := range h.Done[1:] {
			if count == float64(max(judges, o.Opening)) {
				break
			}
			if len(r.Trial.Proposal.Source) > 0 { // it is the code that it is better or worse by
				continue
			}
			count++
			if score, ok := r.Score(); ok && score < start {
				better++
			}
		}
		beaten = math.Min(1, 2*better/math.Max(1, count))
	}
	most := math.Min(widest, math.Max(1, broad/float64(max(1, h.Space.Len()))))
	return 1 + (most-1)*beaten*math.Exp(-float64(len(h.Done))/narrow)
}

// risk returns the logarithm of how much more likely a failure is at a point
// than a run.
func (m *model) risk(prior float64) func(u []float64) float64 {
	var fail, run []trial
	for _, t := range m.trials {
		if t.class == failed {
			fail = append(fail, t)
		} else {
			run = append(run, t)
		}
	}
	f, ok := m.mix(fail, prior, false), m.mix(run, prior, false)
	return func(u []float64) float64 { return f.log(u, m.scratch) - ok.log(u, m.scratch) }
}

// propose returns the point of n that are drawn from the density of the good at
// which the ratio of the densities is highest, nil if trials have had them all.
func (m *model) propose(r *rand.Rand, n int, fresh func([]float64) bool) []float64 {
	var best []float64
	most := math.Inf(-1)
	for range n {
		u := m.draw(r)
		v := m.good.log(u, m.scratch) - m.bad.log(u, m.scratch)
		if v > most && fresh(u) {
			best, most = u, v
		}
	}
	return best
}

// together is how many draws the candidates of a proposal are means of, beside so
// many trials that run.
func together(r *rand.Rand, running int) int {
	if running == 0 || r.IntN(2) == 0 {
		return 1
	}
	return 1 + int(math.Round(math.Sqrt(float64(running))))
}

// draw draws a candidate. Of several draws it has the mean along what is
// continuous, and any of them for the rest.
func (m *model) draw(r *rand.Rand) []float64 {
	u := m.good.sample(r)
	for n := 2; n <= m.parents; n++ {
		for i, x := range m.good.sample(r) {
			switch {
			case m.axes[i].kind == line:
				u[i] += (x - u[i]) / float64(n)
			case r.IntN(n) == 0:
				u[i] = x
			}
		}
	}
	return u
}
