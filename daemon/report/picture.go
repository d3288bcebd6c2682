package report

import (
	"math"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/plot"
	"autoresearchd/search"
)

// Picture is what the staircase of a study shows: its finished trials.
func Picture(study journal.Study, all []journal.Record) plot.Study {
	p := plot.Study{Tag: study.Tag}
	var begun time.Time
	levels := levels(all)
	for i, r := range all {
		if r.Outcome.Status == "" {
			continue
		}
		bpb, scored := r.Score()
		if scored && p.Baseline == 0 {
			p.Baseline = bpb
		}
		if begun.IsZero() {
			begun = r.Trial.StartedAt
		}
		p.Trials = append(p.Trials, plot.Trial{
			ID: r.Trial.ID, Hours: ended(r).Sub(begun).Hours(), ValBPB: bpb, Scored: scored, Level: levels[i],
			Verdict: r.Decision.Verdict, Description: r.Trial.Proposal.Description,
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
