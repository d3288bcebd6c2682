package search

import (
	"fmt"
	"math"
	"slices"
)

// Standing is the verdict on a candidate.
type Standing string

// The standings.
const (
	StandingPending     Standing = "pending"     // a run of it is under way, or will be
	StandingKept        Standing = "kept"        // it is, or was, the champion
	StandingDiscarded   Standing = "discarded"   // it was no gain, or the check was against it
	StandingRefuted     Standing = "refuted"     // it looked better once, and was luck
	StandingCrashed     Standing = "crashed"     // it has no score; Candidate.Failure says what happened
	StandingTampered    Standing = "tampered"    // its score was not to be trusted
	StandingInterrupted Standing = "interrupted" // nothing is known of it, and no run is to come
)

// Standings lists every standing.
var Standings = []Standing{
	StandingPending, StandingKept, StandingDiscarded, StandingRefuted, StandingCrashed, StandingTampered, StandingInterrupted,
}

// Decision is the standing in the words of results.tsv, "" until it is decided.
func (s Standing) Decision() Verdict {
	switch s {
	case StandingKept:
		return Keep
	case StandingDiscarded, StandingRefuted:
		return Discard
	case StandingCrashed, StandingTampered:
		return Crash
	}
	return ""
}

// Candidate is one program, a train.py with its constants, and all its runs.
// What was decided stays, but that a later run may have one kept after all. One
// that was only interrupted is not decided.
type Candidate struct {
	ID          int64 // of its first run
	Parent      int64 // the candidate that it was derived from; 0: the study's own start
	Strategy    string
	Description string
	Runs        []int64 // finished ones, in the order of decisions
	Standing    Standing
	Failure     Status  // of one that has no score: how its last run ended
	Reason      string  // of the standing, in words, with the numbers
	By          int64   // the trial whose end decided it; 0: pending
	GivenUp     int64   // of one that was the champion: the earlier one that took its place again; 0: none did
	Peak        int64   // largest peak of its runs with a score, in bytes
	Interval    float64 // half of Score's 95 % interval, by the noise of the study; 0: it has no score

	scored    []run
	kind      string // of the devices on which it is known: where it was confirmed, else where it had its first score
	tried     int    // runs after the first score, with or without one
	screened  bool   // its last score was on devices where nothing is confirmed
	promising bool   // its first score was better than the champion, but not beyond doubt
	refused   bool   // by the check, when it was to be kept
	since     int    // trials before it became the champion
}

// Score is the mean val_bpb of the candidate's runs on the kind of devices on
// which it is known, Kind, and how many these are; NaN and 0 while it has none.
func (c *Candidate) Score() (bpb float64, runs int) { return c.ScoreOn(c.kind) }

// ScoreOn is Score on another kind of devices.
func (c *Candidate) ScoreOn(kind string) (bpb float64, runs int) {
	there := on(kind, c.scored)
	return meanOf(there), len(there)
}

// Kind is the kind of devices on which a candidate is known: where it was to be
// confirmed, once it has a score there; else where it had its first.
func (c *Candidate) Kind() string { return c.kind }

// Kinds lists the kinds of devices on which it has a score, in their order.
func (c *Candidate) Kinds() []string { return kinds(c.scored) }

// Scores are those of which Score is the mean, in the order of decisions.
func (c *Candidate) Scores() []float64 {
	if len(c.scored) == 0 {
		return nil
	}
	var out []float64
	for _, r := range on(c.kind, c.scored) {
		out = append(out, r.bpb)
	}
	return out
}

func (c *Candidate) kept() bool { return c.Standing == StandingKept }

// decide concludes on a candidate, and notes it as decided last.
func (l *ledger) decide(c *Candidate, s Standing, by int64, reason string) {
	if c.By != 0 {
		l.decided = slices.DeleteFunc(l.decided, func(d *Candidate) bool { return d == c })
	}
	c.Standing, c.By, c.Reason = s, by, reason
	l.rulings = append(l.rulings, Ruling{c, s, by})
	l.decided = append(l.decided, c)
	l.waiting = slices.DeleteFunc(l.waiting, func(d *Candidate) bool { return d == c })
}

