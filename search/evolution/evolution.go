// Package evolution is a steady-state population search: one child at a time,
// bred from the best of the recent trials, so that it fits one GPU.
//
// It opens with single-constant moves on the champion, a smaller batch and the
// learning rates first, which find an improvement within a handful of trials. Then four operators
// compete, each drawn by how often it has improved the champion: line (one
// constant, in the direction that helped), mutate, cross and fit (a step on a
// separable quadratic fitted to the scores). Parents are drawn by
// sigmoid(score)/(1+children), as in ShinkaEvolve (arXiv 2509.19349); members
// leave by age, as in regularized evolution (arXiv 1802.01548), the champion
// never; step sizes are carried by each child and mutate with it
// (Schwefel's self-adaptation). Failures have no score: they only teach where
// not to go.
//
// Where several trials run at a time, gains are made side by side, and what is
// known of a direction is several trials old. So the champion is given what was
// gained beside it, and some trials go on in that direction, each another part
// of it and another way (stack; the pattern move of Hooke and Jeeves, 1961);
// and what moves one constant moves it from where these gains lead together.
//
// Ask reads everything out of the history and keeps nothing, so that a study
// goes on after a restart as it would have gone on without.
package evolution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"autoresearchd/search"
)

// Name is the strategy's name in autoresearch.toml.
const Name = "evolution"

// Options is the [search.evolution] table.
type Options struct {
	Population int     `toml:"population" doc:"trials kept as parents"`
	Lifetime   int     `toml:"lifetime" doc:"trials after which a parent leaves; the champion stays"`
	Step       float64 `toml:"step" doc:"first step of a constant, as a fraction of its range; 0.15 doubles a learning rate"`
	Opening    int     `toml:"opening" doc:"trials at the start that move one constant each"`
}

// Defaults are the options of an empty table.
func Defaults() Options { return Options{Population: 16, Lifetime: 64, Step: 0.15, Opening: 24} }

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
	if o.Population < 2 {
		faults = append(faults, fmt.Errorf("search.evolution.population = %d: use 2 or more", o.Population))
	}
	if o.Lifetime < o.Population {
		faults = append(faults, fmt.Errorf("search.evolution.lifetime = %d: use at least population, %d", o.Lifetime, o.Population))
	}
	if !(o.Step > 0 && o.Step <= 0.5) {
		faults = append(faults, fmt.Errorf("search.evolution.step = %g: use a number above 0 and at most 0.5", o.Step))
	}
	if o.Opening < 0 {
		faults = append(faults, fmt.Errorf("search.evolution.opening = %d: use 0 or more", o.Opening))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &strategy{env.Seed, o}, nil
}

// memo is what a child carries: how it was bred, and its step sizes.
type memo struct {
	Op      string             `json:"op"`
	Parents []int64            `json:"parents"`         // whose values it has, beside the champion's
	Sigma   map[string]float64 `json:"sigma,omitempty"` // by dimension, in parts of the range
	Move    *move              `json:"move,omitempty"`  // nil: what it moved is what differs from its parent
}

// The operators.
const (
	opLine   = "line"
	opMutate = "mutate"
	opCross  = "cross"
	opFit    = "fit"
)

var ops = []string{opLine, opMutate, opCross, opFit}

const (
	careful  = 60   // draws that heed what is believed infeasible
	attempts = 400  // draws in all
	dare     = 0.05 // share of proposals that test such a belief
)

type child struct {
	u    []float64
	memo memo
}

func (s *strategy) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if h.Space.Len() == 0 {
		return search.Proposal{}, search.ErrNoDimension
	}
	r := search.Stream(s.seed, h)
	m := learn(s.o, h, r)
	seen := search.SeenIn(h)
	heed := r.Float64() >= dare
	tried := 0
	for range attempts {
		if err := ctx.Err(); err != nil {
			return search.Proposal{}, err
		}
		c, ok := m.breed(r, tried)
		tried++
		if !ok {
			continue
		}
		c.u = h.Space.Snap(c.u)
		if m.vetoed(c.u) && heed && tried < careful && !m.repair(c.u) {
			continue
		}
		if seen[h.Space.Fingerprint(c.u)] {
			continue
		}
		p := h.Propose(Name, c.u)
		var err error
		p.Memo, err = json.Marshal(c.memo)
		return p, err
	}
	return search.Proposal{}, search.ErrExhausted
}

