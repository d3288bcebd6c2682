package report

import (
	"math"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/plot"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// Picture is what the staircase of a study shows: its candidates where they were
// decided, each at the mean of its runs, and the champions' means as they are
// known now.
func Picture(study journal.Study, all []journal.Record) plot.Study {
	p := plot.Study{Tag: study.Tag}
	var done []search.Result
	for _, r := range all {
		if r.Outcome.Status != "" {
			done = append(done, r.Result)
		}
	}
	stairs := record.NewStaircase(done)
	p.Baseline = stairs.Baseline
	for _, x := range stairs.Steps {
		p.Steps = append(p.Steps, plot.Step{ID: x.At, Hours: x.Hours, ValBPB: x.ValBPB})
	}
	for _, c := range stairs.Marks {
		bpb, runs := c.Score()
		pending := c.Standing == search.StandingPending && runs > 0
		if c.Standing.Decision() == "" && !pending {
			continue
		}
		if runs == 0 {
			bpb = 0
		}
		p.Trials = append(p.Trials, plot.Trial{
			ID: c.At, Hours: c.Hours, ValBPB: bpb, Runs: c.Scores(), Scored: runs > 0, Pending: pending, Below: c.Below, Verdict: c.Standing.Decision(), Description: record.Label(c.Description),
		})
	}
	return p
}

// levels are what was known of the champion's val_bpb after each trial, 0 while
// there was none.
func levels(all []journal.Record) []float64 {
	done := make([]search.Result, len(all))
	for i, r := range all {
		done[i] = r.Result
	}
	out := search.Levels(done)
	for i, y := range out {
		if math.IsNaN(y) {
			out[i] = 0
		}
	}
	return out
}

// ended is when a trial ended.
func ended(r journal.Record) time.Time {
	return r.Trial.StartedAt.Add(time.Duration(r.Outcome.WallSeconds * float64(time.Second)))
}

// trained is a trial's training, under a name.
func trained(r journal.Record, name string) plot.Line {
	l := plot.Line{Name: name}
	for _, p := range r.Outcome.Curve {
		l.Seconds, l.Loss = append(l.Seconds, p.Seconds), append(l.Loss, p.Loss)
	}
	return l
}
