// Package timeline says when each seat of a study did what, and for whom it
// waited, as far as the journal records it. Where nothing is recorded, there is
// nothing.
package timeline

import (
	"cmp"
	"slices"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

// Ask is the kind of the span in which a trial was proposed: the strategy was
// asked, the program examined, its folder made. The other kinds are the phases.
const Ask = "ask"

// Span is one thing that a seat did.
type Span struct {
	Kind    string
	Begin   time.Time
	Seconds float64
}

// Run is a trial as it lies in time. The journal has how long each phase took,
// and where the gate opened; phases are laid end to end in their order between
// what is known.
type Run struct {
	Trial, Candidate int64
	Seat             string
	Lane             int // of its seat, from 0: what overlaps lies in different ones
	Strategy         string
	Description      string
	Status           search.Status // "": it is under way
	Decision         search.Verdict
	After            int64     // the trial for whose evaluation it waited at the gate; 0: none
	Begin, End       time.Time // with the ask; End is that of the last known span where it is under way
	Spans            []Span
}

// Of returns the trials in the order of their beginnings. Those that no seat
// ran, imported ones and a recorded baseline, are left out.
func Of(done []search.Result, pending []search.Trial) []Run {
	runs := make([]Run, 0, len(done)+len(pending))
	add := func(r *search.Result) {
		if t := &r.Trial; t.Device != "" && !t.StartedAt.IsZero() && (r.Outcome.Status == "" || len(r.Outcome.Phases) > 0) {
			runs = append(runs, of(r))
		}
	}
	for i := range done {
		add(&done[i])
	}
	for _, t := range pending {
		add(&search.Result{Trial: t})
	}
	slices.SortStableFunc(runs, func(a, b Run) int { return cmp.Or(a.Begin.Compare(b.Begin), cmp.Compare(a.Trial, b.Trial)) })
	ends := map[string][]time.Time{} // of each lane of a seat
	for i := range runs {
		r := &runs[i]
		lanes := ends[r.Seat]
		r.Lane = slices.IndexFunc(lanes, func(end time.Time) bool { return !end.After(r.Begin) })
		if r.Lane < 0 {
			r.Lane = len(lanes)
			lanes = append(lanes, time.Time{})
		}
		lanes[r.Lane] = r.End
		ends[r.Seat] = lanes
	}
	return runs
}

// OfRecords is Of with a journal's trials.
func OfRecords(records []journal.Record) []Run {
	var done []search.Result
	var pending []search.Trial
	for _, r := range records {
		if r.Decided > 0 {
			done = append(done, r.Result)
		} else {
			pending = append(pending, r.Trial)
		}
	}
	return Of(done, pending)
}

func of(r *search.Result) Run {
	t, o := &r.Trial, &r.Outcome
	run := Run{
		Trial: t.ID, Candidate: cmp.Or(t.Candidate, t.ID), Seat: t.Device, Strategy: t.Proposal.Strategy, Description: t.Proposal.Description,
		Status: o.Status, Decision: r.Decision.Verdict, Begin: t.StartedAt,
	}
	at := t.StartedAt
	add := func(kind string, begin time.Time, seconds float64) {
		run.Spans = append(run.Spans, Span{kind, begin, seconds})
		at = begin.Add(duration(seconds))
	}
	if asked := t.AskedAt; !asked.IsZero() && asked.Before(at) {
		run.Begin = asked
		add(Ask, asked, at.Sub(asked).Seconds())
	}
	for _, p := range search.Phases {
		begin, seconds := at, o.Phases[p]
		if g := o.Gate; p == search.Gate && g != nil {
			run.After = g.After
			if opens := g.Opened.Add(-duration(g.Waited)); opens.After(at) {
				begin = opens
			}
		}
		if seconds > 0 {
			add(string(p), begin, seconds)
		}
	}
	run.End = at
	if end := t.StartedAt.Add(duration(o.WallSeconds)); end.After(at) {
		run.End = end
	}
	return run
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
