package evolution

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"autoresearchd/search"
)

// line is what moves of one constant alone have taught about it.
type line struct {
	dir   float64 // next direction, +1 or -1
	step  float64 // next step, in parts of the range
	fails int     // moves since the last that helped
	won   bool    // one has helped
}

// move is one of a constant that did not start at a trial, but where gains that
// were made side by side lead together.
type move struct {
	Dim  string  `json:"dim"`
	By   float64 `json:"by"`   // in parts of the range
	From float64 `json:"from"` // val_bpb there in bits per byte, if the gains add up
}

// moves replays every trial that differs from its parent in one dimension,
// whoever proposed it.
func (m *model) moves(h search.History, r *rand.Rand) {
	m.lines = make([]line, len(m.dims))
	for i := range m.lines {
		m.lines[i] = line{dir: m.favour(i, r), step: m.o.Step}
	}
	at := map[int64]int{}
	for i, t := range m.trials {
		at[t.id] = i
		if t.parent < 0 || t.status == search.Interrupted || t.status == search.Tampered {
			continue
		}
		p := m.trials[t.parent]
		m.hot = -1
		i, by, from := m.move(p, t.u, t.memo)
		if i >= 0 {
			m.moved(i, by, t.ok && p.ok && t.score < from)
		}
	}
	for _, t := range h.Pending { // counted as no help until they say otherwise
		p, ok := at[t.Proposal.Parent]
		if !ok {
			continue
		}
		if i, by, _ := m.move(m.trials[p], m.space.Encode(t.Constants), read(&t)); i >= 0 {
			m.moved(i, by, false)
		}
	}
}

// move returns the only dimension that a child of p moved, by how much and from
// what score; -1 if it moved none or several.
func (m *model) move(p trial, u []float64, n memo) (dim int, by, from float64) {
	if n.Move != nil {
		return slices.IndexFunc(m.dims, func(d search.Dimension) bool { return d.Name == n.Move.Dim }), n.Move.By, n.Move.From
	}
	dim, by = single(p.u, u)
	return dim, by, p.score
}

func (m *model) moved(i int, by float64, helped bool) {
	l := &m.lines[i]
	dir := 1.0
	if by < 0 {
		dir = -1
	}
	if helped {
		*l = line{dir: dir, step: math.Min(0.3, 1.3*math.Max(math.Abs(by), 0.02)), won: true}
		m.hot = i
		m.weight[i] = math.Min(6, m.weight[i]*1.5)
		return
	}
	l.dir = -dir
	if l.won && l.fails == 0 { // it went too far: the best lies around here
		l.step = math.Max(0.02, l.step*0.5)
	}
	if l.fails++; l.fails%2 == 0 {
		l.step = math.Max(0.02, l.step*0.5)
		m.weight[i] = math.Max(0.3, m.weight[i]*0.8)
	}
	if m.hot == i {
		m.hot = -1
	}
}

// favour is the direction that is tried first: faster learning, smaller
// batches and less decay are what short budgets reward.
func (m *model) favour(i int, r *rand.Rand) float64 {
	coin := r.IntN(2)*2 - 1
	switch m.rank[i] {
	case rankBatch:
		return -1
	case rankRate:
		return 1
	}
	return float64(coin)
}

// single returns the only dimension in which two points differ, and by how
// much; -1 if there is none or more than one.
func single(a, b []float64) (dim int, by float64) {
	dim = -1
	for i := range a {
		if d := b[i] - a[i]; math.Abs(d) > 1e-9 {
			if dim >= 0 {
				return -1, 0
			}
			dim, by = i, d
		}
	}
	return dim, by
}

// line moves one constant of the champion: the one that just helped further,
// else the one with the fewest vain moves, by rank. tried counts the moves
// that were refused in this Ask.
func (m *model) line(r *rand.Rand, tried int) (child, bool) {
	order := make([]int, len(m.dims))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		la, lb := m.lines[a], m.lines[b]
		return cmp.Or(-boolCompare(a == m.hot, b == m.hot), cmp.Compare(la.fails/2, lb.fails/2), cmp.Compare(m.turn(a), m.turn(b)))
	})
	i := order[tried/2%len(order)]
	d, l := &m.dims[i], m.lines[i]
	if tried%2 == 1 {
		l.dir = -l.dir
	}
	c := child{u: m.space.Start(), memo: memo{Op: opLine, Parents: []int64{m.champion.id}}}
	var from *move
	if m.running > 0 && tried < 4 {
		if sum := m.add(&c, 1, func() bool { return true }); len(c.memo.Parents) > 1 {
			from = &move{Dim: d.Name, By: -c.u[i], From: sum}
			c.memo.Move = from
		}
	}
	switch {
	case d.Scale == search.Grid && !d.Ordered:
		c.u[i] = d.Mutate(r, c.u[i], l.step)
	case d.Scale == search.Grid: // whole notches
		step := d.Notch(c.u[i]) * math.Max(1, math.Floor(l.step*float64(len(d.Choices))))
		c.u[i] = math.Min(1, math.Max(0, c.u[i]+l.dir*step))
		m.inherit(r, &c, m.champion)
	default:
		step := math.Max(l.step, 1.01*d.Notch(c.u[i]))
		c.u[i] = math.Min(1, math.Max(0, c.u[i]+l.dir*step))
		m.inherit(r, &c, m.champion)
	}
	if from != nil {
		from.By += c.u[i]
	}
	return c, true
}

// turn is a dimension's rank in the opening. After a vain move its other
// direction comes next, as that is where the optimum probably lies; but a
// larger batch waits, as it seldom pays, and so does what has helped already.
func (m *model) turn(i int) int {
	switch {
	case m.lines[i].fails%2 == 0:
		return m.rank[i]
	case m.rank[i] == rankBatch, m.lines[i].won:
		return rankShare
	}
	return -1
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
