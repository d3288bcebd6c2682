// Package constraint decides, before the GPU is touched, whether a trial is
// worth it: whether it fits into memory, reaches its first step in time, and
// has not been tried already. It is asked once, at admission, for the trials of
// all strategies, and learns from all of them.
//
// Memory and time are linear in the logarithms of the constants, with slopes
// that are not negative for numbers: doubling a batch, a width or a depth
// multiplies both by some power of two between none and a few. The slopes are
// found by regularised regression on what trials took. A trial that ran out of
// memory says only that it needed more than the limit, and one that completed
// without a reading that it needed less: the likelihood is a Tobit's (Tobin,
// 1958), the uncertainty Laplace's.
package constraint

import (
	"fmt"
	"math"

	"autoresearchd/search"
)

// Options says what is known of the machine, and how much doubt is allowed.
// The zero value knows nothing and takes the defaults.
type Options struct {
	Memory    int64   // bytes of the device; 0: learned from the trials that ran out of it
	FirstStep float64 // seconds that start-up and compilation may take together; 0: no limit
	Doubt     float64 // the highest probability of failure that is admitted; 0: DefaultDoubt
	Near      float64 // constants that all lie within this part of their range of a trial's are a duplicate; 0: DefaultNear, below 0: only equal ones
}

// The defaults of Options. Doubt is where a failure costs as much as a
// proposal that was refused wrongly; within DefaultNear of a range, two
// learning rates differ by half a percent, which no noise lets anybody see.
const (
	DefaultDoubt = 0.5
	DefaultNear  = 0.001
)

// Action is what to do with a trial.
type Action uint8

// The actions.
const (
	OK     Action = iota // run it
	Repair               // set Verdict.Values in it, then run it
	Veto                 // do not run it
)

func (a Action) String() string { return [...]string{"ok", "repair", "veto"}[a] }

// Verdict is the answer to a trial.
type Verdict struct {
	Action Action
	Values map[string]search.Value // with Repair: constants to set on top of the trial's own
	Reason string                  // in words, with the numbers; empty with OK
	Risk   float64                 // probability that the trial as proposed does not fit
	Like   int64                   // id of the trial that this one repeats, 0: none
	Near   bool                    // it differs from that one, by less than anybody could see
}

// Check judges a trial that is about to run: its Source and its Constants are
// resolved. A re-run of a trial with another seed is no duplicate. The same
// history and trial give the same Verdict.
func Check(h search.History, t search.Trial, o Options) Verdict {
	if o.Doubt == 0 {
		o.Doubt = DefaultDoubt
	}
	if o.Near == 0 {
		o.Near = DefaultNear
	}
	d := newDuplicates(h, o.Near)
	if id, near, reason := d.of(&t); id != 0 {
		return Verdict{Action: Veto, Reason: reason, Like: id, Near: near}
	}
	m := learn(h, o)
	doubt := o.Doubt
	if len(t.Proposal.Source) > 0 { // a code edit may have changed what constants cost
		doubt = math.Max(doubt, 0.9)
	}
	risk := m.risk(t.Constants)
	if risk.chance <= doubt {
		return Verdict{Risk: risk.chance}
	}
	v := Verdict{Action: Veto, Risk: risk.chance, Reason: risk.reason}
	values, mended, left := m.repair(t, doubt)
	if values == nil {
		return v
	}
	if id, _, _ := d.of(&mended); id != 0 || len(left) == 0 {
		v.Reason += "; what would fit is trial " + fmt.Sprint(id) + " again"
		if id == 0 {
			v.Reason = risk.reason + "; only the champion's own constants would fit"
		}
		return v
	}
	v.Action, v.Values = Repair, values
	v.Reason += "; instead: " + search.Describe(t.Constants, mended.Constants)
	return v
}
