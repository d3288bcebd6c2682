package constraint

import (
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// observation is one trial: the logarithm of what it took was value, or it was
// above it, or below it.
type observation struct {
	x     []float64
	kind  kind
	value float64
	noise float64 // standard deviation
}

type kind uint8

const (
	exact kind = iota
	above
	below
)

// coefficient is the prior of one.
type coefficient struct {
	mean, spread float64
	positive     bool
}

// fitted is a linear function with the covariance of its coefficients.
type fitted struct {
	w          []float64
	covariance *mat.SymDense
}

// regress finds the coefficients of highest posterior density, by Newton's
// method within what is positive: the likelihood is concave, so there is one.
func regress(prior []coefficient, data []observation) fitted {
	p := len(prior)
	w := make([]float64, p)
	for i, c := range prior {
		w[i] = c.mean
	}
	value := objective(prior, data, w)
	free := make([]bool, p)
	g := make([]float64, p)
	h := mat.NewSymDense(p, nil)
	for range 40 {
		slopes(prior, data, w, g, h)
		for i, c := range prior {
			free[i] = !c.positive || w[i] > 0 || g[i] < 0
		}
		step := solve(h, g, free)
		moved := 0.0
		for t := 1.0; t > 1e-4; t /= 2 {
			next := make([]float64, p)
			for i := range w {
				next[i] = w[i] - t*step[i]
				if prior[i].positive {
					next[i] = math.Max(0, next[i])
				}
			}
			if v := objective(prior, data, next); v < value {
				moved = value - v
				w, value = next, v
				break
			}
		}
		if moved < 1e-8 {
			break
		}
	}
	slopes(prior, data, w, g, h)
	var c mat.Cholesky
	covariance := mat.NewSymDense(p, nil)
	if c.Factorize(h) { // always: the prior's part alone is positive definite
		_ = c.InverseTo(covariance)
	}
	return fitted{w, covariance}
}

// solve returns h⁻¹g on the free coefficients.
func solve(h *mat.SymDense, g []float64, free []bool) []float64 {
	n := len(g)
	a, b := mat.NewSymDense(n, nil), mat.NewVecDense(n, nil)
	for i := range n {
		if !free[i] {
			a.SetSym(i, i, 1)
			continue
		}
		b.SetVec(i, g[i])
		for j := i; j < n; j++ {
			if free[j] {
				a.SetSym(i, j, h.At(i, j))
			}
		}
	}
	var c mat.Cholesky
	x := mat.NewVecDense(n, nil)
	if c.Factorize(a) {
		_ = c.SolveVecTo(x, b)
	}
	return x.RawVector().Data
}

// objective is the negative logarithm of the posterior density.
func objective(prior []coefficient, data []observation, w []float64) float64 {
	sum := 0.0
	for i, c := range prior {
		z := (w[i] - c.mean) / c.spread
		sum += z * z / 2
	}
	for _, o := range data {
		z := (o.value - floats.Dot(o.x, w)) / o.noise
		switch o.kind {
		case exact:
			sum += z * z / 2
		case above:
			sum -= logPhi(-z)
		case below:
			sum -= logPhi(z)
		}
	}
	return sum
}

// slopes sets the objective's gradient and Hessian.
func slopes(prior []coefficient, data []observation, w, g []float64, h *mat.SymDense) {
	h.Zero()
	for i, c := range prior {
		g[i] = (w[i] - c.mean) / (c.spread * c.spread)
		h.SetSym(i, i, 1/(c.spread*c.spread))
	}
	for _, o := range data {
		z := (o.value - floats.Dot(o.x, w)) / o.noise
		slope, bend := -z, 1.0 // by z, times -1
		if o.kind != exact {
			s := 1.0
			if o.kind == above {
				s = -1
			}
			r := hazard(s * z)
			slope, bend = s*r, r*(r+s*z)
		}
		floats.AddScaled(g, slope/o.noise, o.x)
		h.SymRankOne(h, bend/(o.noise*o.noise), mat.NewVecDense(len(o.x), o.x))
	}
}

// predict returns the mean at x, and the standard deviation of that mean.
func (f fitted) predict(x []float64) (mean, deviation float64) {
	v := mat.NewVecDense(len(x), x)
	return floats.Dot(x, f.w), math.Sqrt(math.Max(0, mat.Inner(v, f.covariance, v)))
}

func phi(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// logPhi is the logarithm of the normal distribution function.
func logPhi(z float64) float64 {
	if z > -30 {
		return math.Log(phi(z))
	}
	return -z*z/2 - math.Log(-z*math.Sqrt(2*math.Pi))
}

// hazard is the density over the distribution function.
func hazard(z float64) float64 {
	if z > -30 {
		return math.Exp(-z*z/2) / (math.Sqrt(2*math.Pi) * phi(z))
	}
	return -z
}
