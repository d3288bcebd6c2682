package gp

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"
)

// kernel is amp·Matérn 5/2(r), with r² the sum over axes of weight·apart, and
// beside it the trend: a bowl of curvature bowl along each ordered axis, whose
// bottom and curvature are uncertain. Far from where it is good, a train.py is
// worse; a stationary kernel alone would have to learn that in every corner.
type kernel struct {
	axes   []axis
	amp    float64
	weight []float64 // 1/length² by axis
	bowl   float64   // 0: no trend
}

// The trend is Σ over axes of bowl·(l² - 1/12), with l = x - ½, plus a slope
// and a curvature of mean 0: the bottom of the bowl is about a quarter of the
// range from the middle, and the curvature on an axis as uncertain as large.
const (
	slopeShare = (2 * 0.25) * (2 * 0.25)
	bendShare  = 1.0
	middle     = 1. / 12
)

// trend is the covariance of the trend between two inputs, by bowl².
func (k *kernel) trend(x, y []float64) float64 {
	sum := 0.0
	for a := range k.axes {
		if k.axes[a].kind == ordered {
			l, m := x[a]-0.5, y[a]-0.5
			sum += slopeShare*l*m + bendShare*(l*l-middle)*(m*m-middle)
		}
	}
	return sum
}

// base is the mean of the trend, by bowl.
func (k *kernel) base(x []float64) float64 {
	sum := 0.0
	for a := range k.axes {
		if k.axes[a].kind == ordered {
			l := x[a] - 0.5
			sum += l*l - middle
		}
	}
	return sum
}

const root5 = 2.23606797749979

// matern is the kernel at a squared distance, with its derivative by it.
func matern(square float64) (k, slope float64) {
	r := root5 * math.Sqrt(square)
	e := math.Exp(-r)
	return (1 + r + r*r/3) * e, -5. / 6 * (1 + r) * e
}

func (k *kernel) square(x, y []float64) float64 {
	sum := 0.0
	for a := range k.axes {
		if k.axes[a].kind == ordered {
			by := x[a] - y[a]
			sum += k.weight[a] * by * by
		} else {
			sum += k.weight[a] * k.axes[a].apart(x[a], y[a])
		}
	}
	return sum
}

func (k *kernel) at(x, y []float64) float64 {
	v, _ := matern(k.square(x, y))
	v *= k.amp
	if k.bowl > 0 {
		v += k.bowl * k.bowl * k.trend(x, y)
	}
	return v
}

// matrix is the kernel between all pairs, without noise.
func (k *kernel) matrix(x [][]float64) *mat.SymDense {
	m := mat.NewSymDense(len(x), nil)
	for i := range x {
		for j := range i + 1 {
			m.SetSym(i, j, k.at(x[i], x[j]))
		}
	}
	return m
}

// invert returns the inverse of a positive definite matrix and the logarithm
// of its determinant, adding to its diagonal what rounding has taken.
func invert(m *mat.SymDense) (inverse *mat.SymDense, logDet float64) {
	n := m.SymmetricDim()
	var c mat.Cholesky
	for jitter := 1e-9; !c.Factorize(m); jitter *= 10 {
		for i := range n {
			m.SetSym(i, i, m.At(i, i)*(1+jitter)+jitter)
		}
	}
	inverse = mat.NewSymDense(n, nil)
	_ = c.InverseTo(inverse) // its error is a warning about the condition, which the noise bounds
	return inverse, c.LogDet()
}

// gaussian is a posterior process: mean k·alpha over the prior's, variance k(x,x) - k·inverse·k.
type gaussian struct {
	kernel
	x       [][]float64
	mean    float64 // of the prior, beside the trend's
	alpha   []float64
	inverse blas64.General

	k, slope, beta []float64 // scratch
}

// ready takes the inverse, both halves of it: a full product is the faster one.
func (g *gaussian) ready(inverse *mat.SymDense) {
	n := len(g.x)
	g.inverse = mat.DenseCopyOf(inverse).RawMatrix()
	g.k, g.slope, g.beta = make([]float64, n), make([]float64, n), make([]float64, n)
}

// predict returns the posterior mean and variance at x and, where dmean and
// dvariance are not nil, their gradients along the ordered axes.
func (g *gaussian) predict(x []float64, dmean, dvariance []float64) (mean, variance float64) {
	bowl := g.bowl
	mean = g.mean
	if bowl > 0 {
		mean += bowl * g.base(x)
	}
	for j, y := range g.x {
		v, s := matern(g.square(x, y))
		g.k[j], g.slope[j] = g.amp*v, g.amp*s
		if bowl > 0 {
			g.k[j] += bowl * bowl * g.trend(x, y)
		}
		mean += g.alpha[j] * g.k[j]
	}
	blas64.Gemv(blas.NoTrans, 1, g.inverse, blas64.Vector{N: len(g.k), Data: g.k, Inc: 1}, 0, blas64.Vector{N: len(g.k), Data: g.beta, Inc: 1})
	prior := g.amp
	if bowl > 0 {
		prior += bowl * bowl * g.trend(x, x)
	}
	variance = prior
	for j, k := range g.k {
		variance -= k * g.beta[j]
	}
	if dmean != nil {
		for a := range g.axes {
			if g.axes[a].kind != ordered {
				dmean[a], dvariance[a] = 0, 0
				continue
			}
			l := x[a] - 0.5
			dm, dv := 2*bowl*l, bowl*bowl*(2*slopeShare*l+4*bendShare*(l*l-middle)*l)
			for j, y := range g.x {
				dk := 2 * g.slope[j] * g.weight[a] * (x[a] - y[a])
				if bowl > 0 {
					m := y[a] - 0.5
					dk += bowl * bowl * (slopeShare*m + 2*bendShare*l*(m*m-middle))
				}
				dm += g.alpha[j] * dk
				dv -= 2 * g.beta[j] * dk
			}
			dmean[a], dvariance[a] = dm, dv
		}
	}
	return mean, math.Max(variance, 1e-10*prior)
}
