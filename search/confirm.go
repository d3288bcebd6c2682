package search

import (
	"fmt"
	"math"
	"slices"
)

// Rerunner is the optional power of a Judge to have a trial run again. Rerun is
// asked before the strategy is; what it proposes has that trial as its Parent,
// no Values, no Source, and a Seed of its own.
type Rerunner interface {
	Rerun(h History) (Proposal, bool)
}

// Confirm is the strategy's name of a Rerunner's proposals.
const Confirm = "confirm"

// The numbers of the rule, chosen on simulated studies (search/simulate, tasks
// gains, plateau and nothing).
const (
	certain   = 4.0 // deviations beyond which a trial is believed without a second run
	tries     = 2   // re-runs of a promising trial, if the first ends without a score
	claimRuns = 3   // seeds that two programs must have in common before one is claimed to be better
	mostRuns  = 8   // unbiased runs of one champion
	standing  = 24  // trials that a champion stands for each unbiased run
	finalRuns = 6   // last trials of a study, which are kept for the claim: at most a tenth of it
)

// confirmed is the rule that luck does not fool. A trial whose score is below
// the mean of the champion's runs is run again, with another seed, unless it is
// so far below that no luck explains it; if the mean of both is below the
// champion's still, it is kept. That makes it the parent of what comes. It is
// claimed, as better than the last one that was, only by runs that were made
// after it was chosen, and only beyond the noise. A champion that its later runs
// show to be worse than an earlier one is given up for that one.
//
// Where gains are to be confirmed on one kind of devices (Trial.ConfirmOn), other
// kinds screen: what looks better than the champion there is run on that one, and
// nothing is kept by any other run.
type confirmed struct{}

func init() { judges["confirm"] = confirmed{} }

func (confirmed) Judge(h History, r Result) Decision {
	if d, ok := unscored(r.Outcome); ok {
		return d
	}
	bpb := r.Outcome.ValBPB
	l := newLedger(h)
	c := l.champion
	if c == nil {
		return Decision{Verdict: Keep, Reason: fmt.Sprintf("val_bpb %.6f is the first score, the one to beat", bpb)}
	}
	p, again := l.find(&r.Trial)
	base := on(r.Trial.Kind, c.scored)
	switch screens := r.Trial.screens(); {
	case len(base) == 0 && screens && p != c:
		return Decision{Verdict: Discard, Reason: fmt.Sprintf("val_bpb %.6f, on %s, waits for the champion's score there", bpb, r.Trial.Kind)}
	case len(base) == 0:
		return unlike(bpb, r.Trial.Kind, p == c)
	case screens && p != c:
		return screened(bpb, meanOf(append(on(r.Trial.Kind, p.scored), run{bpb: bpb})), meanOf(base), &r.Trial)
	}
	sigma, _ := l.noise()
	mean := meanOf(base)
	theirs := fmt.Sprintf("the champion's %.6f", mean)
	if n := len(base); n > 1 {
		theirs = fmt.Sprintf("the mean of the champion's %d runs, %.6f", n, mean)
	}
	if !again || len(p.scored) == 0 {
		return first(bpb, mean, sigma, theirs)
	}
	runs := append(on(r.Trial.Kind, p.scored), run{bpb: bpb})
	now := meanOf(runs)
	if p == c {
		return Decision{Verdict: Discard, Reason: fmt.Sprintf("val_bpb %.6f is run %d of the champion, candidate %d, whose mean is %.6f now: another seed is no gain", bpb, len(runs), c.ID, now)}
	}
	words := fmt.Sprintf("val_bpb %.6f is run %d of candidate %d, whose mean of %.6f is ", bpb, len(runs), p.ID, now)
	if len(runs) == 1 {
		words = fmt.Sprintf("val_bpb %.6f, the first of candidate %d on %s, is ", bpb, p.ID, r.Trial.Kind)
	}
	switch {
	case now >= mean:
		words += difference(now-mean) + " above " + theirs
	default:
		words += difference(mean-now) + " below " + theirs
	}
	switch {
	case p.kept() && now < mean && len(on(r.Trial.Kind, c.fair())) > 0 && string(r.Trial.Proposal.Memo) != finalMemo:
		return Decision{Verdict: Keep, Reason: fmt.Sprintf("%s: candidate %d is given up for it", words, c.ID)}
	case p.kept():
		return Decision{Verdict: Discard, Reason: words + ": it was the champion before, and is run for the comparison"}
	case !p.promising:
		return Decision{Verdict: Discard, Reason: words + ": the same program as before, and another seed is no gain"}
	case now < mean:
		return Decision{Verdict: Keep, Reason: words + ": confirmed"}
	case len(runs) == 1:
		return Decision{Verdict: Discard, Reason: words + ": it was promising elsewhere, and is no gain here"}
	}
	return Decision{Verdict: Discard, Reason: words + ": its first run was luck"}
}

