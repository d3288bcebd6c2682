package search

import (
	"math"
	"slices"
)

// run is one that has a score.
type run struct {
	bpb  float64
	seed uint64
	kind string // of its device
	fair bool   // unbiased: made when the program had been chosen already, or chosen by nobody
	last bool   // made in the study's last trials, after which nothing is chosen
}

// program is a train.py with its constants, and all its runs that have a score.
type program struct {
	origin    int64 // the first trial that had it
	words     string
	runs      []run
	tried     int  // re-runs, with or without a score
	kept      bool // it is, or was, the champion
	promising bool // its first run was better than the champion, but not beyond doubt
	since     int  // trials before it became the champion
}

// ledger is a history by programs, for the rule that runs some again.
type ledger struct {
	of        map[int64]*program // by trial
	same      map[identity]*program
	code      map[int64]uint64 // by trial; 0: not known
	all       []*program       // in the order of their first runs
	champions []*program       // in the order in which they were kept, each once
	champion  *program         // nil: none
	trials    int
	running   map[*program][]run // the re-runs that are pending, without scores
	pending   int                // trials, re-runs or not
	end       int                // trials that the study is to have; 0: no end in sight
	seconds   float64            // counted training of the first trial that has a score; 0: not known
}

// identity is what two runs of one program share. Constants named SEED are no
// part of it: the seed is the host's.
type identity struct{ code, constants uint64 }

func newLedger(h History) *ledger {
	l := &ledger{of: map[int64]*program{}, same: map[identity]*program{}, code: map[int64]uint64{}, running: map[*program][]run{}, pending: len(h.Pending), end: h.Trials}
	for i := range h.Done {
		l.add(&h.Done[i])
	}
	for i := range h.Pending {
		t := &h.Pending[i]
		if p, again := l.program(*t); again {
			l.running[p] = append(l.running[p], run{seed: t.Seed, kind: t.Kind})
		}
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

func (l *ledger) identity(t *Trial) (identity, bool) {
	code := l.codeOf(t)
	if code == 0 {
		return identity{}, false
	}
	var plain []Constant
	for _, c := range t.Constants {
		if !isSeed(c.Name) {
			plain = append(plain, c)
		}
	}
	return identity{code, Fingerprint(plain)}, true
}

// program finds whose run a trial is, or makes a new one.
func (l *ledger) program(t Trial) (p *program, again bool) {
	if IsRerun(t) {
		if p, ok := l.of[t.Proposal.Parent]; ok {
			return p, true
		}
	}
	if id, ok := l.identity(&t); ok {
		if p, ok := l.same[id]; ok {
			return p, true
		}
	}
	return &program{origin: t.ID, words: t.Proposal.Description}, false
}

// IsRerun reports whether a trial is another run of its parent's program, made
// to have it run again.
func IsRerun(t Trial) bool {
	p := t.Proposal
	return p.Strategy == Confirm && p.Parent != 0 && len(p.Source) == 0 && len(p.Values) == 0
}

func (l *ledger) add(r *Result) {
	t := &r.Trial
	p, again := l.program(*t)
	l.of[t.ID] = p
	l.code[t.ID] = l.codeOf(t)
	if again {
		p.tried++
	} else {
		l.all = append(l.all, p)
		if id, ok := l.identity(t); ok {
			l.same[id] = p
		}
	}
	if bpb, ok := r.Score(); ok {
		if len(p.runs) == 0 && l.champion != nil && r.Decision.Verdict == Discard && t.Proposal.Strategy != Imported {
			theirs := on(t.Kind, l.champion.runs)
			p.promising = len(theirs) > 0 && bpb < meanOf(theirs)
		}
		if l.champion == nil {
			l.seconds = r.Outcome.TrainingSeconds
		}
		p.runs = append(p.runs, run{bpb, t.Seed, t.Kind, p.kept || l.champion == nil, IsRerun(*t) && string(t.Proposal.Memo) == finalMemo})
	}
	l.trials++
	if r.Decision.Verdict == Keep && len(p.runs) > 0 {
		if l.champion != p {
			p.since = l.trials
		}
		if !p.kept {
			l.champions = append(l.champions, p)
		}
		p.kept = true
		l.champion = p
	}
}

// final reports whether the next trial is one of those that are kept for the claim.
func (l *ledger) final() bool {
	left := l.end - l.trials - l.pending
	return left > 0 && left <= min(finalRuns, l.end/10)
}

func (p *program) fair() []run {
	return pick(p.runs, func(r run) bool { return r.fair })
}

// Alike reports whether scores of two kinds of devices compare: those of one
// kind do, and those of a kind that nobody noted with all.
func Alike(kind, other string) bool { return kind == other || kind == "" || other == "" }

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

// chosen is the kind of devices on which a program was run first, by which it
// was chosen.
func (p *program) chosen() string { return p.runs[0].kind }

func pick(runs []run, want func(run) bool) []run {
	var out []run
	for _, r := range runs {
		if want(r) {
			out = append(out, r)
		}
	}
	return out
}

func meanOf(runs []run) float64 {
	sum := 0.0
	for _, r := range runs {
		sum += r.bpb
	}
	return sum / float64(len(runs))
}

// Levels returns what is known of the champion's val_bpb after each trial: the
// mean of all runs that its program has had by then on the kind of devices on
// which it was chosen, NaN while there is none.
// A judge that has nothing run again leaves it at the champion's one score.
func Levels(done []Result) []float64 {
	l := newLedger(History{})
	out := make([]float64, len(done))
	for i := range done {
		l.add(&done[i])
		out[i] = math.NaN()
		if l.champion != nil {
			out[i] = meanOf(on(l.champion.chosen(), l.champion.runs))
		}
	}
	return out
}
