package supervisor

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// TestLiveCurve keeps the curve of the running trial short, whole and in order.
func TestLiveCurve(t *testing.T) {
	r := &running{trial: search.Trial{Budget: search.Budget{Seconds: 100}}}
	for i := range 1001 {
		r.step.Counted = float64(i) / 10
		for _, loss := range []float64{float64(i), math.NaN(), -1} { // what comes twice at a place, or is no number, is left out
			r.progress = trainer.Progress{Loss: loss}
			r.draw()
		}
	}
	n := len(r.curve)
	if n < livePoints/2 || n > livePoints || r.curve[0] != [2]float64{0.001, 1} {
		t.Errorf("%d points from %v", n, r.curve[0])
	}
	for i, p := range r.curve {
		if math.Abs(p[1]-1000*p[0]) > 1e-9 || i > 0 && p[0] <= r.curve[i-1][0] {
			t.Fatalf("point %d is %v", i, p)
		}
	}
	if last := r.curve[n-1][0]; last < 0.99 {
		t.Errorf("the curve ends at %v", last)
	}
}

func TestTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &running{trial: search.Trial{Budget: search.Budget{Seconds: 300}}, phase: search.Train, since: time.Now()}
		done := []search.Result{
			{Outcome: search.Outcome{Phases: map[search.Phase]float64{search.Startup: 5, search.Evaluate: 20}}},
			{Outcome: search.Outcome{Phases: map[search.Phase]float64{search.Startup: 7}}},
		}
		is := func(what string, want float64) {
			t.Helper()
			if got := r.left(done); got == nil && want >= 0 || got != nil && math.Abs(*got-want) > 1e-6 {
				t.Errorf("%s: %v left, want %v", what, got, want)
			}
		}
		r.step.Counted = 120
		is("training by seconds", 180)
		r.trial.Budget = search.Budget{Steps: 400}
		is("no counted step yet", -1)
		r.step = trainer.Step{Number: r.trial.Budget.First() + 100, Counted: 50}
		is("training by steps", 150)
		time.Sleep(4 * time.Second)
		r.phase = search.Startup
		is("as long as the last start-up", 3)
		r.phase = search.Evaluate
		is("as long as the last evaluation", 16)
		time.Sleep(time.Minute)
		is("longer than the last one", 0)
		r.phase = search.Compile
		is("no trial had one", -1)
	})
}
