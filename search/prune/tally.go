package prune

import (
	"fmt"

	"autoresearchd/search"
)

// Tally says what the rule has done to a study, and how often it was wrong.
type Tally struct {
	Condemned int `json:"condemned"`
	RanOn     int `json:"ran_on"`   // of these, to count the mistakes; without those that failed later
	Mistakes  int `json:"mistakes"` // of those that ran on, had a score below the champion's
}

// Count reads it out of finished trials, in the order of their decisions.
func Count(done []search.Result) Tally {
	var t Tally
	var bars []float64
	for i := range done {
		o := &done[i].Outcome
		if o.Condemned == nil || o.Void != "" {
			continue
		}
		t.Condemned++
		bpb, scored := done[i].Score()
		if !scored {
			continue
		}
		t.RanOn++
		if bars == nil {
			bars, _ = search.Bars(done)
		}
		if bpb < bars[i] {
			t.Mistakes++
		}
	}
	return t
}

func (t Tally) String() string {
	if t.Condemned == 0 {
		return "nobody was condemned"
	}
	return fmt.Sprintf("%d condemned, of which %d ran on to the end and %d of these came out below the champion", t.Condemned, t.RanOn, t.Mistakes)
}