// Tell does nothing: the history that Ask is given says it all.
func (s *strategy) Tell(search.Result) {}

// breed makes a child. The more draws have been refused, the further it goes.
func (m *model) breed(r *rand.Rand, tried int) (child, bool) {
	if tried > attempts*3/4 {
		return child{u: m.space.Sample(r), memo: memo{Op: opMutate}}, true
	}
	if m.stacks() && tried < fewest && r.Float64() < m.eagerness() {
		if c, ok := m.stack(r, tried); ok {
			return c, true
		}
	}
	op := opLine
	switch {
	case tried >= 2*len(m.dims):
		op = opMutate
	case m.known > m.o.Opening:
		op = m.operator(r)
	}
	switch op {
	case opLine:
		return m.line(r, tried)
	case opCross:
		if len(m.members) > 2 {
			return m.cross(r), true
		}
	case opFit:
		if c, ok := m.fit(r); ok {
			return c, true
		}
	}
	return m.mutate(r, 1+float64(tried)/careful), true
}

// operator draws one by how often it has improved the champion.
func (m *model) operator(r *rand.Rand) string {
	weights := make([]float64, len(ops))
	for i, op := range ops {
		weights[i] = m.success(op)
	}
	return ops[draw(r, weights)]
}

// success is how often an operator has improved the champion, with a belief of
// one in five to begin with.
func (m *model) success(op string) float64 {
	return math.Max(0.06, (1+m.gains[op])/(5+m.uses[op]))
}

func draw(r *rand.Rand, weights []float64) int {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	x := r.Float64() * sum
	for i, w := range weights {
		if x -= w; x < 0 {
			return i
		}
	}
	return len(weights) - 1
}

// mutate changes a few constants of a parent.
func (m *model) mutate(r *rand.Rand, reach float64) child {
	p := m.parent(r)
	c := child{u: append([]float64(nil), p.u...), memo: memo{Op: opMutate, Parents: []int64{p.id}}}
	m.inherit(r, &c, p)
	m.jolt(r, &c, 1+int(r.ExpFloat64()*1.5), reach)
	return c
}

// jolt moves n constants, more often those that matter, by the child's own steps.
func (m *model) jolt(r *rand.Rand, c *child, n int, reach float64) {
	for range min(n, len(m.dims)) {
		i := draw(r, m.weight)
		d := &m.dims[i]
		c.u[i] = d.Mutate(r, c.u[i], math.Min(0.5, reach*m.scale*c.memo.Sigma[d.Name]))
	}
}

// inherit gives a child its parent's step sizes, changed log-normally.
func (m *model) inherit(r *rand.Rand, c *child, p member) {
	all := math.Exp(0.2 * r.NormFloat64())
	c.memo.Sigma = make(map[string]float64, len(m.dims))
	for i := range m.dims {
		s, ok := p.sigma[m.dims[i].Name]
		if !ok || !(s > 0) {
			s = m.o.Step * 0.8
		}
		s = math.Min(0.3, math.Max(0.02, s*all*math.Exp(0.25*r.NormFloat64())))
		c.memo.Sigma[m.dims[i].Name] = math.Round(s*1e4) / 1e4
	}
}

// cross takes each constant from one of two parents, numbers sometimes from
// between them, and now and then moves one.
func (m *model) cross(r *rand.Rand) child {
	a, b := m.parent(r), m.parent(r)
	for range 8 {
		if b.id != a.id {
			break
		}
		b = m.parent(r)
	}
	c := child{u: append([]float64(nil), a.u...), memo: memo{Op: opCross, Parents: []int64{a.id, b.id}}}
	m.inherit(r, &c, a)
	for i := range c.u {
		switch x := r.Float64(); {
		case x < 0.4:
			c.u[i] = b.u[i]
		case x < 0.55 && m.dims[i].Ordered:
			c.u[i] += r.Float64() * (b.u[i] - a.u[i])
		}
	}
	if r.Float64() < 0.5 {
		m.jolt(r, &c, 1, 1)
	}
	return c
}
