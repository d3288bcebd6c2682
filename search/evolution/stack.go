package evolution

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"autoresearchd/search"
)

// gain is what a trial gained over its parent, and the champion has not: they
// ran at the same time. One trial after another leaves none.
type gain struct {
	id   int64
	much float64 // bits per byte
	u    []float64
	from []float64 // its parent
	dims []int     // that it moved, and the champion's line has not since
}

const (
	opStack   = "stack"
	links     = 8   // of the champion's line that are looked back on
	fewest    = 3   // dimensions that a gain may lie in: a point far off is no change
	stackings = 2   // trials that may take a gain up, and one more for every four that run
	eager     = 3   // times as often as it succeeds against the others, it is drawn
	further   = 1.6 // times the champion's own last move
)

// gather finds gains beside the champion's line, and what has been made of its own.
func (m *model) gather(h search.History) {
	now := slices.IndexFunc(m.trials, func(t trial) bool { return t.id == m.champion.id })
	if now < 0 {
		return
	}
	taken := map[int64]int{}
	note := func(n memo, ofChampion bool) {
		if n.Op == opStack && ofChampion {
			m.stacked++
		}
		if n.Op == opStack || n.Move != nil {
			for _, id := range n.Parents {
				taken[id]++
			}
		}
	}
	for _, t := range m.trials {
		note(t.memo, t.parent == now)
	}
	for i := range h.Pending {
		note(read(&h.Pending[i]), h.Pending[i].Proposal.Parent == m.champion.id)
	}
	if at := m.trials[now].parent; at >= 0 && m.trials[at].ok {
		m.before = m.trials[at].u
	}
	for child, n := now, 0; n < links && m.trials[child].parent >= 0; child, n = m.trials[child].parent, n+1 {
		at := m.trials[child].parent
		from := m.trials[at]
		for i, t := range m.trials {
			// What lost to the champion of its time was luck, or not enough.
			if t.parent != at || i == child || !t.ok || !from.ok || t.score >= from.score || !t.kept && i < child || taken[t.id] >= stackings+m.running/4 {
				continue
			}
			g := gain{id: t.id, much: from.score - t.score, u: t.u, from: from.u}
			moved := 0
			for k := range t.u {
				if math.Abs(t.u[k]-from.u[k]) > same {
					moved++
					if math.Abs(m.champion.u[k]-from.u[k]) <= same {
						g.dims = append(g.dims, k)
					}
				}
			}
			if moved <= fewest && len(g.dims) > 0 {
				m.apart = append(m.apart, g)
			}
		}
	}
	slices.SortStableFunc(m.apart, func(a, b gain) int { return cmp.Compare(b.much, a.much) })
}

// stacks reports whether there is something to stack. One trial after another
// goes on in the champion's direction by itself (line).
func (m *model) stacks() bool {
	if m.running == 0 {
		return len(m.apart) > 0
	}
	return m.stacked < 1+m.running/2 && (len(m.apart) > 0 || m.before != nil)
}

// eagerness is the share of proposals that stack, while there is something to.
func (m *model) eagerness() float64 {
	sum := 0.0
	for _, op := range ops {
		sum += m.success(op)
	}
	own := eager * m.success(opStack)
	return own / (own + sum)
}

// stack gives the champion what was gained beside it: all at first, then some,
// further than it went, and with it the champion's own last move goes on. It is
// not ok if that moves nothing.
func (m *model) stack(r *rand.Rand, tried int) (c child, ok bool) {
	c = child{u: m.space.Start(), memo: memo{Op: opStack}}
	first := m.stacked == 0 && tried == 0
	far, own := 1.0, true
	switch {
	case !first:
		far, own = math.Exp(math.Abs(r.NormFloat64())), r.Float64() < 0.7
	case len(m.apart) == 0:
		far = further
	}
	start := slices.Clone(c.u)
	m.add(&c, far, func() bool { return first || r.Float64() >= 0.4 })
	if own && m.running > 0 {
		for k := range m.before {
			if c.u[k] == start[k] && m.dims[k].Ordered {
				c.u[k] += (far - 1) * (m.champion.u[k] - m.before[k])
			}
		}
	}
	for k := range c.u {
		c.u[k] = math.Min(1, math.Max(0, c.u[k]))
	}
	m.inherit(r, &c, m.champion)
	return c, !slices.Equal(c.u, start)
}

// add adds the gains that pick takes to a child of the champion, so many times
// as far as they went, the largest first where several moved the same, and
// returns the val_bpb that it has if they add up.
func (m *model) add(c *child, far float64, pick func() bool) float64 {
	moved := make([]bool, len(c.u))
	sum := m.champion.score
	for _, g := range m.apart {
		if !pick() {
			continue
		}
		used := false
		for _, k := range g.dims {
			if moved[k] {
				continue
			}
			c.u[k], moved[k], used = g.u[k], true, true
			if m.dims[k].Ordered {
				c.u[k] = g.from[k] + far*(g.u[k]-g.from[k])
			}
		}
		if used {
			sum -= g.much
			c.memo.Parents = append(c.memo.Parents, g.id)
		}
	}
	return sum
}