// conclude is what a run means for its candidate.
func (l *ledger) conclude(c *Candidate, r *Result) {
	_, scored := r.Score()
	if scored {
		c.Failure = ""
	}
	switch {
	case r.Decision.Verdict == Keep && scored:
		if !c.kept() {
			l.decide(c, StandingKept, r.Trial.ID, r.Decision.Reason)
		}
	case c.Standing != StandingPending && c.Standing != StandingInterrupted:
	case r.Outcome.Status == Tampered: // nor is what an earlier run of it scored to be believed
		c.Failure, c.scored, c.promising, c.Peak = Tampered, nil, false, 0
		l.decide(c, StandingTampered, r.Trial.ID, r.Decision.Reason)
	case r.Decision.refused():
		l.decide(c, StandingDiscarded, r.Trial.ID, r.Decision.Reason)
	case r.Outcome.Void != "":
		c.Standing, c.Reason = StandingPending, r.Decision.Reason
	case len(c.scored) == 0:
		c.Failure = r.Outcome.Status
		switch {
		case r.Outcome.Status == Interrupted:
			c.Standing, c.Reason = StandingInterrupted, r.Decision.Reason
		case r.Decision.Verdict == Discard:
			l.decide(c, StandingDiscarded, r.Trial.ID, r.Decision.Reason)
		default:
			l.decide(c, StandingCrashed, r.Trial.ID, r.Decision.Reason)
		}
	case !c.promising:
		l.decide(c, StandingDiscarded, r.Trial.ID, r.Decision.Reason)
	case len(c.scored) > 1 && !r.Trial.screens():
		l.decide(c, StandingRefuted, r.Trial.ID, r.Decision.Reason)
	case c.tried >= tries:
		l.decide(c, StandingDiscarded, r.Trial.ID, "no second run of it has a score: "+r.Decision.Reason)
	default:
		if c.Standing = StandingPending; scored {
			c.Reason = r.Decision.Reason
		}
		if !slices.Contains(l.waiting, c) {
			l.waiting = append(l.waiting, c)
		}
	}
}

// overtake discards what waits for a second run and is promising no more.
func (l *ledger) overtake(by int64) {
	for _, c := range slices.Clone(l.waiting) {
		theirs := meanOn(c.kind, l.champion.scored)
		if own, _ := c.Score(); own >= theirs { // not where it is NaN
			l.decide(c, StandingDiscarded, by, fmt.Sprintf("val_bpb %.6f is not below candidate %d's %.6f, so it does not run again", own, l.champion.ID, theirs))
		}
	}
}

// Candidates returns all candidates of a history in the order of their first
// runs' decisions, and after them those whose first run is under way.
func Candidates(h History) []*Candidate { return newLedger(h).candidates() }

func (l *ledger) candidates() []*Candidate {
	sigma, freedom := l.noise()
	half := StudentT(0.975, freedom) * sigma
	for _, c := range l.all {
		if _, n := c.Score(); n > 0 {
			c.Interval = half / math.Sqrt(float64(n))
		}
	}
	return append(l.all[:len(l.all):len(l.all)], l.begun...)
}

// Unconfirmed counts the candidates that are promising where they ran, and are
// to run on the kind of devices that was named for confirming gains.
func Unconfirmed(h History) int {
	l := newLedger(h)
	n := 0
	for _, c := range l.waiting {
		if c.screened {
			n++
		}
	}
	return n
}

// Ends returns the first candidate that had a score and the champion; nil: there
// is none yet.
func Ends(done []Result) (baseline, champion *Candidate) {
	l := newLedger(History{Done: done})
	for _, c := range l.all {
		if len(c.scored) > 0 {
			return c, l.champion
		}
	}
	return nil, nil
}

// Reign is a champion's time, which begins when a trial ends.
type Reign struct {
	From     int64      // that trial
	Champion *Candidate // as it is known after all trials
}

// Course returns the candidates of finished trials, as Candidates does, and the
// champions in their order.
func Course(done []Result) (all []*Candidate, champions []Reign) {
	l := newLedger(History{})
	for i := range done {
		before := l.champion
		if l.add(&done[i]); l.champion != before {
			champions = append(champions, Reign{done[i].Trial.ID, l.champion})
		}
	}
	return l.candidates(), champions
}

// Decided returns the candidates of finished trials that are decided, in the
// order in which they were.
func Decided(done []Result) []*Candidate { return newLedger(History{Done: done}).decided }

// Ruling is that a candidate was decided, which happens a second time to one
// that is kept after all.
type Ruling struct {
	*Candidate          // as it stands now
	As         Standing // what was decided
	Trial      int64    // whose end decided it
}

// Rulings returns all of a history's finished trials, in their order.
func Rulings(done []Result) []Ruling { return newLedger(History{Done: done}).rulings }

// Ended returns what the end of a trial means after those that are done: whose
// run it was, and the candidates that it decides, as they then stand.
func Ended(done []Result, r Result) (of *Candidate, settled []*Candidate) {
	l := newLedger(History{Done: append(done[:len(done):len(done)], r)})
	return l.of[r.Trial.ID], slices.DeleteFunc(l.decided, func(c *Candidate) bool { return c.By != r.Trial.ID })
}

// CandidateOf returns the id of the candidate that a trial about to begin is a
// run of; 0 if it is a new one.
func CandidateOf(h History, t Trial) int64 {
	if c, again := newLedger(h).find(&t); again {
		return c.ID
	}
	return 0
}

// CandidatesOf returns the id of each trial's candidate, by trial.
func CandidatesOf(h History) map[int64]int64 {
	l := newLedger(h)
	out := make(map[int64]int64, len(l.of))
	for trial, c := range l.of {
		out[trial] = c.ID
	}
	return out
}

// Original returns the first of a history's finished trials that ran the
// program of t, which may be t itself.
func Original(done []Result, t Trial) Trial {
	l := newLedger(History{Done: done})
	if c, again := l.find(&t); again {
		for i := range done {
			if done[i].Trial.ID == c.ID {
				return done[i].Trial
			}
		}
	}
	return t
}
