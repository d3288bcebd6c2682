package record

import (
	"time"

	"autoresearchd/search"
)

// Staircase is a study as it is drawn: its candidates, and the champions' means
// as they are known now.
type Staircase struct {
	Baseline float64 // the first score, as it is known now; 0: there is none
	Champion int64   // 0: there is none
	Marks    []Mark  // in the order of their first runs' decisions
	Steps    []Step
}

// Mark is a candidate where it was decided, or, while it is not, where its last
// run ended.
type Mark struct {
	*search.Candidate
	At      int64    // the trial that ended there
	Hours   float64  // from the study's beginning to that
	Against *float64 // the mean of the champion that it had to beat, or has to; nil: there was none
	// Below says that luck or time left it below the line, without being kept: it
	// is not to look like something better.
	Below bool
}

// Step is where another champion begins.
type Step struct {
	At       int64
	Hours    float64
	Champion int64
	ValBPB   float64
}

// NewStaircase takes the finished trials in the order of their decisions.
func NewStaircase(done []search.Result) Staircase {
	var s Staircase
	var began time.Time
	for _, r := range done {
		if began.IsZero() || r.Trial.StartedAt.Before(began) {
			began = r.Trial.StartedAt
		}
	}
	order, hours := map[int64]int{}, map[int64]float64{} // of a trial's decision and end
	for i, r := range done {
		order[r.Trial.ID] = i
		hours[r.Trial.ID] = r.Trial.StartedAt.Add(time.Duration(r.Outcome.WallSeconds * float64(time.Second))).Sub(began).Hours()
	}
	all, champions := search.Course(done)
	for _, r := range champions {
		bpb, _ := r.Champion.Score()
		s.Champion = r.Champion.ID
		s.Steps = append(s.Steps, Step{At: r.From, Hours: hours[r.From], Champion: r.Champion.ID, ValBPB: bpb})
	}
	for _, c := range all {
		if bpb, n := c.Score(); n > 0 && s.Baseline == 0 {
			s.Baseline = bpb
		}
		m := Mark{Candidate: c, At: c.By}
		if m.At == 0 {
			m.At = c.Runs[len(c.Runs)-1]
		}
		m.Hours = hours[m.At]
		kept := c.Standing == search.StandingKept
		for i := range s.Steps {
			if order[s.Steps[i].At] <= order[m.At] && s.Steps[i].Champion != c.ID {
				m.Against = &s.Steps[i].ValBPB
			}
		}
		if bpb, n := c.Score(); n > 0 && !kept && c.Standing != search.StandingPending && m.Against != nil {
			m.Below = bpb < *m.Against
		}
		s.Marks = append(s.Marks, m)
	}
	return s
}