// unlike decides on the first run on a kind of devices: scores of two kinds do
// not compare.
func unlike(bpb float64, kind string, champion bool) Decision {
	if kind == "" {
		kind = "this device"
	}
	if champion {
		return Decision{Verdict: Discard, Reason: fmt.Sprintf("val_bpb %.6f is the champion's own on %s: what others have there is compared with it", bpb, kind)}
	}
	return Decision{Verdict: Discard, Reason: fmt.Sprintf("val_bpb %.6f, on %s, compares with nothing: the champion has no score there yet", bpb, kind)}
}

// first decides on the first run of a program.
func first(bpb, mean, sigma float64, theirs string) Decision {
	switch gain := mean - bpb; {
	case gain > certain*sigma:
		return Decision{Verdict: Keep, Reason: fmt.Sprintf("val_bpb %.6f is %s below %s: more than %g times the noise of %s, so it needs no second run", bpb, difference(gain), theirs, certain, difference(sigma))}
	case gain > 0:
		return Decision{Verdict: Discard, Reason: fmt.Sprintf("val_bpb %.6f is %s below %s: promising, but within the noise of %s, so it is run again with another seed", bpb, difference(gain), theirs, difference(sigma))}
	case gain == 0:
		return Decision{Verdict: Discard, Reason: fmt.Sprintf("val_bpb %.6f equals %s", bpb, theirs)}
	default:
		return Decision{Verdict: Discard, Reason: fmt.Sprintf("val_bpb %.6f is %s above %s", bpb, difference(-gain), theirs)}
	}
}

// screened decides on a run on devices that only say what is worth a run where
// gains are confirmed. mean is of all that the program has had there by now.
func screened(bpb, mean, champion float64, t *Trial) Decision {
	d := Decision{Verdict: Discard}
	if gain := champion - mean; gain > 0 {
		d.Reason = fmt.Sprintf("val_bpb %.6f is %s below the champion's %.6f on %s: promising, so it is to run on %s", bpb, difference(gain), champion, t.Kind, t.ConfirmOn)
	} else {
		d.Reason = fmt.Sprintf("val_bpb %.6f is %s above the champion's %.6f on %s, so it does not run on %s", bpb, difference(-gain), champion, t.Kind, t.ConfirmOn)
	}
	return d
}

// Rerun implements Rerunner: first the champion on a kind of devices on which
// it has not run, then what is promising, then what the noise and the claim need.
func (confirmed) Rerun(h History) (Proposal, bool) {
	l := newLedger(h)
	c := l.champion
	if c == nil {
		return Proposal{}, false
	}
	if len(on(h.Kind, c.scored)) == 0 {
		if len(on(h.Kind, l.running[c])) > 0 {
			return Proposal{}, false
		}
		return again(c, l.commonSeed(c, h.Kind), "to have its score on "+h.Kind), true
	}
	if h.ConfirmOn != "" && !Alike(h.Kind, h.ConfirmOn) {
		return Proposal{}, false
	}
	if p, gain := l.awaited(h); p != nil {
		why := fmt.Sprintf("%s below the champion's mean of %.6f", difference(gain), meanOf(on(h.Kind, c.scored)))
		if !Alike(h.Kind, p.kind) {
			why = "promising on " + p.kind
		}
		return again(p, freshSeed(uint64(p.ID)<<16|uint64(p.tried)), why), true
	}
	if !Alike(h.Kind, c.kind) {
		return Proposal{}, false
	}
	if p := l.better(); p != nil && !l.final() {
		if len(l.running[p]) > 0 {
			return Proposal{}, false
		}
		return again(p, l.commonSeed(p, h.Kind), fmt.Sprintf("the mean of champion %d's runs has risen above its %.6f", c.ID, meanOn(c.kind, p.scored))), true
	}
	p, why := l.claimant(h.ConfirmOn)
	if p == nil {
		return Proposal{}, false
	}
	proposal := again(p, l.commonSeed(p, h.Kind), why)
	if l.final() {
		proposal.Memo = []byte(finalMemo)
	}
	return proposal, true
}

// awaited is the promising candidate that is to run again next on the kind of
// devices that is asked for, and how much lower its score is than the champion's
// where it has run (NaN: the champion has none there); nil: there is none. They
// come in their order, and where all kinds confirm on one, which may be slower
// than they find, the best comes first. The last trials there are kept for the
// claim.
func (l *ledger) awaited(h History) (next *Candidate, gain float64) {
	if h.ConfirmOn != "" && l.final() {
		return nil, 0
	}
	for _, p := range l.waiting {
		kind := p.kind
		if Alike(h.Kind, kind) {
			kind = h.Kind
		} else if h.ConfirmOn == "" {
			continue
		}
		own, _ := p.Score()
		ahead := meanOn(kind, l.champion.scored) - own
		if p.refused || p.tried >= tries || len(l.running[p]) > 0 || ahead <= 0 {
			continue
		}
		if h.ConfirmOn == "" {
			return p, ahead
		}
		if next == nil || ahead > gain || math.IsNaN(gain) {
			next, gain = p, ahead
		}
	}
	return next, gain
}

