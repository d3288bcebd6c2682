package report

import (
	"math"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/plot"
	"autoresearchd/search"
)

// Picture is what the staircase of a study shows: its candidates where they were
// decided, each at the mean of its runs, and the champions' means as they are
// known now.
func Picture(study journal.Study, all []journal.Record) plot.Study {
	p := plot.Study{Tag: study.Tag}
	hours := map[int64]float64{} // from the study's beginning to a trial's end
	var begun time.Time
	var done []search.Result
	for _, r := range all {
		if r.Outcome.Status == "" {
			continue
		}
		if begun.IsZero() {
			begun = r.Trial.StartedAt
		}
		hours[r.Trial.ID] = ended(r).Sub(begun).Hours()
		done = append(done, r.Result)
	}
	if baseline, _ := search.Ends(done); baseline != nil {
		p.Baseline, _ = baseline.Score()
	}
	level := 0.0
	for _, c := range search.Decided(done) {
		bpb, runs := c.Score()
		if c.Standing == search.StandingKept {
			level = bpb
		}
		if runs == 0 {
			bpb = 0
		}
		p.Trials = append(p.Trials, plot.Trial{
			ID: c.By, Hours: hours[c.By], ValBPB: bpb, Scored: runs > 0, Level: level, Verdict: c.Standing.Decision(), Description: c.Description,
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
