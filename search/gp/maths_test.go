package gp

import (
	"math"
	"math/rand/v2"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/simulate"

	"gonum.org/v1/gonum/integrate/quad"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// upstream is the encoder of upstream's constants, and points of their space.
func upstream(t *testing.T, points int) (*encoder, [][]float64) {
	t.Helper()
	_, consts := simulate.Source(simulate.Upstream())
	space, err := search.NewSpace(consts, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := newEncoder(space)
	e.axes = append(e.axes, axis{name: code, kind: category})
	r := rand.New(rand.NewPCG(1, 2))
	var x [][]float64
	for n := range points {
		p := e.point(space.Snap(space.Sample(r)))
		p[len(p)-1] = float64(n % 3)
		x = append(x, p)
	}
	return e, x
}

func close(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance*(1+math.Abs(want)) {
		t.Errorf("%s is %.12g, want %.12g", what, got, want)
	}
}

func someKernel(e *encoder, length float64) kernel {
	k := kernel{axes: e.axes, amp: 1.3, bowl: 1.1}
	for i := range e.axes {
		l := length * (1 + 0.1*float64(i))
		k.weight = append(k.weight, 1/(l*l))
	}
	return k
}

func TestKernelIsPositiveDefinite(t *testing.T) {
	e, x := upstream(t, 60)
	kinds := map[kind]bool{}
	for _, a := range e.axes {
		kinds[a.kind] = true
	}
	if len(kinds) != 3 {
		t.Fatalf("the axes are of %d kinds, want numbers, choices and patterns", len(kinds))
	}
	for _, length := range []float64{0.05, 1, 20} {
		k := someKernel(e, length)
		var eigen mat.EigenSym
		if !eigen.Factorize(k.matrix(x), false) {
			t.Fatal("no eigenvalues")
		}
		if least := eigen.Values(nil)[0]; least < -1e-10 {
			t.Errorf("length %g: the least eigenvalue is %g", length, least)
		}
	}
}

func TestMaternIsBesselFree(t *testing.T) {
	for _, r := range []float64{0, 1e-9, 0.3, 1, 4} {
		got, slope := matern(r * r)
		want := (1 + math.Sqrt(5)*r + 5./3*r*r) * math.Exp(-math.Sqrt(5)*r)
		close(t, "matern", got, want, 1e-14)
		if r > 1e-3 {
			up, _ := matern(r*r + 1e-6)
			down, _ := matern(r*r - 1e-6)
			close(t, "its slope", slope, (up-down)/2e-6, 1e-6)
		}
	}
}

func TestEvidenceGradient(t *testing.T) {
	e, x := upstream(t, 25)
	r := rand.New(rand.NewPCG(3, 4))
	y := make([]float64, len(x))
	for i := range y {
		y[i] = r.NormFloat64()
	}
	for _, trend := range []bool{true, false} {
		v := newEvidence(e, x, y, trend)
		p := make([]float64, len(e.axes)+2)
		for i := range p {
			p[i] = 0.3 * r.NormFloat64()
		}
		if trend {
			p = append(p, 0.4)
		}
		g, scratch := make([]float64, len(p)), make([]float64, len(p))
		v.at(p, g)
		for i := range p {
			const step = 1e-5
			old := p[i]
			p[i] = old + step
			up := v.at(p, scratch)
			p[i] = old - step
			down := v.at(p, scratch)
			p[i] = old
			close(t, "gradient", g[i], (up-down)/(2*step), 1e-5)
		}
	}
}

// process is a model of a score and of failures on upstream's space.
func process(t *testing.T) (*encoder, *model, *data) {
	e, x := upstream(t, 40)
	d := &data{limit: 100}
	for i, p := range x {
		by := math.Pow(p[4]-0.3, 2) + 0.5*math.Pow(p[6]-0.7, 2)
		d.tried = append(d.tried, label{p, p[0]+p[3] < 1.1})
		if d.tried[i].ok {
			d.x, d.y = append(d.x, p), append(d.y, by)
		}
	}
	warp(d.y)
	theta := fit(newEvidence(e, d.x, d.y, true), nil, shortest)
	return e, newModel(e, d, theta, newFeasibility(e, d, nil)), d
}

func TestAcquisitionGradient(t *testing.T) {
	e, m, _ := process(t)
	_, x := upstream(t, 60)
	g := make([]float64, len(e.axes))
	for _, p := range x[50:] {
		m.acquire(p, g)
		for a := range e.axes {
			if e.axes[a].kind != ordered {
				continue
			}
			const step = 1e-5
			old := p[a]
			p[a] = old + step
			up := m.value(p, math.Inf(-1))
			p[a] = old - step
			down := m.value(p, math.Inf(-1))
			p[a] = old
			close(t, "gradient along "+e.axes[a].name, g[a], (up-down)/(2*step), 1e-4)
		}
	}
}

func TestPosteriorPassesThroughScores(t *testing.T) {
	e, x := upstream(t, 20)
	y := make([]float64, len(x))
	for i := range y {
		y[i] = math.Sin(float64(i))
	}
	g := condition(someKernel(e, 1), x, y, 1e-8)
	for i, p := range x {
		mean, variance := g.predict(p, nil, nil)
		close(t, "mean at a trial", mean, y[i], 1e-4)
		close(t, "variance at a trial", variance, 0, 1e-4)
	}
}

func TestLogEI(t *testing.T) {
	for _, c := range []struct{ best, mean, deviation float64 }{
		{0, -1, 1}, {0, 0, 1}, {0, 1, 1}, {1, 4, 0.7}, {0, 5, 1}, {0, 6, 2}, {0, 1e-3, 1e-3},
	} {
		f := func(y float64) float64 {
			return (c.best - y) * distuv.Normal{Mu: c.mean, Sigma: c.deviation}.Prob(y)
		}
		far := math.Min(c.best, c.mean) - 12*c.deviation
		want := math.Log(quad.Fixed(f, far, c.best, 2000, nil, 0))
		got, dmean, ddeviation := logEI(c.best, c.mean, c.deviation)
		close(t, "log EI", got, want, 1e-7)
		step := 1e-6 * c.deviation
		at := func(mean, deviation float64) float64 { v, _, _ := logEI(c.best, mean, deviation); return v }
		close(t, "its slope by the mean", dmean, (at(c.mean+step, c.deviation)-at(c.mean-step, c.deviation))/(2*step), 1e-5)
		close(t, "its slope by the deviation", ddeviation, (at(c.mean, c.deviation+step)-at(c.mean, c.deviation-step))/(2*step), 1e-5)
	}
	// Where expected improvement is 0 in floating point, and where the formulas meet.
	for z := -1e4; z < 5; z += 0.37 {
		a, b := logH(z), logH(z+1e-3)
		if math.IsNaN(a) || math.IsInf(a, 0) || b < a {
			t.Fatalf("log h(%g) = %g, then %g: not increasing", z, a, b)
		}
	}
	for _, z := range []float64{-1, -30} {
		close(t, "log h where formulas meet", logH(z-1e-12), logH(z+1e-12), 1e-8)
	}
	close(t, "erfcx where formulas meet", erfcx(20-1e-9), erfcx(20+1e-9), 1e-8)
	close(t, "log phi where formulas meet", logPhi(-1-1e-12), logPhi(-1+1e-12), 1e-10)
}

func TestDescendFindsCorners(t *testing.T) {
	rosenbrock := func(x, g []float64) float64 {
		a, b := x[0], x[1]
		g[0], g[1] = -2*(1-a)-400*a*(b-a*a), 200*(b-a*a)
		return (1-a)*(1-a) + 100*math.Pow(b-a*a, 2)
	}
	x := []float64{-1.2, 1}
	if v := descend(x, []float64{-2, -2}, []float64{2, 2}, 300, rosenbrock); v > 1e-5 {
		t.Errorf("inside: %g at %v", v, x)
	}
	x = []float64{-0.5, 0.3}
	descend(x, []float64{-2, -2}, []float64{0.5, 2}, 300, rosenbrock)
	close(t, "the held coordinate", x[0], 0.5, 1e-9)
	close(t, "the free one", x[1], 0.25, 1e-3)
}

func TestFeasibilityLearnsARegion(t *testing.T) {
	e, _ := upstream(t, 0)
	r := rand.New(rand.NewPCG(5, 6))
	fails := func(x []float64) bool { return x[0]+x[3] > 1.15 } // a half-space: two sizes
	d := &data{}
	draw := func() []float64 {
		x := e.point(e.space.Snap(e.space.Sample(r)))
		return x
	}
	if p := newFeasibility(e, d, nil).probability(draw()); p != 1 {
		t.Errorf("with nothing known, it is feasible with %g", p)
	}
	for range 60 {
		x := draw()
		d.tried = append(d.tried, label{x, !fails(x)})
	}
	f := newFeasibility(e, d, nil)
	right, sure, total := 0.0, 0.0, 0.0
	for range 400 {
		x := draw()
		p := f.probability(x)
		total++
		if (p < 0.5) == fails(x) {
			right++
		}
		if p < 0.2 || p > 0.8 {
			sure++
		}
	}
	t.Logf("%.0f %% of unseen points are told right, %.0f %% with certainty", 100*right/total, 100*sure/total)
	if right < 0.85*total || sure < 0.4*total {
		t.Errorf("%.0f %% of unseen points are told right, %.0f %% with certainty", 100*right/total, 100*sure/total)
	}
}

func TestWarpKeepsTheOrder(t *testing.T) {
	y := []float64{1.02, 0.97, 0.98, 19, 1.0, 0.99, 1.01, 0.971, 0.972, 0.973}
	w := append([]float64(nil), y...)
	warp(w)
	for i := range y {
		for j := range y {
			if (y[i] < y[j]) != (w[i] < w[j]) {
				t.Errorf("%g and %g became %g and %g", y[i], y[j], w[i], w[j])
			}
		}
	}
	if w[3] > 4 {
		t.Errorf("the outlier is at %.1f", w[3])
	}
	same := []float64{1, 1, 1}
	warp(same)
	close(t, "equal scores", same[0], 0, 0)
}

func TestChooseKeepsTheBestAndTheNewest(t *testing.T) {
	e, x := upstream(t, 300)
	y := make([]float64, len(x))
	for i := range y {
		y[i] = math.Sin(float64(i))
	}
	kept := map[int]bool{}
	for _, i := range choose(e, x, y, 60) {
		kept[i] = true
	}
	best := 0
	for i := range y {
		if y[i] < y[best] {
			best = i
		}
	}
	if len(kept) != 60 || !kept[best] || !kept[299] || !kept[298] {
		t.Errorf("%d kept, the best %v, the newest %v", len(kept), kept[best], kept[299])
	}
}

// A constant's range moves with the champion: trials outside keep their place.
func TestTrialsBeyondTheRange(t *testing.T) {
	e, _ := upstream(t, 0)
	at := func(name string, v search.Value) float64 {
		consts := append([]search.Constant(nil), e.space.Constants()...)
		for i := range consts {
			if consts[i].Name == name {
				consts[i].Value = v
			}
		}
		x := e.trial(&search.Trial{Constants: consts})
		for i, a := range e.axes {
			if a.name == name {
				return x[i]
			}
		}
		t.Fatal(name)
		return 0
	}
	close(t, "the start", at("MATRIX_LR", search.FloatValue(0.04)), 0.5, 1e-9)
	close(t, "a decade up", at("MATRIX_LR", search.FloatValue(0.4)), 1, 1e-9)
	close(t, "a decade and a half", at("MATRIX_LR", search.FloatValue(0.4*math.Sqrt(10))), 1.25, 1e-9)
	close(t, "three decades down", at("MATRIX_LR", search.FloatValue(0.00004)), -1, 1e-9)
	close(t, "a share cannot be", at("WARMDOWN_RATIO", search.FloatValue(1.5)), 1.5, 1e-9)
	in, out := at("TOTAL_BATCH_SIZE", search.IntValue(1<<22)), at("TOTAL_BATCH_SIZE", search.IntValue(1<<23))
	close(t, "one power of two beyond", out-in, 1./7, 1e-3)
}

func TestPendingTrialsAreKeptClearOf(t *testing.T) {
	e, m, d := process(t)
	r := rand.New(rand.NewPCG(7, 8))
	fresh := func([]float64) bool { return true }
	u := m.maximise(r, Defaults(), fresh)
	d.pending = append(d.pending, e.point(u))
	theta := fit(newEvidence(e, d.x, d.y, true), nil, shortest)
	m2 := newModel(e, d, theta, m.feasible)
	before, after := m.value(e.point(u), math.Inf(-1)), m2.value(e.point(u), math.Inf(-1))
	if after > before-1 {
		t.Errorf("log EI at a pending trial is %.2f, and was %.2f", after, before)
	}
}
