// Package sobol proposes the points of a scrambled Sobol sequence, one after
// the other: they fill the space more evenly than random ones, and in every
// projection on a few constants too. Nothing is learned, which makes it a
// baseline to hold the others against.
//
// The sequence is that of Sobol (1967) with the direction numbers of Joe and
// Kuo (2008), scrambled as Owen (1995) showed, by the study's seed and the name
// of the constant. A proposal carries its place in the sequence in its memo;
// the next one follows the highest place that the journal has. Other
// strategies' trials use up no points.
package sobol

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"autoresearchd/search"
)

// Name is the strategy's name in autoresearch.toml.
const Name = "sobol"

// Options is the [search.sobol] table.
type Options struct {
	Reach float64 `toml:"reach" doc:"1: fill the whole space; less: go only that fraction of the way from the champion"`
}

// Defaults are the options of an empty table.
func Defaults() Options { return Options{Reach: 1} }

func init() { search.Default.Register(Name, New, Defaults()) }

type strategy struct {
	seed    uint64
	options Options
}

// memo is a proposal's place in the sequence.
type memo struct {
	Point uint32 `json:"point"`
}

// New is the search.Factory.
func New(env search.Environment) (search.Strategy, error) {
	o := Defaults()
	if err := env.Decode(&o); err != nil {
		return nil, err
	}
	if !(o.Reach > 0 && o.Reach <= 1) {
		return nil, fmt.Errorf("search.sobol.reach = %g: use a number above 0 and at most 1", o.Reach)
	}
	return &strategy{env.Seed, o}, nil
}

// attempts bounds the points that are skipped because a trial has had their
// constants: that many in a row, and a space of few values is used up.
const attempts = 2000

func (s *strategy) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if h.Space.Len() == 0 {
		return search.Proposal{}, search.ErrNoDimension
	}
	seen := search.SeenIn(h)
	n := next(h)
	for range attempts {
		if err := ctx.Err(); err != nil {
			return search.Proposal{}, err
		}
		u := s.at(h.Space, n)
		if !seen[h.Space.Fingerprint(u)] {
			p := h.Propose(Name, u)
			var err error
			p.Memo, err = json.Marshal(memo{n})
			return p, err
		}
		n++
	}
	return search.Proposal{}, search.ErrExhausted
}

// Tell does nothing: the history that Ask is given says it all.
func (s *strategy) Tell(search.Result) {}

// at is the nth point of the space.
func (s *strategy) at(space search.Space, n uint32) []float64 {
	u := space.Start()
	dims := space.Dimensions()
	for i := range u {
		x := point(n, i, s.key(dims[i].Name))
		if dims[i].Ordered {
			u[i] += s.options.Reach * (x - u[i])
			continue
		}
		// Between unordered choices there is no way to go a part of: the champion's own takes 1-reach of them.
		if rest := 1 - s.options.Reach; x >= rest {
			u[i] = math.Min((x-rest)/s.options.Reach, math.Nextafter(1, 0))
		}
	}
	return u
}

// key ties the scrambling to the constant's name, so that it survives an edit
// that adds another constant above it.
func (s *strategy) key(name string) uint64 {
	k := hash(s.seed, 0x736f626f6c)
	for i := range len(name) {
		k = hash(k, uint64(name[i]))
	}
	return k
}

// next is the place after the highest one in the journal. Proposals are in
// the order of their places, so the newest has it.
func next(h search.History) uint32 {
	n := uint32(0)
	read := func(t *search.Trial) {
		var m memo
		if t.Proposal.Strategy == Name && json.Unmarshal(t.Proposal.Memo, &m) == nil && m.Point >= n {
			n = m.Point + 1
		}
	}
	for i := range h.Pending {
		read(&h.Pending[i])
	}
	for i, met := len(h.Done)-1, 0; i >= 0 && met < 16; i-- { // trials end out of order only as far as they run at a time
		if h.Done[i].Trial.Proposal.Strategy == Name {
			met++
			read(&h.Done[i].Trial)
		}
	}
	return n
}
