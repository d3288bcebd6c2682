package gp

import (
	"encoding/json"
	"math"
	"slices"

	"autoresearchd/search"

	"gonum.org/v1/gonum/mat"
)

// hyper are the hyperparameters of a process, by their logarithms.
type hyper struct {
	length []float64 // by axis, in parts of its range
	amp    float64   // variance of the function beside the trend; the scores' is 1
	noise  float64   // variance of the noise
	trend  []float64 // curvature of the bowl; empty: there is none
}

func (t hyper) bowl() float64 {
	if len(t.trend) == 0 {
		return 0
	}
	return math.Exp(t.trend[0])
}

// memo is what a proposal carries: where the next fits may start.
type memo struct {
	Score   *notes `json:"score,omitempty"`
	Failure *notes `json:"failure,omitempty"`
}

// notes are hyperparameters by the name of the axis, as axes come and go.
type notes struct {
	Length map[string]float64 `json:"length"`
	Amp    float64            `json:"amp"`
	Noise  float64            `json:"noise"`
	Trend  []float64          `json:"trend,omitempty"`
}

func rounded(x float64) float64 { return math.Round(x*1e3) / 1e3 }

func note(e *encoder, t hyper) *notes {
	n := &notes{Length: map[string]float64{}, Amp: rounded(t.amp), Noise: rounded(t.noise)}
	for i, a := range e.axes {
		n.Length[a.name] = rounded(t.length[i])
	}
	for _, x := range t.trend {
		n.Trend = append(n.Trend, rounded(x))
	}
	return n
}

// on returns the noted hyperparameters for the axes of e; nil if there are none.
func (n *notes) on(e *encoder) *hyper {
	if n == nil {
		return nil
	}
	t := &hyper{amp: n.Amp, noise: n.Noise, trend: n.Trend}
	for _, a := range e.axes {
		l, ok := n.Length[a.name]
		if !ok {
			l = lengthMean(len(e.axes))
		}
		t.length = append(t.length, l)
	}
	return t
}

// recall reads the last memo that this strategy wrote.
func recall(h search.History) memo {
	var m memo
	read := func(t *search.Trial) bool {
		if t.Proposal.Strategy != Name || len(t.Proposal.Memo) == 0 {
			return false
		}
		m = memo{}
		return json.Unmarshal(t.Proposal.Memo, &m) == nil
	}
	for i := range slices.Backward(h.Pending) {
		if read(&h.Pending[i]) {
			return m
		}
	}
	for i := range slices.Backward(h.Done) {
		if read(&h.Done[i].Trial) {
			return m
		}
	}
	return memo{}
}

// The priors, of logarithms. Those of the length scales are Hvarfner's, but
// shorter by a factor of three, as the trend has the long waves. Scores have
// variance 1, and little of it is noise. A bowl of trendMean explains all of
// the variance.
const (
	lengthAt, lengthSpread = 0.3, 1.7320508075688772 // √3
	ampMean, ampSpread     = 0.0, 1.0
	noiseMean, noiseSpread = -5.0, 1.5
	trendSpread            = 1.0
)

func lengthMean(axes int) float64 { return lengthAt + 0.5*math.Log(float64(axes)) }

func trendMean(axes int) float64 { return math.Log(2) + 0.5*math.Log(10/float64(axes)) }

// shortest is the least length scale of scores, by its logarithm.
const shortest = -3.5

// evidence is the negative logarithm of the posterior density of the
// hyperparameters, and its gradient.
type evidence struct {
	e     *encoder
	y     []float64
	pairs []float64     // squared distances by pair (j < i) and axis
	trend *mat.SymDense // nil: there is none
	base  []float64
}

func newEvidence(e *encoder, x [][]float64, y []float64, trend bool) *evidence {
	v := &evidence{e: e, y: y}
	for i := range x {
		for j := range i {
			for a := range e.axes {
				v.pairs = append(v.pairs, e.axes[a].apart(x[i][a], x[j][a]))
			}
		}
	}
	if trend {
		k := kernel{axes: e.axes}
		v.trend = mat.NewSymDense(len(x), nil)
		for i := range x {
			v.base = append(v.base, k.base(x[i]))
			for j := range i + 1 {
				v.trend.SetSym(i, j, k.trend(x[i], x[j]))
			}
		}
	}
	return v
}

func pack(t hyper) []float64 {
	return append(append(slices.Clone(t.length), t.amp, t.noise), t.trend...)
}

func (v *evidence) unpack(p []float64) hyper {
	d := len(v.e.axes)
	return hyper{slices.Clone(p[:d]), p[d], p[d+1], slices.Clone(p[d+2:])}
}

