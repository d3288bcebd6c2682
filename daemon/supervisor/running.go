package supervisor

import (
	"math"
	"slices"
	"time"

	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// running is what is known of the trial in progress.
type running struct {
	trial    search.Trial
	phase    search.Phase
	since    time.Time // when the phase began
	step     trainer.Step
	progress trainer.Progress
	curve    [][2]float64 // share of the budget, loss
	nan      *float64     // the share at which the loss was no number any more; nil: it is one
	memory   int64        // bytes of GPU memory that its processes held
	measured time.Time    // when they did
	peak     int64        // the most of it so far
	pruning
}

// share returns the part of the budget that is spent, 0 to 1.
func (r *running) share() float64 {
	switch b := r.trial.Budget; {
	case b.Steps > 0:
		return min(1, float64(max(0, r.step.Number-b.First()))/float64(b.Steps))
	case b.Seconds > 0:
		return min(1, r.step.Counted/b.Seconds)
	}
	return 0
}

// livePoints is how long the curve of the running trial may become before every
// second point is left out.
const livePoints = 300

// minPoints is how many a curve keeps however many seats there are.
const minPoints = 30

// draw adds to the curve what was last heard.
func (r *running) draw() {
	at := r.share()
	if math.IsNaN(r.progress.Loss) || math.IsInf(r.progress.Loss, 0) {
		if r.nan == nil {
			r.nan = &at
		}
		return
	}
	r.nan = nil
	if n := len(r.curve); n > 0 && r.curve[n-1][0] >= at || at == 0 {
		return
	}
	if r.curve = append(r.curve, [2]float64{at, r.progress.Loss}); len(r.curve) > livePoints {
		half := (len(r.curve) + 1) / 2 // with the first and the last
		for i := range half {
			r.curve[i] = r.curve[2*i]
		}
		r.curve = r.curve[:half]
	}
}

// left estimates the seconds until the phase is over: from the budget while it
// trains, else from the same phase of the last trial that had one; nil: unknown.
func (r *running) left(done []search.Result) *float64 {
	var left float64
	elapsed := time.Since(r.since).Seconds()
	if b := r.trial.Budget; r.phase == search.Train {
		share := r.share()
		switch {
		case b.Steps == 0:
			left = b.Seconds - r.step.Counted
		case share == 0:
			return nil
		default:
			left = r.step.Counted * (1/share - 1)
		}
		left = max(0, left)
		return &left
	}
	for i := len(done) - 1; i >= 0; i-- {
		if took, ok := done[i].Outcome.Phases[r.phase]; ok {
			left = max(0, took-elapsed)
			return &left
		}
	}
	return nil
}

// status is what is shown of the trial, its curve in so many points or fewer.
// The supervisor's mu is held.
func (r *running) status(done []search.Result, points int) *RunningStatus {
	return &RunningStatus{
		ID: r.trial.ID, Candidate: r.trial.Candidate, Run: r.run(done), Strategy: r.trial.Proposal.Strategy, Description: r.trial.Proposal.Description, Phase: r.phase,
		PhaseSeconds: time.Since(r.since).Seconds(), Seconds: time.Since(r.trial.StartedAt).Seconds(),
		Progress: r.share(), Step: r.step.Number, Loss: r.progress.Loss, TokPerSec: r.progress.TokPerSec, MFU: r.progress.MFU / 100,
		Budget: r.trial.Budget, SecondsLeft: r.left(done), Curve: thinned(r.curve, points), NaNAt: r.nan,
	}
}

// run is which run of its candidate it is, after those that are done.
func (r *running) run(done []search.Result) int {
	n := 1
	if r.trial.ID != r.trial.Candidate {
		for i := range done {
			if done[i].Trial.Candidate == r.trial.Candidate {
				n++
			}
		}
	}
	return n
}

// thinned is a copy of a curve with the first and the last of its points, and
// in all no more than most, which are spread evenly.
func thinned(curve [][2]float64, most int) [][2]float64 {
	if len(curve) <= most {
		return slices.Clone(curve)
	}
	out := make([][2]float64, most)
	for i := range out {
		out[i] = curve[i*(len(curve)-1)/(most-1)]
	}
	return out
}

// PointsEach is how long the curve of each of so many seats may be, so that a
// status stays small beside many.
func PointsEach(seats int) int { return max(minPoints, livePoints*4/max(4, seats)) }

// introduce is what the log says of a trial that begins.
func introduce(t search.Trial) []any {
	words := []any{"strategy", t.Proposal.Strategy, "description", t.Proposal.Description}
	if search.IsRerun(t) {
		words = append(words, "candidate", t.Candidate, "why", t.Proposal.Why)
	}
	return words
}
