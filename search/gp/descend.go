package gp

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// descend minimises f within a box by projected L-BFGS: coordinates that are
// at an end and would leave are held. f sets the gradient and returns the
// value. x is moved to the lowest point found, within so many evaluations.
//
// gonum's optimize runs its methods in goroutines and knows no box.
func descend(x, low, high []float64, evaluations int, f func(x, gradient []float64) float64) float64 {
	const memory, tolerance = 8, 1e-5
	n := len(x)
	g := make([]float64, n)
	v := f(x, g)
	var steps, changes [][]float64
	next, gNext, d := make([]float64, n), make([]float64, n), make([]float64, n)
	for evaluations--; evaluations > 0; {
		held := func(i int) bool { return x[i] <= low[i] && g[i] > 0 || x[i] >= high[i] && g[i] < 0 }
		free := 0.0
		for i := range g {
			d[i] = -g[i]
			if held(i) {
				d[i] = 0
			}
			free = math.Max(free, math.Abs(d[i]))
		}
		if !(free > tolerance) {
			return v
		}
		bend(d, steps, changes)
		for i := range d {
			if held(i) {
				d[i] = 0
			}
		}
		slope := floats.Dot(d, g)
		if !(slope < 0) {
			steps, changes = nil, nil
			for i := range d {
				d[i] = -g[i]
				if held(i) {
					d[i] = 0
				}
			}
			slope = floats.Dot(d, g)
		}
		t := 1.0
		if len(steps) == 0 { // a tenth of the box at most, for want of a curvature
			for i := range d {
				if d[i] != 0 {
					t = math.Min(t, 0.1*(high[i]-low[i])/math.Abs(d[i]))
				}
			}
		}
		found := false
		vNext := 0.0
		for range 12 {
			for i := range x {
				next[i] = math.Min(high[i], math.Max(low[i], x[i]+t*d[i]))
			}
			vNext = f(next, gNext)
			evaluations--
			if vNext <= v+1e-4*t*slope {
				found = true
				break
			}
			if evaluations <= 0 {
				return v
			}
			t *= 0.3
		}
		if !found {
			if len(steps) == 0 {
				return v
			}
			steps, changes = nil, nil
			continue
		}
		step, change := make([]float64, n), make([]float64, n)
		floats.SubTo(step, next, x)
		floats.SubTo(change, gNext, g)
		if floats.Dot(step, change) > 1e-12*floats.Dot(change, change) {
			steps, changes = append(steps, step), append(changes, change)
			if len(steps) > memory {
				steps, changes = steps[1:], changes[1:]
			}
		}
		gain := v - vNext
		copy(x, next)
		copy(g, gNext)
		v = vNext
		if gain < 1e-5*(1+math.Abs(v)) {
			return v
		}
	}
	return v
}

// bend turns a direction of descent into L-BFGS's, by its two loops.
func bend(d []float64, steps, changes [][]float64) {
	share := make([]float64, len(steps))
	for k := len(steps) - 1; k >= 0; k-- {
		share[k] = floats.Dot(steps[k], d) / floats.Dot(steps[k], changes[k])
		floats.AddScaled(d, -share[k], changes[k])
	}
	if k := len(steps) - 1; k >= 0 {
		floats.Scale(floats.Dot(steps[k], changes[k])/floats.Dot(changes[k], changes[k]), d)
	}
	for k := range steps {
		back := floats.Dot(changes[k], d) / floats.Dot(steps[k], changes[k])
		floats.AddScaled(d, share[k]-back, steps[k])
	}
}
