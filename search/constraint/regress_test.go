package constraint

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func toy(r *rand.Rand) ([]coefficient, []observation) {
	prior := []coefficient{{0, 1, false}, {0.25, 0.5, true}, {0.25, 0.5, true}, {0, 0.2, false}}
	var data []observation
	for n := range 60 {
		x := []float64{1, r.NormFloat64(), r.NormFloat64(), r.NormFloat64()}
		y := 0.3 + 0.9*x[1] + 0.02*r.NormFloat64()
		o := observation{x: x, value: y, noise: 0.1}
		if n%3 == 1 {
			o.value, o.kind = 0, below
			if y > 0 {
				o.kind = above
			}
		}
		data = append(data, o)
	}
	return prior, data
}

func TestRegressFindsTheSlopes(t *testing.T) {
	f := regress(toy(rand.New(rand.NewPCG(1, 2))))
	for i, want := range []float64{0.3, 0.9, 0, 0} {
		if math.Abs(f.w[i]-want) > 0.05 {
			t.Errorf("coefficient %d is %.3f, want %.1f", i, f.w[i], want)
		}
	}
	near, far := []float64{1, 0, 0, 0}, []float64{1, 5, 5, 5}
	_, a := f.predict(near)
	_, b := f.predict(far)
	if !(a > 0 && a < 0.05 && b > 2*a) {
		t.Errorf("it is sure of the middle by %.3f and of what is far away by %.3f", a, b)
	}
}

func TestSlopesAgainstDifferences(t *testing.T) {
	prior, data := toy(rand.New(rand.NewPCG(3, 4)))
	w := []float64{0.1, 0.4, 0.2, -0.1}
	g, h := make([]float64, 4), mat.NewSymDense(4, nil)
	slopes(prior, data, w, g, h)
	const step = 1e-5
	up, down := make([]float64, 4), make([]float64, 4)
	scratch := mat.NewSymDense(4, nil)
	for i := range w {
		old := w[i]
		w[i] = old + step
		above := objective(prior, data, w)
		slopes(prior, data, w, up, scratch)
		w[i] = old - step
		below := objective(prior, data, w)
		slopes(prior, data, w, down, scratch)
		w[i] = old
		if want := (above - below) / (2 * step); math.Abs(g[i]-want) > 1e-4*(1+math.Abs(want)) {
			t.Errorf("gradient %d is %g, by differences %g", i, g[i], want)
		}
		for j := range w {
			if want := (up[j] - down[j]) / (2 * step); math.Abs(h.At(i, j)-want) > 1e-4*(1+math.Abs(want)) {
				t.Errorf("Hessian %d %d is %g, by differences %g", i, j, h.At(i, j), want)
			}
		}
	}
}
