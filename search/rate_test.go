package search

import (
	"math"
	"testing"
	"time"
)

func TestPerHour(t *testing.T) {
	begin := time.Date(2026, 1, 5, 22, 0, 0, 0, time.UTC)
	// ran is a trial that began so many minutes after the first and took so many.
	ran := func(from, took float64) Result {
		var r Result
		r.Trial.StartedAt = begin.Add(time.Duration(from * float64(time.Minute)))
		r.Outcome.WallSeconds = 60 * took
		return r
	}
	for name, c := range map[string]struct {
		done []Result
		want float64
	}{
		"none":                 {nil, 0},
		"a recorded baseline":  {[]Result{ran(0, 0)}, 0},
		"one":                  {[]Result{ran(0, 6)}, 10},
		"with gaps":            {[]Result{ran(0, 5), ran(6, 5), ran(12, 6)}, 10},
		"out of order":         {[]Result{ran(12, 6), ran(0, 5), ran(6, 5)}, 10},
		"two seats":            {[]Result{ran(0, 6), ran(0, 6), ran(6, 6), ran(6, 6)}, 20},
		"an idle night":        {[]Result{ran(0, 6), ran(6, 6), ran(12+480, 6), ran(18+480, 6)}, 240. / 30},
		"within another's run": {[]Result{ran(0, 12), ran(3, 3), ran(12, 6)}, 10},
	} {
		if got := PerHour(c.done); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %g an hour, want %g", name, got, c.want)
		}
	}
}
