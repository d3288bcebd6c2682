// Package cmaes is the evolution strategy with covariance matrix adaptation: a
// normal distribution over the ordered constants, from which a generation of
// trials is drawn and which then moves, stretches and turns to where the better
// half of them lies (Hansen, arXiv 1604.00772, with negative weights).
//
// Whole numbers and grids keep their neighbours in reach by a margin (Hamano et
// al., arXiv 2205.13482); unordered constants have a chance for each choice that
// learns from the same ranks (after CatCMA: Hamano et al., arXiv 2405.09962).
// Runs that are stuck start again, in turn from the best with a small population and from
// anywhere with a larger one (BIPOP: Hansen, 2009).
//
// As a hundred trials are few for it, each is picked out of many draws by a
// quadratic surrogate of all the trials (after Hansen, "A global surrogate
// assisted CMA-ES", GECCO 2019); until there is one, the steps of a generation
// stand at right angles to each other.
//
// Only ranks count. A trial of its own that failed ranks last, behind what was
// pruned: the distribution shrinks away from it and never moves towards it, and no
// number is made up for it. Better trials of other strategies are injected into
// the generation that is open, with their steps cut to a length that the
// distribution might have had (Hansen, arXiv 1110.4181), and so is the best of all
// trials. What others tried in vain, a language model before all, never enters a
// generation, and an edit of the code enters nothing, whatever came of it. The
// surrogate alone knows where others ran out of memory, diverged or took too long,
// as a place like the worst tenth of the scores.
//
// The state is a function of the history and of the champion's space: Ask reads
// on from where it was, and from the start when the space has changed or after a
// restart. A generation is what the journal has of this strategy's trials, as
// many at a time as the population, whatever happened in between.
package cmaes

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"autoresearchd/search"
)

// Name is the strategy's name in autoresearch.toml.
const Name = "cmaes"

// Options is the [search.cmaes] table.
type Options struct {
	Population int     `toml:"population" doc:"trials in a generation; 0: by the number of constants, 1 + 2.5 ln(n) and at least 4"`
	Step       float64 `toml:"step" doc:"first step, a standard deviation, as a fraction of a constant's range"`
	Centre     float64 `toml:"centre" doc:"where the first generation starts: 0 at the champion, 1 in the middle of the ranges, or between"`
	Screen     int     `toml:"screen" doc:"points drawn per trial, of which a quadratic surrogate picks one; 0: no surrogate"`
}

// Defaults are the options of an empty table.
func Defaults() Options { return Options{Step: 0.13, Centre: 0.6, Screen: 100} }

func init() { search.Default.Register(Name, New, Defaults()) }

type strategy struct {
	seed uint64
	o    Options
	s    *state // after the trials up to told, in the space of its frame; a cache
	told int
	last int64
}

// New is the search.Factory.
func New(env search.Environment) (search.Strategy, error) {
	o := Defaults()
	if err := env.Decode(&o); err != nil {
		return nil, err
	}
	var faults []error
	if o.Population != 0 && (o.Population < 4 || o.Population > 1000) {
		faults = append(faults, fmt.Errorf("search.cmaes.population = %d: use 4 to 1000, or 0", o.Population))
	}
	if !(o.Step > 0 && o.Step <= 1) {
		faults = append(faults, fmt.Errorf("search.cmaes.step = %g: use a number above 0 and at most 1", o.Step))
	}
	if !(o.Centre >= 0 && o.Centre <= 1) {
		faults = append(faults, fmt.Errorf("search.cmaes.centre = %g: use a number from 0 to 1", o.Centre))
	}
	if o.Screen < 0 || o.Screen > 10000 {
		faults = append(faults, fmt.Errorf("search.cmaes.screen = %d: use 0 to 10000", o.Screen))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &strategy{seed: env.Seed, o: o}, nil
}

// Tell does nothing: the history that Ask is given says it all.
func (s *strategy) Tell(search.Result) {}

const attempts = 300 // draws for a point that no trial has had

func (s *strategy) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if err := ctx.Err(); err != nil {
		return search.Proposal{}, err
	}
	if h.Space.Len() == 0 {
		return search.Proposal{}, search.ErrNoDimension
	}
	st := s.replay(h)
	r := search.Stream(s.seed, h)
	seen := search.SeenIn(h)
	slot := len(st.done)
	for i := range h.Pending {
		if h.Pending[i].Proposal.Strategy == Name {
			slot++
		}
	}
	if u := st.screen(r, s.o.Screen, len(h.Pending)-h.Vetoed, seen); u != nil {
		return h.Propose(Name, u), nil
	}
	for try := range attempts {
		if err := ctx.Err(); err != nil {
			return search.Proposal{}, err
		}
		u := st.sample(r, slot, try)
		if !seen[h.Space.Fingerprint(u)] {
			return h.Propose(Name, u), nil
		}
	}
	return s.stray(ctx, h, r, seen)
}

