package gp

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

type candidate struct {
	u     []float64
	value float64
}

const (
	climbing = 30 // evaluations of a climb along what is continuous
	rounds   = 3  // of climbs and sweeps
	fine     = 0.03
)

// maximise returns the point of highest acquisition among those that are
// fresh; nil if it finds none.
func (m *model) maximise(r *rand.Rand, o Options, fresh func([]float64) bool) []float64 {
	e := m.e
	var all []candidate
	add := func(u []float64) {
		u = e.space.Snap(u)
		all = append(all, candidate{u, m.value(e.point(u), math.Inf(-1))})
	}
	for _, u := range spread(len(e.dims), o.Candidates/2, r) {
		add(u)
	}
	elite := m.elite()
	for n := range o.Candidates / 2 {
		u := slices.Clone(elite[n%len(elite)])
		m.jolt(r, u)
		add(u)
	}
	best := func() { slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.value, a.value) }) }
	best()
	starts := slices.Clone(all[:min(o.Climbs, len(all))])
	if o.Climbs > 0 {
		starts = append(starts, candidate{u: e.space.Start(), value: math.Inf(-1)})
	}
	for _, c := range starts {
		all = append(all, m.climb(c))
	}
	best()
	for _, c := range all {
		if fresh(c.u) {
			return c.u
		}
	}
	return nil
}

// elite are the champion and the trials of the lowest posterior means, by the
// points of the space that they are nearest to.
func (m *model) elite() [][]float64 {
	type member struct {
		i    int
		mean float64
	}
	var members []member
	for i, x := range m.d.x {
		mean, _ := m.score.predict(x, nil, nil)
		members = append(members, member{i, mean})
	}
	slices.SortStableFunc(members, func(a, b member) int { return cmp.Compare(a.mean, b.mean) })
	out := [][]float64{m.e.space.Start()}
	for _, b := range members[:min(4, len(members))] {
		u := m.e.space.Start()
		for i := range u {
			x := m.d.x[b.i][i]
			if m.e.axes[i].kind != ordered {
				x = (x + 0.5) / float64(len(m.e.dims[i].Choices))
			}
			u[i] = math.Min(1, math.Max(0, x))
		}
		out = append(out, u)
	}
	return out
}

// jolt changes one constant to a few of them, by little or by much.
func (m *model) jolt(r *rand.Rand, u []float64) {
	n := 1 + int(r.ExpFloat64()*1.5)
	reach := 0.3 * math.Exp(-3*r.Float64())
	for range min(n, len(u)) {
		i := r.IntN(len(u))
		u[i] = m.e.dims[i].Mutate(r, u[i], reach)
	}
}

// smooth reports whether moves along a dimension are as good as continuous.
func (m *model) smooth(i int, u float64) bool {
	return m.e.axes[i].kind == ordered && m.e.dims[i].Notch(u) < fine
}

// climb goes up by gradients along what is continuous, and value by value
// along what is not, in turns.
func (m *model) climb(c candidate) candidate {
	e := m.e
	u := slices.Clone(c.u)
	var free []int
	for i := range u {
		if m.smooth(i, u[i]) {
			free = append(free, i)
		}
	}
	x := e.point(u)
	gradient := make([]float64, len(x))
	value := m.value(x, math.Inf(-1))
	for range rounds {
		before := value
		if len(free) > 0 {
			p, low, high := make([]float64, len(free)), make([]float64, len(free)), make([]float64, len(free))
			for k, i := range free {
				p[k], high[k] = u[i], 1
			}
			descend(p, low, high, climbing, func(p, g []float64) float64 {
				for k, i := range free {
					x[i] = p[k]
				}
				v := m.acquire(x, gradient)
				for k, i := range free {
					g[k] = -gradient[i]
				}
				return -v
			})
			for k, i := range free {
				u[i] = p[k]
			}
			u = e.space.Snap(u)
			x = e.point(u)
			value = m.value(x, math.Inf(-1))
		}
		for i := range u {
			if !m.smooth(i, u[i]) {
				value = m.sweep(u, x, i, value)
			}
		}
		if value-before < 1e-3 {
			break
		}
	}
	if value < c.value {
		return c
	}
	return candidate{u, value}
}

// sweep sets dimension i to its best value: of all of them if they are few,
// else of those around.
func (m *model) sweep(u, x []float64, i int, value float64) float64 {
	d := &m.e.dims[i]
	notch := d.Notch(u[i])
	var try []float64
	if notch >= 1./32 {
		for k := range int(math.Ceil(1 / notch)) {
			try = append(try, (float64(k)+0.5)*notch)
		}
	} else {
		for _, by := range []float64{-4, -2, -1, 1, 2, 4} {
			try = append(try, u[i]+by*notch)
		}
	}
	best := u[i]
	old := slices.Clone(u)
	for _, v := range try {
		if v < 0 || v > 1 {
			continue
		}
		old[i] = v
		snapped := m.e.space.Snap(old)[i]
		if snapped == best {
			continue
		}
		x[i] = m.e.place(i, snapped)
		if a := m.value(x, value); a > value {
			value, best = a, snapped
		}
	}
	u[i] = best
	x[i] = m.e.place(i, best)
	return value
}

// spread returns n points of the additive sequence of the generalised golden
// ratio (Roberts, 2018), shifted at random: evenly spread in any dimension.
func spread(dims, n int, r *rand.Rand) [][]float64 {
	g := 2.0
	for range 60 {
		g = math.Pow(1+g, 1/float64(dims+1))
	}
	step, at := make([]float64, dims), make([]float64, dims)
	for i := range step {
		step[i] = math.Pow(1/g, float64(i+1))
		at[i] = r.Float64()
	}
	out := make([][]float64, n)
	for k := range out {
		for i := range at {
			_, at[i] = math.Modf(at[i] + step[i])
		}
		out[k] = slices.Clone(at)
	}
	return out
}
