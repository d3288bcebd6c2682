// Package random proposes points drawn at random: near the champion, which is
// a strong baseline on this task (arXiv 2602.16805), or in the whole space.
package random

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"autoresearchd/search"
)

// Name is the strategy's name in autoresearch.toml.
const Name = "random"

// Options is the [search.random] table.
type Options struct {
	Around string  `toml:"around" doc:"\"champion\": change a few of its constants; \"space\": draw from the whole range"`
	Change int     `toml:"change" doc:"about how many constants change at a time; 0: all of them"`
	Scale  float64 `toml:"scale" doc:"how far around the champion: standard deviation as a fraction of a constant's range"`
}

// Defaults are the options of an empty table.
func Defaults() Options { return Options{Around: "champion", Change: 3, Scale: 0.15} }

func init() { search.Default.Register(Name, New, Defaults()) }

type strategy struct {
	seed    uint64
	options Options
}

// New is the search.Factory.
func New(env search.Environment) (search.Strategy, error) {
	o := Defaults()
	if err := env.Decode(&o); err != nil {
		return nil, err
	}
	var faults []error
	if o.Around != "champion" && o.Around != "space" {
		faults = append(faults, fmt.Errorf("search.random.around = %q: use \"champion\" or \"space\"", o.Around))
	}
	if o.Change < 0 {
		faults = append(faults, fmt.Errorf("search.random.change = %d: use 0, for all constants, or more", o.Change))
	}
	if !(o.Scale > 0 && o.Scale <= 1) {
		faults = append(faults, fmt.Errorf("search.random.scale = %g: use a number above 0 and at most 1", o.Scale))
	}
	return &strategy{env.Seed, o}, errors.Join(faults...)
}

// attempts bounds the draws for a point that no trial has had.
const attempts = 200

func (s *strategy) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if h.Space.Len() == 0 {
		return search.Proposal{}, search.ErrNoDimension
	}
	seen := search.SeenIn(h)
	r := search.Stream(s.seed, h)
	for range attempts {
		if err := ctx.Err(); err != nil {
			return search.Proposal{}, err
		}
		u := s.draw(r, h.Space)
		if !seen[h.Space.Fingerprint(u)] {
			return h.Propose(Name, u), nil
		}
	}
	return search.Proposal{}, search.ErrExhausted
}

func (s *strategy) draw(r *rand.Rand, space search.Space) []float64 {
	u := space.Start()
	dims := space.Dimensions()
	change := s.options.Change
	if change == 0 {
		change = len(dims)
	}
	chance := math.Min(1, float64(change)/float64(len(dims)))
	sure := r.IntN(len(dims))
	for i := range dims {
		switch {
		case i != sure && r.Float64() >= chance:
		case s.options.Around == "space":
			u[i] = dims[i].Sample(r)
		default:
			u[i] = dims[i].Mutate(r, u[i], s.options.Scale)
		}
	}
	return u
}

// Tell does nothing: the history that Ask is given says it all.
func (s *strategy) Tell(search.Result) {}
