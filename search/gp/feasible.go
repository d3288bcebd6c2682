package gp

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// feasibility is the probability that a trial does not fail. It is a Gaussian
// process classifier with the probit likelihood, by Laplace's approximation
// (Rasmussen and Williams, Gaussian Processes for Machine Learning, 3.4). Its
// kernel has a linear part, as memory is nearly linear in the logarithms of
// sizes: what goes further than a failure, in its direction, fails too. The
// Matérn part adds what is not a half-space: batches that do not divide.
type feasibility struct {
	latent              *gaussian // nil: nothing has failed
	dmean, dvariance    []float64
	failures, completed int
}

const (
	believed    = 1.3 // prior mean: 9 of 10 trials do not fail
	maxLabels   = 160
	steepness   = 16.0 // variance of the slope: two standard deviations in half a range
	wiggle      = 1.0
	labelLength = 0.5 // of the Matérn part, by √axes
)

func newFeasibility(e *encoder, d *data) *feasibility {
	f := &feasibility{dmean: make([]float64, len(e.axes)), dvariance: make([]float64, len(e.axes))}
	var tried []label
	for _, t := range d.tried {
		if !t.ok {
			f.failures++
		}
	}
	if f.failures == 0 {
		return f
	}
	// All failures of late, and the newest of the rest.
	room := maxLabels
	failed := min(f.failures, room/2)
	for i := len(d.tried) - 1; i >= 0 && room > 0; i-- {
		switch t := d.tried[i]; {
		case !t.ok && failed > 0:
			tried = append(tried, t)
			failed--
			room--
		case t.ok && room > failed:
			tried = append(tried, t)
			room--
		}
	}
	k := kernel{axes: e.axes, amp: wiggle, linear: steepness, centre: e.point(e.space.Start())}
	length := labelLength * math.Sqrt(float64(len(e.axes)))
	for range e.axes {
		k.weight = append(k.weight, 1/(length*length))
	}
	f.latent = laplace(k, tried)
	return f
}

// laplace finds the mode of the latent function by Newton's method, and
// returns the Gaussian there.
func laplace(k kernel, tried []label) *gaussian {
	n := len(tried)
	g := &gaussian{kernel: k, mean: believed, alpha: make([]float64, n)}
	for _, t := range tried {
		g.x = append(g.x, t.x)
	}
	cov := k.matrix(g.x)
	f := make([]float64, n) // without the mean
	w, b := make([]float64, n), mat.NewVecDense(n, nil)
	for range 30 {
		// log Φ(s·f): slope s·r and curvature -(r² + s·f·r), r = φ/Φ.
		for i, t := range tried {
			s := 1.0
			if !t.ok {
				s = -1
			}
			z := s * (f[i] + believed)
			r := math.Exp(-z*z/2 - logRoot2Pi - logPhi(z))
			w[i] = math.Max(r*(r+z), 1e-6)
			b.SetVec(i, f[i]+s*r/w[i])
		}
		// f = K (K + W⁻¹)⁻¹ (f + W⁻¹ ∇), which is Newton's step.
		m := mat.NewSymDense(n, nil)
		m.CopySym(cov)
		for i := range n {
			m.SetSym(i, i, m.At(i, i)+1/w[i])
		}
		g.inverse, _ = invert(m)
		alpha := mat.NewVecDense(n, g.alpha)
		alpha.MulVec(g.inverse, b)
		var next mat.VecDense
		next.MulVec(cov, alpha)
		moved := 0.0
		for i := range f {
			moved = math.Max(moved, math.Abs(next.AtVec(i)-f[i]))
			f[i] = next.AtVec(i)
		}
		if moved < 1e-4 {
			break
		}
	}
	g.ready()
	return g
}

func (f *feasibility) probability(x []float64) float64 { return math.Exp(f.log(x, nil)) }

// log is the logarithm of the probability, and sets its gradient along the
// ordered axes where that is not nil.
func (f *feasibility) log(x, gradient []float64) float64 {
	if f.latent == nil {
		clear(gradient)
		return 0
	}
	if gradient == nil {
		mean, variance := f.latent.predict(x, nil, nil)
		return logPhi(mean / math.Sqrt(1+variance))
	}
	mean, variance := f.latent.predict(x, f.dmean, f.dvariance)
	s := math.Sqrt(1 + variance)
	z := mean / s
	v := logPhi(z)
	r := math.Exp(-z*z/2 - logRoot2Pi - v)
	for a := range gradient {
		gradient[a] = r * (f.dmean[a]/s - z*f.dvariance[a]/(2*s*s))
	}
	return v
}
