package search

import (
	"fmt"
	"math"
)

// Claimer is the optional power of a Judge to say what is known of the champion.
type Claimer interface {
	Claim(h History) Claim
}

// Claim is what a study may say of its champion. Runs are unbiased: made after
// the champion was chosen, so that no luck was chosen with it, and after the
// study chose its last, once there are such. All are of one kind of devices, that
// on which the champion was chosen. All val_bpb are bits per byte.
type Claim struct {
	Champion int64   `json:"champion"` // the trial that first had its source; 0: there is none
	ValBPB   float64 `json:"val_bpb"`  // mean of the unbiased runs; of all runs, while there is none
	Runs     int     `json:"runs"`     // unbiased ones
	Noise    float64 `json:"noise"`    // standard deviation of one run
	Interval float64 `json:"interval"` // half of ValBPB's 95 % interval
	Over     int64   `json:"over"`     // the trial that it is compared with: the last that was claimed, else the first
	OverRuns int     `json:"over_runs"`
	Pairs    int     `json:"pairs"`  // seeds that the unbiased runs of both have in common
	Gain     float64 `json:"gain"`   // mean of Over's unbiased runs less the champion's
	Needed   float64 `json:"needed"` // what Gain must exceed; 0: unknown yet
	Claimed  bool    `json:"claimed"`
	Proven   int64   `json:"proven"`         // the last candidate that is claimed, else the first
	Total    float64 `json:"total_gain"`     // what Proven gains over the first: what the study claims in all; 0 while that is nothing
	Within   float64 `json:"total_interval"` // half of Total's 95 % interval
	Words    string  `json:"words"`
}

// proven is the last champion before end that is claimed over the one before
// it, the first of all if none is; nil if end is the first.
func (l *ledger) proven(end *Candidate) *Candidate {
	sigma, freedom := l.noise()
	var over *Candidate
	for _, c := range l.champions {
		if c == end {
			break
		}
		if over == nil || beyond(c.fair(), over.fair(), sigma, freedom) {
			over = c
		}
	}
	return over
}

// beyond reports whether a is better than b beyond the noise, on any one kind of
// devices.
func beyond(a, b []run, sigma, freedom float64) bool {
	for _, kind := range kinds(a) {
		a, b := on(kind, a), on(kind, b)
		if shared(a, b) >= claimRuns && meanOf(b)-meanOf(a) > needed(a, b, sigma, freedom) {
			return true
		}
	}
	return false
}

// needed is Student's 95 % bound on the difference of two means of which
// neither is better.
func needed(a, b []run, sigma, freedom float64) float64 {
	return StudentT(0.95, freedom) * sigma * math.Sqrt(1/float64(len(a))+1/float64(len(b)))
}

// shared counts the seeds that both have had.
func shared(a, b []run) int {
	n := 0
	for _, x := range a {
		for _, y := range b {
			if x.seed == y.seed {
				n++
				break
			}
		}
	}
	return n
}

// Claim implements Claimer.
func (confirmed) Claim(h History) Claim {
	l := newLedger(h)
	c := l.champion
	if c == nil {
		return Claim{Words: "there is no champion yet"}
	}
	sigma, freedom := l.noise()
	kind := c.kind
	fair := on(kind, c.fair())
	stated, of := fair, "made since it was chosen"
	if last := pick(on(kind, c.scored), func(r run) bool { return r.last }); len(last) > 0 {
		stated, of = last, "kept for this at the study's end"
	}
	over := l.proven(c)
	switch {
	case len(stated) == 0:
		stated, of = on(kind, c.scored), "by which it was chosen, so it flatters"
	case over == nil && len(stated) == len(fair):
		of = "of the study's start"
	}
	out := Claim{Champion: c.ID, ValBPB: meanOf(stated), Runs: len(fair), Noise: sigma, Proven: c.ID}
	out.Interval = StudentT(0.975, freedom) * sigma / math.Sqrt(float64(len(stated)))
	estimate := fmt.Sprintf("; estimate %.6f ± %.6f, from %s %s (noise of a run %.6f)", out.ValBPB, out.Interval, runs(len(stated)), of, sigma)
	if over == nil {
		out.Words = "nothing has beaten it" + estimate
		return out
	}
	theirs := on(kind, over.fair())
	out.Over, out.OverRuns, out.Proven = over.ID, len(theirs), over.ID
	if len(fair) > 0 && len(theirs) > 0 {
		out.Gain, out.Needed = meanOf(theirs)-meanOf(fair), needed(fair, theirs, sigma, freedom)
	}
	out.Pairs = shared(fair, theirs)
	rival := fmt.Sprintf("candidate %d", over.ID)
	if len(theirs) > 0 {
		rival = fmt.Sprintf("candidate %d's %.6f (%s)", over.ID, meanOf(theirs), runs(len(theirs)))
	}
	if beyond(fair, theirs, sigma, freedom) {
		out.Claimed, out.Proven = true, c.ID
	}
	out.Total, out.Within = l.total(l.named[out.Proven], sigma, freedom)
	switch {
	case out.Claimed:
		out.Words = fmt.Sprintf("%s: %s below %s, where luck would be %.6f", out.Short(), difference(out.Gain), rival, out.Needed)
	case out.Pairs < claimRuns:
		out.Words = out.Short() + " against " + rival
	default:
		out.Words = fmt.Sprintf("%s: against %s it gains %.6f, and luck may be %.6f", out.Short(), rival, out.Gain, out.Needed)
	}
	out.Words += estimate
	return out
}

// total is what a candidate gains over the first champion by the unbiased runs of
// both, and half of its 95 % interval.
func (l *ledger) total(c *Candidate, sigma, freedom float64) (gain, within float64) {
	first := l.champions[0]
	own, theirs := on(c.kind, c.fair()), on(c.kind, first.fair())
	if c == first || len(own) == 0 || len(theirs) == 0 {
		return 0, 0
	}
	return meanOf(theirs) - meanOf(own), StudentT(0.975, freedom) * sigma * math.Sqrt(1/float64(len(own))+1/float64(len(theirs)))
}

// Short says whether the champion's gain is confirmed, for the place beside a
// number; "" of a study's start.
func (c Claim) Short() string {
	switch {
	case c.Claimed:
		return "confirmed"
	case c.Over == 0:
		return ""
	case c.Pairs < claimRuns:
		return fmt.Sprintf("unconfirmed (%d of %d paired seeds)", c.Pairs, claimRuns)
	}
	return "unconfirmed (within luck)"
}

func runs(n int) string {
	if n == 1 {
		return "1 run"
	}
	return fmt.Sprintf("%d runs", n)
}

// Gains counts the programs that were kept after the first, by what is known of
// them now: better beyond the noise than the last that was so before them, or not.
func Gains(done []Result) (confirmed, unconfirmed int) {
	l := newLedger(History{Done: done})
	sigma, freedom := l.noise()
	for _, c := range l.champions {
		switch over := l.proven(c); {
		case over == nil:
		case beyond(c.fair(), over.fair(), sigma, freedom):
			confirmed++
		default:
			unconfirmed++
		}
	}
	return confirmed, unconfirmed
}
