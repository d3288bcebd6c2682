package trainer

import (
	"fmt"
	"time"

	"autoresearchd/search"
)

// account holds a trial to its budget by what its host knows: this process's
// clock, which nothing in the trial reaches, and the counts of what it drew and
// stepped on either side of the first counted step.
type account struct {
	warm     event         // the last step that does not count
	since    time.Time     // when counted training began; zero: it has not
	resting  time.Time     // since when it evaluates, or is done; zero: it trains
	idle     time.Time     // when that evaluation was over; zero: it is not
	rested   time.Duration // while counted
	stepped  time.Duration // counted training when the last step was taken
	gated    bool          // since is when it passed its gate
	tampered string        // what it did to get more than its budget, in words
}

// note takes in an event that came now.
func (a *account) note(e event, first int, now time.Time) {
	switch {
	case e.Kind == "gate" && !a.gated && e.Step <= first: // the wait is not its own
		a.since, a.gated = time.Time{}, true
	case e.Kind == "phase" && e.Phase == search.Evaluate:
		a.resume(now)
		a.resting = now
	case e.Kind == "score" || e.Kind == "fault":
		a.idle = now
	case e.Kind == "step" || e.Kind == "batch":
		a.resume(now)
	}
	if e.Kind != "step" {
		return
	}
	if e.Step <= first {
		a.warm = e
	}
	if e.Step >= first && a.since.IsZero() {
		a.since = now
	}
	// It may have been told late, but not before it was taken.
	a.stepped = min(a.trained(now), time.Duration(e.Counted*float64(time.Second)))
}

// resume ends a rest. What was done between an evaluation and what comes after
// it is training.
func (a *account) resume(now time.Time) {
	if a.resting.IsZero() {
		return
	}
	if a.idle.IsZero() {
		a.idle = now
	}
	if !a.since.IsZero() {
		a.rested += a.idle.Sub(a.resting)
	}
	a.resting, a.idle = time.Time{}, time.Time{}
}

// trained is how long counted training has lasted by now.
func (a *account) trained(now time.Time) time.Duration {
	if a.since.IsZero() {
		return 0
	}
	if !a.resting.IsZero() {
		now = a.resting
	}
	return now.Sub(a.since) - a.rested
}

// late says how training went on beyond a budget; "": it did not. A budget in
// seconds holds what a script may that begins no step beyond its allowance: have
// one in flight, and close. Of one in steps the last is to be the end. last is
// the last step that was heard of.
func (a *account) late(b search.Budget, last event, now time.Time) string {
	steps := last.Step - b.First()
	if steps < 1 {
		return ""
	}
	trained := a.trained(now)
	if b.Seconds == 0 {
		if a.resting.IsZero() || steps < b.Steps {
			return ""
		}
		before := a.stepped
		if trained-before > closing(before.Seconds())+2*before/time.Duration(steps) {
			return fmt.Sprintf("it went on for %.1f s after the last step of its budget of %d, which took %.2f s each", (trained - before).Seconds(), b.Steps, before.Seconds()/float64(steps))
		}
		return ""
	}
	flight := 2 * a.stepped / time.Duration(steps) // by steps that were seen, not by what came after them
	if most := time.Duration(b.Seconds*float64(time.Second)) + Allowance(b) + closing(b.Seconds) + flight; trained <= most {
		return ""
	}
	return fmt.Sprintf("it trained for more than its budget of %gs: %.1f s and no end, at %.2f s a step", b.Seconds, trained.Seconds(), flight.Seconds()/2)
}

// ahead is how many batches a loader may have drawn that no step has used.
const ahead = 16

// hidden says what was done in the steps that do not count beyond what as many
// counted ones do; "": nothing. Twice as much is let be, for schedules.
func (a *account) hidden(b search.Budget, last event) string {
	first, steps := int64(b.First()), int64(last.Step-a.warm.Step)
	if last.StandIn || a.warm.StandIn || a.warm.Step != b.First() || steps < 1 {
		return ""
	}
	batches, tokens, calls := int64(last.Batches-a.warm.Batches), last.Tokens-a.warm.Tokens, int64(last.Calls-a.warm.Calls)
	switch {
	case batches > 0 && tokens > 0 && a.warm.Tokens > 2*first*tokens/steps+ahead*tokens/batches:
		return fmt.Sprintf("it drew %d tokens in the %d steps that do not count, and %d in each of the %d that do", a.warm.Tokens, first, tokens/steps, steps)
	case batches == 0 && int64(a.warm.Batches) > ahead+2*first:
		return fmt.Sprintf("it drew %d batches in the %d steps that do not count, and none in the %d that do", a.warm.Batches, first, steps)
	case int64(a.warm.Calls) > 2*first*calls/steps+ahead:
		return fmt.Sprintf("its optimizers stepped %d times in the %d steps that do not count, and %.1f times in each of the %d that do", a.warm.Calls, first, float64(calls)/float64(steps), steps)
	}
	return ""
}
