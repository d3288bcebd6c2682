package evolution

import (
	"cmp"
	"encoding/json"
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
	dims []int // that it moved, and the champion's line has not since
}

const (
	opStack   = "stack"
	links     = 8   // of the champion's line that are looked back on
	fewest    = 3   // dimensions that a gain may lie in: a point far off is no change
	stackings = 2   // trials that may take a gain up
	eagerness = 0.5 // share of proposals that take gains up, while there are any
)

// gather finds gains beside the champion's line.
func (m *model) gather(h search.History) {
	now := slices.IndexFunc(m.trials, func(t trial) bool { return t.id == m.champion.id })
	if now < 0 {
		return
	}
	taken := map[int64]int{}
	note := func(n memo) {
		if n.Op == opStack {
			for _, id := range n.Parents {
				taken[id]++
			}
		}
	}
	for _, t := range m.trials {
		note(t.memo)
	}
	for _, t := range h.Pending {
		var n memo
		if t.Proposal.Strategy == Name && json.Unmarshal(t.Proposal.Memo, &n) == nil {
			note(n)
		}
	}
	for child, n := now, 0; n < links && m.trials[child].parent >= 0; child, n = m.trials[child].parent, n+1 {
		at := m.trials[child].parent
		from := m.trials[at]
		for i, t := range m.trials {
			// What lost to the champion of its time was luck, or not enough.
			if t.parent != at || i == child || !t.ok || !from.ok || t.score >= from.score || !t.kept && i < child || taken[t.id] >= stackings {
				continue
			}
			g := gain{id: t.id, much: from.score - t.score, u: t.u}
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

// stack gives the champion what was gained beside it: all at first, then some.
func (m *model) stack(r *rand.Rand, tried int) child {
	c := child{u: m.space.Start(), memo: memo{Op: opStack}}
	moved := make([]bool, len(c.u))
	for _, g := range m.apart {
		if tried > 0 && r.Float64() < 0.4 {
			continue
		}
		used := false
		for _, k := range g.dims {
			if !moved[k] {
				c.u[k], moved[k], used = g.u[k], true, true
			}
		}
		if used {
			c.memo.Parents = append(c.memo.Parents, g.id)
		}
	}
	m.inherit(r, &c, m.champion)
	return c
}
