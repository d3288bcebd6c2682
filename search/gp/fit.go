package gp

import (
	"encoding/json"
	"math"
	"slices"

	"autoresearchd/search"

	"gonum.org/v1/gonum/mat"
)

// hyper are the surrogate's hyperparameters, by their logarithms.
type hyper struct {
	length []float64 // by axis, in parts of its range
	amp    float64   // variance of the function; the scores' is 1
	noise  float64   // variance of the noise
}

// memo is what a proposal carries: where the next fit may start.
type memo struct {
	Length map[string]float64 `json:"length"`
	Amp    float64            `json:"amp"`
	Noise  float64            `json:"noise"`
}

func rounded(x float64) float64 { return math.Round(x*1e3) / 1e3 }

func note(e *encoder, t hyper) memo {
	m := memo{Length: map[string]float64{}, Amp: rounded(t.amp), Noise: rounded(t.noise)}
	for i, a := range e.axes {
		m.Length[a.name] = rounded(t.length[i])
	}
	return m
}

func recall(e *encoder, h search.History) (hyper, bool) {
	last := func(t *search.Trial) (hyper, bool) {
		var m memo
		if t.Proposal.Strategy != Name || len(t.Proposal.Memo) == 0 || json.Unmarshal(t.Proposal.Memo, &m) != nil || len(m.Length) == 0 {
			return hyper{}, false
		}
		out := hyper{amp: m.Amp, noise: m.Noise}
		for _, a := range e.axes {
			l, ok := m.Length[a.name]
			if !ok {
				l = lengthMean(len(e.axes))
			}
			out.length = append(out.length, l)
		}
		return out, true
	}
	for i := range slices.Backward(h.Pending) {
		if t, ok := last(&h.Pending[i]); ok {
			return t, true
		}
	}
	for i := range slices.Backward(h.Done) {
		if t, ok := last(&h.Done[i].Trial); ok {
			return t, true
		}
	}
	return hyper{}, false
}

// The priors, of logarithms: Hvarfner's for the length scales; scores have
// variance 1, and most of it is not noise.
const (
	lengthSpread           = math.Sqrt2 * 1.2247448713915889 // √3
	ampMean, ampSpread     = 0.0, 1.0
	noiseMean, noiseSpread = -4.0, 1.5
)

func lengthMean(axes int) float64 { return math.Sqrt2 + 0.5*math.Log(float64(axes)) }

// evidence is the negative logarithm of the posterior density of the
// hyperparameters, and its gradient.
type evidence struct {
	e     *encoder
	y     []float64
	pairs []float64 // squared distances by pair (j < i) and axis
}

func newEvidence(e *encoder, x [][]float64, y []float64) *evidence {
	v := &evidence{e: e, y: y}
	for i := range x {
		for j := range i {
			for a := range e.axes {
				v.pairs = append(v.pairs, e.axes[a].apart(x[i][a], x[j][a]))
			}
		}
	}
	return v
}

func pack(t hyper) []float64 { return append(slices.Clone(t.length), t.amp, t.noise) }

func unpack(p []float64) hyper {
	d := len(p) - 2
	return hyper{slices.Clone(p[:d]), p[d], p[d+1]}
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
	inverse, logDet := invert(k)
	alpha := mat.NewVecDense(n, nil)
	alpha.MulVec(inverse, mat.NewVecDense(n, v.y))
	al := alpha.RawVector().Data
	value := 0.5 * logDet
	for i, y := range v.y {
		value += 0.5 * y * al[i]
	}
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
	// Σ (K⁻¹ - αα')ᵢⱼ Kᵢⱼ = n - y'α, of which the noise's part is known.
	fit := 0.0
	for i, y := range v.y {
		fit += y * al[i]
	}
	gradient[d] = 0.5*(float64(n)-fit) - gradient[d+1]

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
	return value
}

// fit finds the hyperparameters of highest posterior density from a few
// starts: where the last fit ended, the middle of the prior, and a function
// that changes quickly.
func fit(e *encoder, d *data, h search.History) hyper {
	v := newEvidence(e, d.x, d.y)
	axes := len(e.axes)
	low, high := make([]float64, axes+2), make([]float64, axes+2)
	for a := range axes {
		low[a], high[a] = -3.5, 8
	}
	low[axes], high[axes] = -4, 5
	low[axes+1], high[axes+1] = -12, 1.5
	start := func(length, noise float64) []float64 {
		p := make([]float64, axes+2)
		for a := range axes {
			p[a] = length
		}
		p[axes+1] = noise
		return p
	}
	var starts [][]float64
	last, ok := recall(e, h)
	if ok {
		p := pack(last)
		for i := range p {
			p[i] = math.Min(high[i], math.Max(low[i], p[i]))
		}
		starts = append(starts, p)
	}
	// Many trials change little from one to the next, and are dear.
	evaluations := 40
	if n := len(d.y); ok && n > 60 {
		evaluations = 15
	}
	if n := len(d.y); !ok || n <= 60 || n%8 == 0 && n < d.limit {
		starts = append(starts, start(lengthMean(axes)-1, noiseMean), start(-1, noiseMean+2))
	}
	best := math.Inf(1)
	var theta []float64
	for _, p := range starts {
		if value := descend(p, low, high, evaluations, v.at); value < best {
			best, theta = value, p
		}
	}
	if theta == nil {
		theta = start(lengthMean(axes)-1, noiseMean)
	}
	return unpack(theta)
}
