// Package change takes apart what a study's champion changed, candidate by
// candidate, and puts the changes together in other ways: one alone on the
// baseline, all but one, all of them in another train.py.
package change

import (
	"fmt"
	"slices"
	"strings"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

// Journal is a record to read: a journal.Journal or a journal.Reader.
type Journal interface {
	Study() (journal.Study, bool, error)
	Trials() ([]journal.Record, error)
	Source(id int64) ([]byte, error)
	Suggestions() ([]journal.Suggestion, error)
}

// Study is a record by its kept candidates.
type Study struct {
	Baseline, Champion *search.Candidate // nil: there is none yet
	Done               []search.Result   // in the order of decisions

	j     Journal
	all   map[int64]*search.Candidate
	runs  map[int64]journal.Record // of each candidate, the first
	trial []journal.Record
}

// Read reads a record.
func Read(j Journal) (*Study, error) {
	s := &Study{j: j, all: map[int64]*search.Candidate{}, runs: map[int64]journal.Record{}}
	var err error
	if s.trial, err = j.Trials(); err != nil {
		return nil, err
	}
	var h search.History
	for _, r := range s.trial {
		if _, ok := s.runs[r.Trial.Candidate]; !ok {
			s.runs[r.Trial.Candidate] = r
		}
		if r.Decided > 0 {
			h.Done = append(h.Done, r.Result)
		} else {
			h.Pending = append(h.Pending, r.Trial)
		}
	}
	s.Done = h.Done
	for _, c := range search.Candidates(h) {
		s.all[c.ID] = c
	}
	if baseline, champion := search.Ends(h.Done); champion != nil {
		s.Baseline, s.Champion = s.all[baseline.ID], s.all[champion.ID]
	}
	return s, nil
}

// Candidate returns one by the id of any of its runs; nil: there is none.
func (s *Study) Candidate(trial int64) *search.Candidate {
	i := slices.IndexFunc(s.trial, func(r journal.Record) bool { return r.Trial.ID == trial })
	if i < 0 {
		return nil
	}
	return s.all[s.trial[i].Trial.Candidate]
}

// First is the record of a candidate's first run, without its source.
func (s *Study) First(id int64) journal.Record { return s.runs[id] }

// Program is a candidate's.
func (s *Study) Program(id int64) (Program, error) {
	source, err := s.j.Source(id)
	return Program{source, s.runs[id].Trial.Constants}, err
}

// Step is a candidate and what it changed since the one before it in its
// lineage that was kept.
type Step struct {
	*search.Candidate
	From   int64  // that one, or the baseline
	Change string // in its shortest form: "DEPTH 4 -> 6", or, of an edit, its description

	before, after Program
}

// Ancestors are the ids of what a candidate was derived from, kept or not, the
// nearest first and the baseline not among them.
func (s *Study) Ancestors(id int64) []int64 {
	var out []int64
	for c := s.all[id]; c != nil && c.Parent != 0 && c.Parent != s.Baseline.ID; c = s.all[c.Parent] {
		out = append(out, c.Parent)
	}
	return out
}

// Step takes a candidate's own change out of its program.
func (s *Study) Step(id int64) (Step, error) {
	step := Step{Candidate: s.all[id], From: s.Baseline.ID}
	for _, a := range s.Ancestors(id) {
		if s.all[a] != nil && s.all[a].Standing == search.StandingKept {
			step.From = a
			break
		}
	}
	var err error
	if step.before, err = s.Program(step.From); err != nil {
		return step, err
	}
	if step.after, err = s.Program(id); err != nil {
		return step, err
	}
	step.Change = strings.TrimPrefix(step.Description, "suggested: ")
	if onlyConstants(step.before, step.after) {
		step.Change = search.Describe(step.before.Constants, step.after.Constants)
	}
	return step, nil
}

// Chain are the steps from the baseline to a candidate, the first one first;
// none for the baseline.
func (s *Study) Chain(id int64) ([]Step, error) {
	var out []Step
	for id != s.Baseline.ID {
		step, err := s.Step(id)
		if err != nil {
			return nil, err
		}
		out = append(out, step)
		id = step.From
	}
	slices.Reverse(out)
	return out, nil
}

// Kept are the steps of all kept candidates but the baseline, in the order of
// their ids.
func (s *Study) Kept() ([]Step, error) {
	var out []Step
	for id, c := range s.all {
		if c.Standing != search.StandingKept || c.ID == s.Baseline.ID {
			continue
		}
		step, err := s.Step(id)
		if err != nil {
			return nil, fmt.Errorf("read candidate %d: %w", id, err)
		}
		out = append(out, step)
	}
	slices.SortFunc(out, func(a, b Step) int { return int(a.ID - b.ID) })
	return out, nil
}