func (v *evidence) at(p, gradient []float64) float64 {
	n, d := len(v.y), len(v.e.axes)
	amp, noise := math.Exp(p[d]), math.Exp(p[d+1])
	weight := make([]float64, d)
	for a := range weight {
		weight[a] = math.Exp(-2 * p[a])
	}
	k := mat.NewSymDense(n, nil)
	raw := k.RawSymmetric().Data
	slope := make([]float64, len(v.pairs)/max(1, d)) // of amp·matern by r²
	at := 0
	for i := range n {
		raw[i*n+i] = amp + noise
		for j := range i {
			square := 0.0
			for a, by := range v.pairs[at*d : at*d+d] {
				square += weight[a] * by
			}
			m, s := matern(square)
			raw[j*n+i] = amp * m // the upper half
			slope[at] = amp * s
			at++
		}
	}
	over := mat.NewVecDense(n, slices.Clone(v.y))
	bowl := 0.0
	if v.trend != nil {
		bowl = math.Exp(p[d+2])
		for i, t := range v.trend.RawSymmetric().Data {
			raw[i] += bowl * bowl * t
		}
		over.AddScaledVec(over, -bowl, mat.NewVecDense(n, v.base))
	}
	inverse, logDet := invert(k)
	alpha := mat.NewVecDense(n, nil)
	alpha.MulVec(inverse, over)
	al := alpha.RawVector().Data
	fit := mat.Dot(over, alpha)
	value := 0.5*logDet + 0.5*fit
	// dV/dθ = ½ Σ (K⁻¹ - αα')ᵢⱼ dKᵢⱼ/dθ
	clear(gradient)
	inv := inverse.RawSymmetric().Data
	at = 0
	trace, square := 0.0, 0.0
	for i := range n {
		trace += inv[i*n+i]
		square += al[i] * al[i]
		for j := range i {
			q := (inv[j*n+i] - al[i]*al[j]) * slope[at] * -2
			for a, by := range v.pairs[at*d : at*d+d] {
				gradient[a] += q * by
			}
			at++
		}
	}
	for a := range d {
		gradient[a] *= weight[a]
	}
	gradient[d+1] = 0.5 * noise * (trace - square)
	// Σ (K⁻¹ - αα')ᵢⱼ Kᵢⱼ = n - y'α, of which the other parts are known.
	gradient[d] = 0.5*(float64(n)-fit) - gradient[d+1]
	if v.trend != nil {
		t := v.trend.RawSymmetric().Data
		part, base := 0.0, 0.0
		for i := range n {
			part += 0.5 * (inv[i*n+i] - al[i]*al[i]) * t[i*n+i]
			base += al[i] * v.base[i]
			for j := range i {
				part += (inv[j*n+i] - al[i]*al[j]) * t[j*n+i]
			}
		}
		part *= bowl * bowl
		gradient[d] -= part
		gradient[d+2] = 2*part - bowl*base
	}

	prior := func(i int, mean, spread float64) {
		z := (p[i] - mean) / spread
		value += 0.5 * z * z
		gradient[i] += z / spread
	}
	for a := range d {
		prior(a, lengthMean(d), lengthSpread)
	}
	prior(d, ampMean, ampSpread)
	prior(d+1, noiseMean, noiseSpread)
	if v.trend != nil {
		prior(d+2, trendMean(d), trendSpread)
	}
	return value
}

// fit finds the hyperparameters of highest posterior density from a few
// starts: where the last fit ended, the middle of the prior, and a function
// that changes quickly.
func fit(v *evidence, last *hyper, shortest float64) hyper {
	axes := len(v.e.axes)
	low, high := make([]float64, axes, axes+3), make([]float64, axes, axes+3)
	for a := range axes {
		low[a], high[a] = shortest, 8
	}
	low, high = append(low, -5, -12), append(high, 5, 1.5)
	if v.trend != nil {
		low, high = append(low, -6), append(high, 4)
	}
	start := func(length, noise, trend float64) []float64 {
		p := make([]float64, len(low))
		for a := range axes {
			p[a] = length
		}
		p[axes+1] = noise
		if v.trend != nil {
			p[axes+2] = trend
		}
		return p
	}
	var starts [][]float64
	if last != nil {
		if p := pack(*last); len(p) == len(low) {
			for i := range p {
				p[i] = math.Min(high[i], math.Max(low[i], p[i]))
			}
			starts = append(starts, p)
		}
	}
	// Many trials change little from one to the next, and are dear.
	n := len(v.y)
	few := n <= 60 || len(starts) == 0
	evaluations := 10
	if few {
		evaluations = 40
	}
	if few || n%8 == 0 && n < 100 {
		starts = append(starts, start(lengthMean(axes), noiseMean, trendMean(axes)), start(-1, noiseMean+3, trendMean(axes)-2))
	}
	best := math.Inf(1)
	theta := start(lengthMean(axes), noiseMean, trendMean(axes))
	for _, p := range starts {
		if value := descend(p, low, high, evaluations, v.at); value < best {
			best, theta = value, p
		}
	}
	return v.unpack(theta)
}
