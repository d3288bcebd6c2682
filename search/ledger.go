package search

import (
	"math"
	"slices"
	"strings"
)

// run is one that has a score.
type run struct {
	bpb  float64
	seed uint64
	kind string // of its device
	fair bool   // unbiased: made when the program had been chosen already, or chosen by nobody
	last bool   // made in the study's last trials, after which nothing is chosen
}

// ledger is a history by candidates.
type ledger struct {
	of        map[int64]*Candidate // by trial
	named     map[int64]*Candidate // by its own id
	same      map[identity]*Candidate
	code      map[int64]uint64 // by trial; 0: not known
	all       []*Candidate     // in the order of their first runs
	begun     []*Candidate     // whose first run is pending
	decided   []*Candidate     // in the order in which they were
	rulings   []Ruling         // that decided them
	waiting   []*Candidate     // promising, for their second run
	champions []*Candidate     // in the order in which they were kept, each once
	champion  *Candidate       // nil: none
	trials    int
	confirmed int                  // trials on the kind of devices that was named for confirming gains
	running   map[*Candidate][]run // the re-runs that are pending, without scores
	pending   int                  // trials, re-runs or not
	end       int                  // trials that the study is to have; 0: no end in sight
	seconds   float64              // counted training of the first trial that has a score; 0: not known
}

// identity is what two runs of one program share. Constants named SEED are no
// part of it: the seed is the host's.
type identity struct{ code, constants uint64 }

func newLedger(h History) *ledger {
	n := len(h.Done) + len(h.Pending)
	l := &ledger{
		of: make(map[int64]*Candidate, n), named: make(map[int64]*Candidate, n), same: make(map[identity]*Candidate, n), code: make(map[int64]uint64, n),
		all: make([]*Candidate, 0, n), decided: make([]*Candidate, 0, n),
		running: map[*Candidate][]run{}, pending: len(h.Pending), end: h.Trials,
	}
	for i := range h.Done {
		l.add(&h.Done[i])
	}
	for i := range h.Pending {
		t := &h.Pending[i]
		id := l.identity(t)
		c, again := l.candidate(t, id)
		if again {
			l.running[c] = append(l.running[c], run{seed: t.Seed, kind: t.Kind})
			if c.Standing == StandingInterrupted {
				c.Standing = StandingPending
			}
		} else {
			c.Reason = "its first run is under way"
			l.begun = append(l.begun, c)
		}
		l.enter(c, t, id)
	}
	return l
}

// codeOf identifies a trial's code without its constants' values; what changes
// only these has its parent's.
func (l *ledger) codeOf(t *Trial) uint64 {
	if t.Code == 0 && len(t.Proposal.Source) == 0 {
		return l.code[t.Proposal.Parent]
	}
	return t.Code
}

// identity is zero where the code is not known.
func (l *ledger) identity(t *Trial) identity {
	code := l.codeOf(t)
	if code == 0 {
		return identity{}
	}
	return identity{code, fingerprint(t.Constants, func(name string) bool { return !isSeed(name) })}
}

// candidate finds whose run a trial is, or makes a new one. A program that was
// decided without a score and is proposed anew is another candidate.
func (l *ledger) candidate(t *Trial, program identity) (c *Candidate, again bool) {
	id := t.ID
	switch {
	case t.Candidate != 0: // known since it began
		if c, ok := l.named[t.Candidate]; ok {
			return c, true
		}
		id = t.Candidate
	case IsRerun(*t) && l.of[t.Proposal.Parent] != nil:
		return l.of[t.Proposal.Parent], true
	case program != identity{}:
		if c, ok := l.same[program]; ok && (len(c.scored) > 0 || c.By == 0) {
			return c, true
		}
	}
	c = &Candidate{ID: id, Parent: t.Proposal.Parent, Strategy: t.Proposal.Strategy, Description: t.Proposal.Description, Standing: StandingPending}
	if p, ok := l.of[c.Parent]; ok {
		c.Parent = p.ID
	}
	return c, false
}

// find is candidate for a trial that is no part of the history.
func (l *ledger) find(t *Trial) (c *Candidate, again bool) { return l.candidate(t, l.identity(t)) }

// enter notes that a trial is a run of a candidate.
func (l *ledger) enter(c *Candidate, t *Trial, program identity) {
	l.of[t.ID], l.named[c.ID] = c, c
	l.code[t.ID] = l.codeOf(t)
	if program != (identity{}) {
		l.same[program] = c
	}
}

// IsRerun reports whether a trial is another run of its parent's program, made
// to have it run again.
func IsRerun(t Trial) bool {
	p := t.Proposal
	return p.Strategy == Confirm && p.Parent != 0 && len(p.Source) == 0 && len(p.Values) == 0
}