// screen draws n points from the distribution and returns the one that the
// surrogate likes best; nil without a surrogate, or if trials have had them all.
// The more trials run, of which the surrogate knows nothing, the more often it is
// fitted to a bootstrap of those that it knows, so that not all who ask it go to
// the same place (Kandasamy et al., "Parallelised Bayesian optimisation via
// Thompson sampling", 2018).
func (s *state) screen(r *rand.Rand, n, running int, seen search.Seen) []float64 {
	if n == 0 {
		return nil
	}
	var bootstrap *rand.Rand
	if running > 0 && r.Float64()*float64(running+s.lambda) < float64(running) {
		bootstrap = r
	}
	g := s.fit(bootstrap)
	if g == nil {
		return nil
	}
	var best []float64
	least := math.Inf(1)
	for range n {
		u := s.f.space.Snap(s.sample(r, 0, 1))
		if v := g.at(u); v < least && !seen[s.f.space.Fingerprint(u)] {
			best, least = u, v
		}
	}
	return best
}

// stray draws from the whole space.
func (s *strategy) stray(ctx context.Context, h search.History, r *rand.Rand, seen search.Seen) (search.Proposal, error) {
	for range attempts {
		if err := ctx.Err(); err != nil {
			return search.Proposal{}, err
		}
		if u := h.Space.Sample(r); !seen[h.Space.Fingerprint(u)] {
			return h.Propose(Name, u), nil
		}
	}
	return search.Proposal{}, search.ErrExhausted
}

// replay returns the state after all trials that are done.
func (s *strategy) replay(h search.History) *state {
	print := fingerprint(h.Space)
	fits := s.s != nil && s.s.f.print == print && s.told <= len(h.Done) && (s.told == 0 || h.Done[s.told-1].Trial.ID == s.last)
	if !fits || s.s.fresh() { // before its first trial has ended, a run starts at what is the champion now
		f := newFrame(h.Space)
		s.s = &state{f: f, o: s.o, seed: s.seed}
		s.s.home = home(f, h)
		s.s.begin(s.s.home, s.o.Step, s.s.population())
		s.told = 0
	}
	s.s.f.space, s.s.f.dims = h.Space, h.Space.Dimensions() // the same axes, but of this champion
	for ; s.told < len(h.Done); s.told++ {
		s.s.tell(&h.Done[s.told])
		s.last = h.Done[s.told].Trial.ID
	}
	return s.s
}

// home is where the first run starts: at the champion that the first trial was
// made from.
func home(f *frame, h search.History) []float64 {
	first := slices.IndexFunc(h.Done, func(r search.Result) bool { return r.Trial.Proposal.Strategy == Name })
	if first < 0 {
		return f.space.Start()
	}
	parent := slices.IndexFunc(h.Done, func(r search.Result) bool { return r.Trial.ID == h.Done[first].Trial.Proposal.Parent })
	if parent < 0 {
		parent = first
	}
	at := f.places(&h.Done[parent].Trial)
	for i := range at {
		if math.IsNaN(at[i]) {
			at[i] = 0.5
		}
	}
	return at
}
