package evolution

import (
	"math"
	"math/rand/v2"
	"slices"

	"autoresearchd/search"
)

// surface is a separable quadratic around the champion: bend and slope of each
// ordered dimension, in standardised scores.
type surface struct {
	slope, bend []float64
}

const (
	fitTrials = 250 // the latest that are fitted
	fitLeast  = 6   // fewer say nothing
	trust     = 0.2 // longest step of a constant, in parts of its range
)

// fit steps towards the minimum of a separable quadratic, fitted by ridge
// regression to the scores near the champion. Each child takes the step in a
// random part of the constants only, so that no two are alike.
func (m *model) fit(r *rand.Rand) (child, bool) {
	if m.surface == nil {
		m.surface = m.regress()
	}
	f := m.surface
	if f.slope == nil {
		return child{}, false
	}
	c := child{u: m.space.Start(), memo: memo{Op: opFit, Parents: []int64{m.champion.id}}}
	m.inherit(r, &c, m.champion)
	share := 0.3 + 0.7*r.Float64()
	stretch := math.Exp(0.3 * r.NormFloat64())
	moved := false
	for i := range c.u {
		if f.slope[i] == 0 || r.Float64() > share {
			continue
		}
		step := -f.slope[i] / (2 * math.Max(f.bend[i], 0.5))
		step = stretch * math.Max(-trust, math.Min(trust, step))
		if m.dims[i].Notch(c.u[i]) > 0 || math.Abs(step) > 0.005 {
			c.u[i] = math.Min(1, math.Max(0, c.u[i]+step))
			moved = true
		}
	}
	return c, moved
}

// regress solves (X'WX + L)(b) = X'Wy for y = b0 + sum slope*x + bend*x^2. The
// prior on bend is a mean above 0: far away things are worse.
func (m *model) regress() *surface {
	none := &surface{}
	var used []trial
	for _, t := range slices.Backward(m.trials) {
		if t.ok && len(used) < fitTrials {
			used = append(used, t)
		}
	}
	if len(used) < fitLeast {
		return none
	}
	scores := make([]float64, len(used))
	for i, t := range used {
		scores[i] = t.score
	}
	slices.Sort(scores)
	low, mid := scores[0], scores[len(scores)/2]
	spread := mid - low
	if spread <= 0 {
		return none
	}
	d := len(m.dims)
	n := 2*d + 1
	a := make([][]float64, n)
	for i := range a {
		a[i] = make([]float64, n+1)
	}
	const prior, unit = 1.0, 5.0 // unit: a fifth of a range is the natural length of x
	for _, t := range used {
		x := make([]float64, n)
		x[0] = 1
		far := 0.0
		for k := range d {
			if !m.dims[k].Ordered {
				continue
			}
			z := (t.u[k] - m.champion.u[k]) * unit
			x[1+k], x[1+d+k] = z, z*z
			far += z * z
		}
		// Beyond three spreads, bad is bad: a cliff would bend everything.
		y := math.Min(3, (t.score-low)/spread)
		w := 1 / (1 + far/8)
		for i := range n {
			if x[i] == 0 {
				continue
			}
			for j := range n {
				a[i][j] += w * x[i] * x[j]
			}
			a[i][n] += w * x[i] * y
		}
	}
	for k := range d {
		a[1+k][1+k] += 0.1
		a[1+d+k][1+d+k] += 0.7
		a[1+d+k][n] += 0.7 * prior
	}
	a[0][0] += 1e-3
	b := solve(a)
	if b == nil {
		return none
	}
	f := &surface{slope: make([]float64, d), bend: make([]float64, d)}
	for k := range d {
		if m.dims[k].Ordered && m.dims[k].Scale <= search.Grid {
			f.slope[k], f.bend[k] = b[1+k]*unit, b[1+d+k]*unit*unit
		}
	}
	return f
}

// solve is Gaussian elimination with pivots on an augmented matrix, which it
// overwrites; nil if it is singular.
func solve(a [][]float64) []float64 {
	n := len(a)
	for i := range n {
		p := i
		for k := i + 1; k < n; k++ {
			if math.Abs(a[k][i]) > math.Abs(a[p][i]) {
				p = k
			}
		}
		if math.Abs(a[p][i]) < 1e-12 {
			return nil
		}
		a[i], a[p] = a[p], a[i]
		for k := i + 1; k < n; k++ {
			if f := a[k][i] / a[i][i]; f != 0 {
				for j := i; j <= n; j++ {
					a[k][j] -= f * a[i][j]
				}
			}
		}
	}
	x := make([]float64, n)
	for i := n - 1; i >= 0; i-- {
		s := a[i][n]
		for j := i + 1; j < n; j++ {
			s -= a[i][j] * x[j]
		}
		x[i] = s / a[i][i]
	}
	return x
}
