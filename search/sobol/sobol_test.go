package sobol

import (
	"fmt"
	"math"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/searchtest"
	"autoresearchd/search/simulate"
)

func with(change func(*Options)) search.Factory {
	return func(env search.Environment) (search.Strategy, error) {
		env.Table = func(o any) error { change(o.(*Options)); return nil }
		return New(env)
	}
}

func TestConformance(t *testing.T) {
	t.Run("space", func(t *testing.T) { searchtest.Run(t, New) })
	t.Run("near", func(t *testing.T) { searchtest.Run(t, with(func(o *Options) { o.Reach = 0.3 })) })
}

func TestOptionsAreChecked(t *testing.T) {
	for _, reach := range []float64{0, -1, 1.1, math.NaN()} {
		if _, err := with(func(o *Options) { o.Reach = reach })(search.Environment{Seed: 1}); err == nil {
			t.Errorf("reach %g is accepted", reach)
		}
	}
}

// TestFirstPoints compares with the points that Joe and Kuo publish beside
// their table, which come in the order of Gray's code.
func TestFirstPoints(t *testing.T) {
	published := [][]float64{
		{0, 0, 0, 0, 0},
		{0.5, 0.5, 0.5, 0.5, 0.5},
		{0.75, 0.25, 0.25, 0.25, 0.75},
		{0.25, 0.75, 0.75, 0.75, 0.25},
		{0.375, 0.375, 0.625, 0.875, 0.375},
		{0.875, 0.875, 0.125, 0.375, 0.875},
		{0.625, 0.125, 0.875, 0.625, 0.625},
		{0.125, 0.625, 0.375, 0.125, 0.125},
	}
	for n, want := range published {
		for axis, x := range want {
			if got := float64(plain(uint32(n^n>>1), axis)) / (1 << 32); got != x {
				t.Errorf("point %d, axis %d: %g, want %g", n, axis, got, x)
			}
		}
	}
}

// TestBalance counts what makes it a Sobol sequence: of the first 2^k points,
// each interval of length 2^-k has one on every axis, scrambled or not, and so
// does each quarter by quarter square of the first two axes of 16 points.
func TestBalance(t *testing.T) {
	for axis := range 3 * axes {
		var hit [256]bool
		for n := range uint32(256) {
			hit[int(point(n, axis, 12345)*256)] = true
		}
		for i, ok := range hit {
			if !ok {
				t.Fatalf("axis %d has no point in interval %d of 256", axis, i)
			}
		}
	}
	var square [16]bool
	for n := range uint32(16) {
		square[int(point(n, 0, 1)*4)*4+int(point(n, 1, 2)*4)] = true
	}
	for i, ok := range square {
		if !ok {
			t.Fatalf("square %d of 16 is empty", i)
		}
	}
}

// TestScramblingIsUniform looks at one point under many keys: anywhere is as
// likely as anywhere else.
func TestScramblingIsUniform(t *testing.T) {
	var bins [16]float64
	const keys = 16000
	for key := range uint64(keys) {
		bins[int(point(5, 3, hash(key, 1))*16)]++
	}
	for i, n := range bins {
		if math.Abs(n-keys/16) > 5*math.Sqrt(keys/16) {
			t.Errorf("bin %d has %g points, want about %d", i, n, keys/16)
		}
	}
}

// TestIntegrates compares the errors on a smooth integral over 8 axes.
func TestIntegrates(t *testing.T) {
	sum := 0.0
	const points = 1024
	for n := range uint32(points) {
		f := 1.0
		for axis := range 8 {
			f *= 1 + 0.5*(point(n, axis, uint64(axis))-0.5)
		}
		sum += f / points
	}
	if math.Abs(sum-1) > 0.003 { // random points: 0.013
		t.Errorf("integral %g, want 1", sum)
	}
}

func TestOthersUseUpNoPoints(t *testing.T) {
	strategy, err := New(search.Environment{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	s, err := simulate.NewStudy(simulate.NewTask(1, 0), strategy, 1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		other := search.Proposal{Strategy: "suggestion", Description: "by hand", Parent: 1, Memo: []byte(`{"point": 77}`),
			Values: map[string]search.Value{"MATRIX_LR": search.FloatValue(0.01 + 0.001*float64(n))}}
		trial, err := s.Admit(other)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Finish(trial, search.Outcome{Status: search.Crashed}); err != nil {
			t.Fatal(err)
		}
		if trial, err = s.Ask(); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`{"point":%d}`, n); string(trial.Proposal.Memo) != want {
			t.Errorf("memo %s, want %s", trial.Proposal.Memo, want)
		}
		if err := s.Finish(trial, search.Outcome{Status: search.Completed, ValBPB: 2}); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkAsk1000(b *testing.B) { searchtest.Benchmark(b, New, 1000) }
