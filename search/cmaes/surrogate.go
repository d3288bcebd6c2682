package cmaes

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

const (
	memory = 120 // latest trials that the surrogate is fitted to
	far    = 6   // longest step that it sees, in deviations
	bad    = 3   // spreads above the best from which on bad is bad
	fails  = 0.9 // share of the scores that are better than what a failure stands for
)

// surrogate is a quadratic function of the steps from the mean, in units in
// which the distribution is round, and a constant for each category. It guesses
// how far a point is above the best, in spreads: from the best to the median.
type surrogate struct {
	s    *state
	b    []float64
	x, y []float64 // room
}

// features returns the regressors at a point, into x.
func (s *state) features(x, u, y []float64) []float64 {
	x = append(x[:0], 1)
	for j, i := range s.f.moves {
		y[j] = 0
		if v := u[i]; !math.IsNaN(v) {
			y[j] = (v - s.mean[j]) / (s.sigma * s.scale[j])
		}
	}
	for k := range s.d {
		z := 0.0
		turn := s.turn[k*s.d : k*s.d+s.d]
		for j, v := range y {
			z += turn[j] * v
		}
		x = append(x, math.Min(far, math.Max(-far, z/s.root[k])))
	}
	z := x[1 : 1+s.d]
	for _, v := range z {
		x = append(x, v*v)
	}
	for a := range z {
		for b := range a {
			x = append(x, z[a]*z[b])
		}
	}
	for _, i := range s.f.picks {
		c := -1
		if !math.IsNaN(u[i]) {
			c = s.f.axes[i].choice(u[i])
		}
		for v := range s.f.axes[i].n {
			hit := 0.0
			if v == c {
				hit = 1
			}
			x = append(x, hit)
		}
	}
	return x
}

// fit regresses the trials by least squares, with a ridge for each kind of
// term, so that there may be fewer trials than terms. It expects a shallow bowl.
// With r, each trial has another weight, drawn as the Bayesian bootstrap does
// (Rubin, 1981). It is nil until there is something to learn from.
func (s *state) fit(r *rand.Rand) *surrogate {
	used := s.known[max(0, len(s.known)-memory):]
	order := make([]int, len(used))
	scores := 0
	for i := range order {
		order[i] = i
		if used[i].scored {
			scores++
		}
	}
	if scores < 3 || len(used) < 5 {
		return nil
	}
	slices.SortStableFunc(order, func(a, b int) int { return better(used[a], used[b]) })
	low := used[order[0]].score
	spread := used[order[(scores-1)/2]].score - low
	if spread <= 0 {
		return nil
	}
	height := func(score float64) float64 { return math.Min(bad, (score-low)/spread) }
	failure := height(used[order[int(fails*float64(scores-1))]].score)
	target := make([]float64, len(used))
	for i, p := range used {
		target[i] = failure
		if p.scored || p.pruned && !math.IsInf(p.score, 1) {
			target[i] = height(p.score)
		}
	}
	s.turn = make([]float64, s.d*s.d)
	for k := range s.d {
		for j := range s.d {
			s.turn[k*s.d+j] = s.basis.At(j, k)
		}
	}
	y := make([]float64, s.d)
	x := s.features(nil, used[0].u, y)
	m := len(x)
	rows := mat.NewDense(len(used), m, nil)
	right := make([]float64, m)
	near := 2 * math.Max(1, float64(s.d))
	for k := range used {
		x = s.features(x, used[k].u, y)
		square := 0.0
		for _, z := range x[1 : 1+s.d] {
			square += z * z
		}
		w := 1 / (1 + square/near)
		if r != nil {
			w *= r.ExpFloat64()
		}
		root := math.Sqrt(w)
		row := rows.RawRowView(k)
		for i, v := range x {
			row[i] = root * v
			right[i] += w * v * target[k]
		}
	}
	var a mat.SymDense
	a.SymOuterK(1, rows.T())
	ridge := func(i int, by, prior float64) {
		a.SetSym(i, i, a.At(i, i)+by)
		right[i] += by * prior
	}
	ridge(0, 1e-6, 0)
	for i := 1; i < m; i++ {
		switch {
		case i <= s.d:
			ridge(i, 0.1, 0)
		case i <= 2*s.d:
			ridge(i, 2, 0.1)
		case i <= 2*s.d+s.d*(s.d-1)/2:
			ridge(i, 4, 0)
		default:
			ridge(i, 0.5, 0)
		}
	}
	var chol mat.Cholesky
	if !chol.Factorize(&a) {
		return nil
	}
	var b mat.VecDense
	if chol.SolveVecTo(&b, mat.NewVecDense(m, right)) != nil {
		return nil
	}
	return &surrogate{s, b.RawVector().Data, x, y}
}

// at is the guess at u.
func (g *surrogate) at(u []float64) float64 {
	g.x = g.s.features(g.x, u, g.y)
	sum := 0.0
	for i, v := range g.x {
		sum += v * g.b[i]
	}
	return sum
}