// finalMemo marks the runs after which nothing is chosen.
const finalMemo = `{"final":true}`

func again(p *Candidate, seed uint64, why string) Proposal {
	return Proposal{Strategy: Confirm, Description: p.Description, Why: why, Parent: p.ID, Seed: seed}
}

// better is the earlier champion whose runs have the lowest mean, if that is
// below the mean of the champion, which has run again since it was chosen and may
// be given up; nil: none. The study's last runs only state: a choice by them
// would flatter what they say.
func (l *ledger) better() (best *Candidate) {
	c := l.champion
	if len(on(c.kind, c.fair())) == 0 {
		return nil
	}
	low := meanOn(c.kind, c.scored)
	for _, p := range l.champions {
		if mean := meanOn(c.kind, p.scored); mean < low {
			best, low = p, mean
		}
	}
	return best
}

// claimant is the program that needs an unbiased run next, on the kind of devices
// on which the champion is known, and why; nil: none.
func (l *ledger) claimant(confirmOn string) (*Candidate, string) {
	c := l.champion
	_, freedom := l.noise()
	start := l.trials == 1 || confirmOn != "" && c == l.champions[0] && freedom == priorRuns // it may have run elsewhere first
	if start && len(l.running[c]) == 0 && (l.end == 0 || l.end >= 2*standing) {
		return c, "to see how much runs differ by luck"
	}
	over := l.proven(c)
	if over == nil {
		if l.final() && len(l.champions) > 1 {
			return c, "the final estimate"
		}
		return nil, ""
	}
	own, theirs := l.commonRuns(c, c.kind), l.commonRuns(over, c.kind)
	if l.final() {
		if theirs < own {
			return over, fmt.Sprintf("the final comparison with candidate %d", c.ID)
		}
		return c, "the final comparison"
	}
	if own >= mostRuns || l.trials-c.since < standing*(own+1) {
		return nil, ""
	}
	if own >= claimRuns && theirs < own {
		return over, fmt.Sprintf("to compare with the champion, candidate %d", c.ID)
	}
	return c, fmt.Sprintf("the champion for %d trials, to know it without luck", l.trials-c.since)
}

// freshSeed spreads n over seeds that train.py's generators take: 1 to 2^31 - 1.
func freshSeed(n uint64) uint64 {
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return (n^n>>31)%(1<<31-1) + 1
}

// sharedSeed is the k-th of the seeds, 0 to mostRuns + finalRuns - 1, that unbiased runs of all programs have.
func sharedSeed(k int) uint64 { return freshSeed(uint64(k+1) << 48) }

// commonSeed is the first of the shared seeds that p has not had on a kind of
// devices, and that no run of it there has which is pending.
func (l *ledger) commonSeed(p *Candidate, kind string) uint64 {
	for k := 0; ; k++ {
		seed := sharedSeed(k)
		if used := func(r run) bool { return r.seed == seed && Alike(kind, r.kind) }; !slices.ContainsFunc(p.scored, used) && !slices.ContainsFunc(l.running[p], used) {
			return seed
		}
	}
}

// commonRuns counts p's unbiased runs with shared seeds on a kind of devices,
// those that are pending among them.
func (l *ledger) commonRuns(p *Candidate, kind string) int {
	runs := p.fair()
	if p.kept() {
		runs = append(runs, l.running[p]...)
	}
	n := 0
	for _, r := range on(kind, runs) {
		for k := range mostRuns + finalRuns {
			if r.seed == sharedSeed(k) {
				n++
			}
		}
	}
	return n
}

// noise of a run, before any was repeated. A prior of a few runs also keeps a
// lucky pair from declaring the noise to be nothing.
const (
	priorNoise   = 5e-4  // standard deviation of val_bpb, in bits per byte, after priorSeconds of training on one GPU
	priorSeconds = 300.0 // shorter runs are noisier in proportion: three of 20 s on an H200 differed by 0.011
	noisiest     = 60.0  // times priorNoise, for runs of five seconds and less
	priorRuns    = 2.0   // degrees of freedom that the prior counts for
)

// noise estimates the standard deviation of a run from all programs that were
// run more than once, and its degrees of freedom.
func (l *ledger) noise() (sigma, freedom float64) {
	prior := priorNoise
	if l.seconds > 0 {
		prior *= math.Min(math.Max(1, priorSeconds/l.seconds), noisiest)
	}
	square := priorRuns * prior * prior
	freedom = priorRuns
	for _, p := range l.all {
		if len(p.scored) < 2 {
			continue
		}
		for _, kind := range kinds(p.scored) {
			runs := on(kind, p.scored)
			mean := meanOf(runs)
			for _, r := range runs {
				square += (r.bpb - mean) * (r.bpb - mean)
			}
			freedom += float64(len(runs) - 1)
		}
	}
	return math.Sqrt(square / freedom), freedom
}
