// Package gp is Bayesian optimisation with a Gaussian process.
//
// The surrogate has a Matérn 5/2 kernel with one length scale a constant
// (Snoek et al., arXiv 1206.2944), over a bowl of uncertain bottom and
// curvature as a trend (Rasmussen and Williams, 2.7). Its hyperparameters are
// those of highest posterior density, under log-normal priors whose length
// scales grow with the square root of the number of constants, so that a dozen
// of them need no special treatment (Hvarfner et al., arXiv 2402.02229). The
// noise is learned.
//
// The next trial maximises the logarithm of the expected improvement, in the
// form that has a gradient everywhere (Ament et al., arXiv 2310.20708), over
// the best posterior mean, as scores are noisy; times a power of the
// probability that the trial neither runs out of memory nor crashes nor
// diverges (after Gardner et al., ICML 2014). Trials that run are believed to
// score what the surrogate expects of them (the kriging believer of Ginsbourger
// et al., 2010).
//
// Ask reads everything out of the history. The only thing that it hands on is
// the hyperparameters, in the memo of each proposal, as a start for the next
// fit: they are in the journal, so a study goes on after a restart as it would
// have gone on without.
package gp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"

	"autoresearchd/search"
)

// Name is the strategy's name in autoresearch.toml.
const Name = "gp"

// Options is the [search.gp] table.
type Options struct {
	Opening    int     `toml:"opening" doc:"trials that fill the space around the champion before the model is asked"`
	Reach      float64 `toml:"reach" doc:"how far the opening strays from the champion, as a fraction of the way to the ends of each range"`
	Memory     int     `toml:"memory" doc:"trials to fit the model to: the best, the newest and a spread of the rest"`
	Candidates int     `toml:"candidates" doc:"points at which the acquisition is evaluated before climbing from the best"`
	Climbs     int     `toml:"climbs" doc:"local searches for the maximum of the acquisition"`
}

// Defaults are the options of an empty table.
func Defaults() Options {
	return Options{Opening: 8, Reach: 0.5, Memory: 130, Candidates: 700, Climbs: 6}
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
		faults = append(faults, fmt.Errorf("search.gp.opening = %d: use 0 or more", o.Opening))
	}
	if !(o.Reach > 0 && o.Reach <= 1) {
		faults = append(faults, fmt.Errorf("search.gp.reach = %g: use a number above 0 and at most 1", o.Reach))
	}
	if o.Memory < 20 || o.Memory > 1000 {
		faults = append(faults, fmt.Errorf("search.gp.memory = %d: use 20 to 1000; the time of an Ask grows with its cube", o.Memory))
	}
	if o.Candidates < 1 {
		faults = append(faults, fmt.Errorf("search.gp.candidates = %d: use 1 or more", o.Candidates))
	}
	if o.Climbs < 0 {
		faults = append(faults, fmt.Errorf("search.gp.climbs = %d: use 0 or more", o.Climbs))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &strategy{env.Seed, o}, nil
}

// Tell does nothing: the history that Ask is given says it all.
func (s *strategy) Tell(search.Result) {}

const (
	least    = 3   // scores without which there is no model
	attempts = 400 // draws for a point that no trial has had
)

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
	e := newEncoder(h.Space)
	d := read(e, h, s.o.Memory)
	last := recall(h)
	f := newFeasibility(e, d, last.Failure)
	if h.Begun() <= s.o.Opening || len(d.y) < least {
		for n := range 20 {
			u := h.Space.Snap(s.open(h.Space, h.Begun()+(h.Vetoed+n)*s.o.Opening))
			if fresh(u) && f.probability(e.point(u)) > 0.4 {
				return h.Propose(Name, u), nil
			}
		}
		return s.stray(ctx, h, r, fresh)
	}
	theta := fit(newEvidence(e, d.x, d.y, true), last.Score.on(e), shortest)
	m := newModel(e, d, theta, f)
	u := m.maximise(r, s.o, fresh)
	if err := ctx.Err(); err != nil {
		return search.Proposal{}, err
	}
	if u == nil {
		return s.stray(ctx, h, r, fresh)
	}
	p := h.Propose(Name, u)
	var err error
	p.Memo, err = json.Marshal(memo{note(e, theta), f.note()})
	return p, err
}

// open returns the nth point of a Latin hypercube (McKay et al., 1979) that is
// drawn in towards the champion, which is where the good trials are and the
// failures are not.
func (s *strategy) open(space search.Space, n int) []float64 {
	size := max(1, s.o.Opening)
	r := rand.New(rand.NewPCG(s.seed, 0x6f70656e+uint64(n/size)))
	u := space.Start()
	dims := space.Dimensions()
	for i := range u {
		cell := r.Perm(size)[n%size]
		x := (float64(cell) + r.Float64()) / float64(size)
		if dims[i].Ordered {
			u[i] += s.o.Reach * (x - u[i])
		} else if r.Float64() < s.o.Reach {
			u[i] = x
		}
	}
	return u
}

// stray draws anything that has not been tried, close to the champion first.
func (s *strategy) stray(ctx context.Context, h search.History, r *rand.Rand, fresh func([]float64) bool) (search.Proposal, error) {
	dims := h.Space.Dimensions()
	for n := range attempts {
		if err := ctx.Err(); err != nil {
			return search.Proposal{}, err
		}
		u := h.Space.Start()
		sure := r.IntN(len(dims))
		for i := range dims {
			switch {
			case n > attempts/2:
				u[i] = dims[i].Sample(r)
			case i == sure || r.Float64() < 2/float64(len(dims)):
				u[i] = dims[i].Mutate(r, u[i], 0.1+0.4*float64(n)/attempts)
			}
		}
		if u = h.Space.Snap(u); fresh(u) {
			return h.Propose(Name, u), nil
		}
	}
	return search.Proposal{}, search.ErrExhausted
}
