package record

import (
	"fmt"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

// Candidate is one element of `trials --json`: a program that the study tries,
// and what its runs came to.
type Candidate struct {
	ID          int64                   `json:"id"` // of its first run
	Commit      string                  `json:"commit"`
	Parent      int64                   `json:"parent"` // the candidate that it was derived from; 0: the study's own start
	Strategy    string                  `json:"strategy"`
	Description string                  `json:"description"`
	Constants   map[string]search.Value `json:"constants"` // those that it changed
	Decision    string                  `json:"decision"`  // keep, discard or crash; pending until it is decided
	Verdict     search.Standing         `json:"verdict"`
	Failure     search.Status           `json:"failure,omitempty"` // of one without a score: how its last run ended
	Reason      string                  `json:"reason"`
	ValBPB      *float64                `json:"val_bpb"`             // the mean of its runs on its class
	Class       string                  `json:"class"`               // the hardware class on which it is known; "": not known, or it has no score
	Elsewhere   []Elsewhere             `json:"elsewhere,omitempty"` // its scores on other classes
	Interval    float64                 `json:"interval"`            // half of val_bpb's 95 % interval
	Scores      int                     `json:"scores"`              // of which that is the mean
	PeakVRAM    int64                   `json:"peak_vram_bytes"`     // the largest of its runs
	Runs        []int64                 `json:"runs"`                // that are over
}

// Elsewhere is what a candidate's runs on a class of hardware came to.
type Elsewhere struct {
	Class  string  `json:"class"`
	ValBPB float64 `json:"val_bpb"` // the mean of its runs there
	Scores int     `json:"scores"`  // of which that is the mean
}

// Rows stand for candidates where records of trials are put in order: each is its
// first run's, with the candidate's mean, its largest memory, the time that all
// of its runs took, and its decision.
func Rows(all []journal.Record, candidates []Candidate) []journal.Record {
	of := map[int64]journal.Record{}
	for _, r := range all {
		id := r.Trial.Candidate
		row, ok := of[id]
		if !ok {
			row = r
			row.Outcome.WallSeconds = 0
		}
		row.Outcome.WallSeconds += r.Outcome.WallSeconds
		of[id] = row
	}
	var out []journal.Record
	for _, c := range candidates {
		r := of[c.ID]
		r.Trial.ID, r.Decision.Reason, r.Outcome.PeakVRAM = c.ID, c.Reason, c.PeakVRAM
		if r.Decision.Verdict = search.Verdict(c.Decision); c.Verdict.Decision() == "" {
			r.Decision.Verdict = ""
		}
		if c.ValBPB != nil {
			r.Outcome.Status, r.Outcome.ValBPB, r.Trial.Kind = search.Completed, *c.ValBPB, c.Class
		}
		out = append(out, r)
	}
	return out
}

// Candidates are those of a study's trials, in the order in which they began to
// be decided.
func Candidates(all []journal.Record) []Candidate {
	first := map[int64]journal.Record{}
	var h search.History
	for _, r := range all {
		if _, ok := first[r.Trial.Candidate]; !ok {
			first[r.Trial.Candidate] = r
		}
		if r.Decided > 0 {
			h.Done = append(h.Done, r.Result)
		} else {
			h.Pending = append(h.Pending, r.Trial)
		}
	}
	out := []Candidate{}
	for _, c := range search.Candidates(h) {
		out = append(out, NewCandidate(c, first[c.ID]))
	}
	return out
}

// NewCandidate is a candidate as it is shown, with the record of its first run.
func NewCandidate(c *search.Candidate, first journal.Record) Candidate {
	x := Candidate{
		ID: c.ID, Commit: first.Commit, Parent: c.Parent, Strategy: c.Strategy, Description: c.Description, Constants: changed(first.Trial),
		Decision: string(c.Standing.Decision()), Verdict: c.Standing, Failure: c.Failure, Reason: c.Reason, Interval: c.Interval, PeakVRAM: c.Peak, Runs: append([]int64{}, c.Runs...),
	}
	if c.GivenUp != 0 {
		x.Reason += fmt.Sprintf("; given up for candidate %d, which its later runs say is better", c.GivenUp)
	}
	if x.Decision == "" {
		x.Decision = string(search.StandingPending)
	}
	if bpb, n := c.Score(); n > 0 {
		x.ValBPB, x.Scores, x.Class = &bpb, n, c.Kind()
		for _, class := range c.Kinds() {
			if !search.Alike(class, x.Class) {
				there, n := c.ScoreOn(class)
				x.Elsewhere = append(x.Elsewhere, Elsewhere{class, there, n})
			}
		}
	}
	return x
}

// changed are the constants of a trial that differ from its parent's.
func changed(t search.Trial) map[string]search.Value {
	out := map[string]search.Value{}
	for _, c := range t.Constants {
		for _, name := range t.Changed {
			if name == c.Name {
				out[c.Name] = c.Value
			}
		}
	}
	return out
}
