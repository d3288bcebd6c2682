package gp

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// model is the surrogate with what is expected of pending trials, and the
// feasibility.
type model struct {
	e        *encoder
	score    *gaussian
	best     float64 // lowest posterior mean at a trial
	feasible *feasibility
	d        *data

	dmean, dvariance, dlog []float64 // scratch
}

func newModel(e *encoder, d *data, t hyper, f *feasibility) *model {
	k := kernel{axes: e.axes, amp: math.Exp(t.amp), bowl: t.bowl()}
	for _, l := range t.length {
		k.weight = append(k.weight, math.Exp(-2*l))
	}
	noise := math.Exp(t.noise)
	m := &model{e: e, d: d, score: condition(k, d.x, d.y, noise)}
	// The posterior mean at a trial: y - noise·alpha.
	m.best = math.Inf(1)
	for i, y := range d.y {
		m.best = math.Min(m.best, y-noise*m.score.alpha[i])
	}
	if len(d.pending) > 0 {
		x, y := d.x[:len(d.x):len(d.x)], d.y[:len(d.y):len(d.y)]
		for _, p := range d.pending {
			mean, _ := m.score.predict(p, nil, nil)
			x, y = append(x, p), append(y, mean)
			m.best = math.Min(m.best, mean)
		}
		m.score = condition(k, x, y, noise)
	}
	m.feasible = f
	m.dmean, m.dvariance, m.dlog = make([]float64, len(e.axes)), make([]float64, len(e.axes)), make([]float64, len(e.axes))
	return m
}

// condition is the process with kernel k, given scores with noise.
func condition(k kernel, x [][]float64, y []float64, noise float64) *gaussian {
	g := &gaussian{kernel: k, x: x}
	m := k.matrix(x)
	for i := range x {
		m.SetSym(i, i, m.At(i, i)+noise)
	}
	inverse, _ := invert(m)
	over := mat.NewVecDense(len(y), nil)
	for i := range y {
		over.SetVec(i, y[i]-k.bowl*k.base(x[i]))
	}
	alpha := mat.NewVecDense(len(y), nil)
	alpha.MulVec(inverse, over)
	g.alpha = alpha.RawVector().Data
	g.ready(inverse)
	return g
}

// caution is the weight of log P(feasible). With a weight of 1 the expected
// improvement, which is largest where nothing is known, wins over an even
// chance of failure again and again along the edge of the region: a fifth of
// the synthetic task's trials failed, a tenth do with this.
const caution = 4

// acquire is the acquisition at x, log EI + caution·log P(feasible), and sets
// its gradient along the ordered axes.
func (m *model) acquire(x, gradient []float64) float64 {
	mean, variance := m.score.predict(x, m.dmean, m.dvariance)
	s := math.Sqrt(variance)
	v, dm, ds := logEI(m.best, mean, s)
	v += caution * m.feasible.log(x, m.dlog)
	for a := range gradient {
		gradient[a] = dm*m.dmean[a] + ds*m.dvariance[a]/(2*s) + caution*m.dlog[a]
	}
	return v
}

// value is the acquisition at x, or something at most floor if it is no larger
// than that.
func (m *model) value(x []float64, floor float64) float64 {
	mean, variance := m.score.predict(x, nil, nil)
	v, _, _ := logEI(m.best, mean, math.Sqrt(variance))
	if v <= floor { // the other term is not positive
		return v
	}
	return v + caution*m.feasible.log(x, nil)
}

// logEI is the logarithm of the expected improvement of a Gaussian over best,
// low being good, with its derivatives by mean and deviation.
func logEI(best, mean, deviation float64) (v, dmean, ddeviation float64) {
	z := (best - mean) / deviation
	h := logH(z)
	// EI = s·h(z); dEI/dmean = -Φ(z), dEI/ds = φ(z).
	v = h + math.Log(deviation)
	return v, -math.Exp(logPhi(z)-h) / deviation, math.Exp(-z*z/2-logRoot2Pi-h) / deviation
}

const logRoot2Pi = 0.918938533204672742

// logH is log(φ(z) + zΦ(z)), exact also where the sum cancels (Ament et al.,
// section 4.1 and appendix A).
func logH(z float64) float64 {
	switch {
	case z > -1:
		return math.Log(math.Exp(-z*z/2-logRoot2Pi) + z*math.Erfc(-z/math.Sqrt2)/2)
	case z > -30:
		return -z*z/2 - logRoot2Pi + math.Log1p(z*math.Sqrt(math.Pi/2)*erfcx(-z/math.Sqrt2))
	}
	w := 1 / (z * z)
	return -z*z/2 - logRoot2Pi + math.Log(w) + math.Log1p(-3*w+15*w*w)
}

// logPhi is the logarithm of the normal distribution function.
func logPhi(z float64) float64 {
	if z > -1 {
		return math.Log(math.Erfc(-z/math.Sqrt2) / 2)
	}
	return -z*z/2 + math.Log(erfcx(-z/math.Sqrt2)/2)
}

// erfcx is exp(x²)·erfc(x) for x ≥ 0.
func erfcx(x float64) float64 {
	if x < 20 {
		return math.Exp(x*x) * math.Erfc(x)
	}
	w := 1 / (2 * x * x)
	return (1 - w + 3*w*w - 15*w*w*w) / (x * math.Sqrt(math.Pi))
}
