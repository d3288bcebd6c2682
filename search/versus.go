package search

import "math"

// Versus is how one candidate compares with another, on the kind of devices on
// which it was chosen.
type Versus struct {
	Gain     float64 // the other's mean val_bpb less its own, bits per byte; NaN: one of them has no score there
	Interval float64 // half of Gain's 95 % interval, by the noise of the study
	// Claim says in words whether the gain is confirmed, as Claim.Short does; ""
	// where the judge has nothing run again.
	Claim string
}

// Compare compares a candidate of finished trials with another, each by its id.
func Compare(done []Result, candidate, other int64) Versus {
	l := newLedger(History{Done: done})
	a, b := l.named[candidate], l.named[other]
	v := Versus{Gain: math.NaN()}
	if a == nil || b == nil || len(a.scored) == 0 {
		return v
	}
	kind := a.kind
	own, theirs := on(kind, a.scored), on(kind, b.scored)
	if len(theirs) == 0 {
		return v
	}
	sigma, freedom := l.noise()
	v.Gain = meanOf(theirs) - meanOf(own)
	v.Interval = StudentT(0.975, freedom) * sigma * math.Sqrt(1/float64(len(own))+1/float64(len(theirs)))
	for i := range done {
		if IsRerun(done[i].Trial) {
			fair, rival := a.fair(), b.fair()
			v.Claim = Claim{Over: b.ID, Claimed: beyond(fair, rival, sigma, freedom), Pairs: shared(on(kind, fair), on(kind, rival))}.Short()
			break
		}
	}
	return v
}

// SameProgram reports whether two trials are known to run the same program: the
// same code with the same constants, but for seeds.
func SameProgram(a, b Trial) bool {
	x := newLedger(History{}).identity(&a)
	return x != identity{} && x == newLedger(History{}).identity(&b)
}
