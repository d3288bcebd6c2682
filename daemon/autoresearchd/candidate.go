package main

import (
	"fmt"
	"slices"
	"strings"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

// shown is a trial with its candidate.
type shown struct {
	record.Trial
	Of record.Candidate `json:"of"`
}

// candidateOf is the candidate that a trial is a run of.
func candidateOf(r *journal.Reader, rec journal.Record) (record.Candidate, error) {
	all, err := r.Trials()
	if err != nil {
		return record.Candidate{}, err
	}
	candidates := record.Candidates(all)
	i := slices.IndexFunc(candidates, func(c record.Candidate) bool { return c.ID == rec.Trial.Candidate })
	if i < 0 { // it began after they were read
		return record.Candidate{ID: rec.Trial.Candidate, Verdict: search.StandingPending}, nil
	}
	return candidates[i], nil
}

// firstRun is a trial's candidate's first run, which says what it was derived from.
func firstRun(r *journal.Reader, rec journal.Record) (journal.Record, error) {
	if rec.Trial.ID == rec.Trial.Candidate {
		return rec, nil
	}
	return r.Trial(rec.Trial.Candidate)
}

// meanOf says of how many runs a score is the mean.
func meanOf(runs int) string {
	if runs == 1 {
		return "one run"
	}
	return fmt.Sprintf("the mean of %d runs", runs)
}

// derived names what a candidate was derived from.
func derived(parent int64) string {
	if parent == 0 {
		return "the study's start"
	}
	return fmt.Sprintf("candidate %d", parent)
}

// verdictOf is a candidate's verdict with what ended a run that has no score.
func verdictOf(c record.Candidate) string {
	if c.Failure != "" && string(c.Failure) != string(c.Verdict) {
		return fmt.Sprintf("%s (%s)", c.Verdict, c.Failure)
	}
	return string(c.Verdict)
}

// runOf is which run of its candidate a trial is, from 1.
func runOf(c record.Candidate, id int64) int {
	if i := slices.Index(c.Runs, id); i >= 0 {
		return i + 1
	}
	return len(c.Runs) + 1
}

// tried counts candidates in their runs, and says of those that failed what
// ended them.
func tried(now supervisor.Status) string {
	n := now.Tried
	words := fmt.Sprintf("%s in %s: %d kept, %d discarded", count(n.Total, "candidate"), count(now.Runs, "run"), n.Kept, n.Discarded)
	for _, more := range []struct {
		n    int
		what string
	}{{n.Refuted, "refuted"}, {n.Pending, "pending"}, {n.Interrupted, "interrupted"}} {
		if more.n > 0 {
			words += fmt.Sprintf(", %d %s", more.n, more.what)
		}
	}
	var kinds []string
	for _, s := range search.Statuses {
		if k := n.Failures[s]; k > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", k, s))
		}
	}
	if n.Failed > 0 {
		words += fmt.Sprintf(", %d failed (%s)", n.Failed, strings.Join(kinds, ", "))
	}
	return words
}
