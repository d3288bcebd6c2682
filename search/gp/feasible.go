package gp

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// feasibility is the probability that a trial does not fail. It is a Gaussian
// process classifier with the probit likelihood, by Laplace's approximation
// (Rasmussen and Williams, Gaussian Processes for Machine Learning, 3.4). A
// few constants decide on failure, each in one direction, and failures are
// few: so the kernel has a length scale a constant, long a priori, which makes
// it nearly linear, as memory is in the logarithms of sizes; and it still
// bends where failures are no half-space, as of batches that do not divide.
// The length scales are those of a regression on the labels, whose evidence
// has a closed form.
type feasibility struct {
	e                *encoder
	theta            *hyper
	latent           *gaussian // nil: nothing has failed
	dmean, dvariance []float64
}

// The latent function is the risk: high where trials fail.
const (
	maxLabels   = 100
	latentAmp   = 200.0 // prior variance: failure is no matter of chance, so the edge is sharp
	believed    = -14.0 // prior mean: five of six trials do not fail
	latentBowl  = 6.0   // its trend: the farther from the middle, the riskier
	leastLength = 0.0   // logarithm of the shortest length scale: a range
)

func newFeasibility(e *encoder, d *data, last *notes) *feasibility {
	f := &feasibility{e: e, dmean: make([]float64, len(e.axes)), dvariance: make([]float64, len(e.axes))}
	failures := 0
	for _, t := range d.tried {
		if !t.ok {
			failures++
		}
	}
	if failures == 0 {
		return f
	}
	var tried []label
	// All failures of late, and the newest of the rest.
	room := maxLabels
	failed := min(failures, room/2)
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
	var x [][]float64
	var y []float64
	mean := 0.0
	for _, t := range tried {
		x = append(x, t.x)
		if t.ok {
			mean += 1 / float64(len(tried))
		}
	}
	for _, t := range tried {
		v := mean
		if t.ok {
			v = mean - 1
		}
		y = append(y, v/math.Sqrt(mean*(1-mean)+1e-3))
	}
	theta := fit(newEvidence(e, x, y, false), last.on(e), leastLength)
	f.theta = &theta
	k := kernel{axes: e.axes, amp: latentAmp, bowl: latentBowl}
	for _, l := range theta.length {
		k.weight = append(k.weight, math.Exp(-2*l))
	}
	f.latent = laplace(k, tried)
	return f
}

func (f *feasibility) note() *notes {
	if f.theta == nil {
		return nil
	}
	return note(f.e, *f.theta)
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
	over := make([]float64, n)
	for i, t := range tried {
		over[i] = g.mean + k.bowl*k.base(t.x)
	}
	w, b := make([]float64, n), mat.NewVecDense(n, nil)
	for range 30 {
		// log Φ(s·f): slope s·r and curvature -(r² + s·f·r), r = φ/Φ.
		for i, t := range tried {
			s := 1.0
			if t.ok {
				s = -1
			}
			z := s * (f[i] + over[i])
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
		inverse, _ := invert(m)
		alpha := mat.NewVecDense(n, g.alpha)
		alpha.MulVec(inverse, b)
		var next mat.VecDense
		next.MulVec(cov, alpha)
		moved := 0.0
		for i := range f {
			moved = math.Max(moved, math.Abs(next.AtVec(i)-f[i]))
			f[i] = next.AtVec(i)
		}
		if g.ready(inverse); moved < 1e-4 {
			break
		}
	}
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
		return logPhi(-mean / math.Sqrt(1+variance))
	}
	mean, variance := f.latent.predict(x, f.dmean, f.dvariance)
	s := math.Sqrt(1 + variance)
	z := -mean / s
	v := logPhi(z)
	r := math.Exp(-z*z/2 - logRoot2Pi - v)
	for a := range gradient {
		gradient[a] = -r * (f.dmean[a]/s + z*f.dvariance[a]/(2*s*s))
	}
	return v
}