func (l *ledger) add(r *Result) {
	t := &r.Trial
	id := l.identity(t)
	c, again := l.candidate(t, id)
	l.enter(c, t, id)
	if !again {
		l.all = append(l.all, c)
	}
	c.Runs = append(c.Runs, t.ID)
	champion := l.champion
	bpb, scored := r.Score()
	if len(c.scored) > 0 {
		c.tried++
	}
	if scored {
		first := len(c.scored) == 0
		if c.screened = t.screens(); first || t.confirms() {
			c.kind = t.Kind
		}
		if champion == nil {
			l.seconds = r.Outcome.TrainingSeconds
		}
		c.scored = append(c.scored, run{bpb, t.Seed, t.Kind, c.kept() || champion == nil, IsRerun(*t) && string(t.Proposal.Memo) == finalMemo})
		c.Peak = max(c.Peak, r.Outcome.Memory())
		if champion != nil && r.Decision.Verdict == Discard && t.Proposal.Strategy != Imported && (first || c.promising && t.screens()) {
			theirs := meanOn(t.Kind, champion.scored)
			c.promising = meanOn(t.Kind, c.scored) < theirs || t.screens() && math.IsNaN(theirs)
		}
	}
	l.trials++
	if t.confirms() {
		l.confirmed++
	}
	if r.Decision.Verdict == Keep && scored {
		if champion != c {
			c.since = l.trials
			if c.GivenUp = 0; c.kept() {
				champion.GivenUp = c.ID
			}
		}
		if !c.kept() {
			l.champions = append(l.champions, c)
		}
		l.champion = c
	}
	if scored {
		c.refused = r.Decision.refused()
	}
	l.conclude(c, r)
	if scored && l.champion == c {
		l.overtake(t.ID)
	}
}

// final reports whether the next trial is one of those that are kept for the claim.
// Where gains are confirmed on one kind of devices, it is the next there: as many
// are left there as its share of the trials so far promises.
func (l *ledger) final() bool {
	left := l.end - l.trials - l.pending
	if l.confirmed > 0 {
		left = int(math.Ceil(float64(left) * float64(l.confirmed) / float64(l.trials)))
	}
	return left > 0 && left <= min(finalRuns, l.end/10)
}

func (c *Candidate) fair() []run {
	return pick(c.scored, func(r run) bool { return r.fair })
}

// Alike reports whether scores of two kinds of devices compare: those of one
// kind do, and those of a kind that nobody noted with all. Of a CPU only the
// number of cores was noted once: "2 CPU cores" is like "AMD EPYC 7B13, 2 CPU cores".
func Alike(kind, other string) bool {
	return kind == other || kind == "" || other == "" || strings.HasSuffix(kind, ", "+other) || strings.HasSuffix(other, ", "+kind)
}

// on are the runs whose scores compare with those of a kind of devices.
func on(kind string, runs []run) []run {
	return pick(runs, func(r run) bool { return Alike(kind, r.kind) })
}

// kinds lists the kinds of devices of runs, in their order.
func kinds(runs []run) []string {
	var out []string
	for _, r := range runs {
		if !slices.ContainsFunc(out, func(kind string) bool { return Alike(kind, r.kind) }) {
			out = append(out, r.kind)
		}
	}
	return out
}

// screens reports whether a trial only says what is worth a run elsewhere: on
// the kind of devices on which gains are confirmed.
func (t *Trial) screens() bool { return t.ConfirmOn != "" && !Alike(t.Kind, t.ConfirmOn) }

// confirms reports whether a trial runs on the kind of devices that was named for
// confirming gains.
func (t *Trial) confirms() bool { return t.ConfirmOn != "" && Alike(t.Kind, t.ConfirmOn) }

func pick(runs []run, want func(run) bool) []run {
	var out []run
	for _, r := range runs {
		if want(r) {
			out = append(out, r)
		}
	}
	return out
}

// meanOn is the mean of the runs on a kind of devices; NaN if there are none.
func meanOn(kind string, runs []run) float64 {
	sum, n := 0.0, 0
	for i := range runs {
		if Alike(kind, runs[i].kind) {
			sum += runs[i].bpb
			n++
		}
	}
	return sum / float64(n)
}

func meanOf(runs []run) float64 {
	sum := 0.0
	for _, r := range runs {
		sum += r.bpb
	}
	return sum / float64(len(runs))
}

// Levels returns what is known of the champion's val_bpb after each trial: the
// mean of all runs that it has had by then on the kind of devices on
// which it was chosen, NaN while there is none.
// A judge that has nothing run again leaves it at the champion's one score.
func Levels(done []Result) []float64 {
	l := newLedger(History{})
	out := make([]float64, len(done))
	for i := range done {
		l.add(&done[i])
		out[i] = math.NaN()
		if l.champion != nil {
			out[i], _ = l.champion.Score()
		}
	}
	return out
}

// Bars returns what is known of the champion's val_bpb on each trial's own kind of
// devices, before that trial was decided and after: NaN while it has none there.
func Bars(done []Result) (before, after []float64) {
	l := newLedger(History{})
	before, after = make([]float64, len(done)), make([]float64, len(done))
	level := func(kind string) float64 {
		if l.champion == nil {
			return math.NaN()
		}
		bpb, _ := l.champion.ScoreOn(kind)
		return bpb
	}
	for i := range done {
		before[i] = level(done[i].Trial.Kind)
		l.add(&done[i])
		after[i] = level(done[i].Trial.Kind)
	}
	return before, after
}
