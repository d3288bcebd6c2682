package study

import (
	"slices"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/search"
)

// Parts are what a journal says that the rest of its record is.
type Parts struct {
	About   journal.Study
	Refs    map[string]string // in git, by their full names
	Commits []string          // all that those and the unfinished trials stand on
	Results []byte            // results.tsv
	Trials  []journal.Record  // in the order of decisions, without sources and curves
}

// PartsOf reads them. What a trial that is being finished adds to git is no part
// yet: whoever goes on with the journal finishes it.
func PartsOf(r *journal.Reader) (Parts, error) {
	s, err := Read(r)
	if err != nil {
		return Parts{}, err
	}
	p := Parts{About: s.about, Refs: map[string]string{}, Commits: []string{s.about.BaseCommit}}
	if p.Trials, err = r.Trials(); err != nil {
		return p, err
	}
	var committed []search.Result
	for _, rec := range p.Trials {
		if !rec.Stage.Reached(search.StageCommitted) {
			p.Commits = append(p.Commits, rec.ParentCommit)
			continue
		}
		committed = append(committed, rec.Result)
		if rec.Decision.Verdict == search.Keep {
			p.Refs[lineage.BranchRef(s.about.Tag)] = rec.Commit
		}
	}
	decided := search.Decided(committed)
	for _, c := range decided {
		if commit := s.commits[c.ID]; commit != "" {
			p.Refs[lineage.TrialRef(s.about.Tag, c.ID)] = commit
		}
	}
	for _, commit := range p.Refs {
		p.Commits = append(p.Commits, commit)
	}
	slices.Sort(p.Commits)
	p.Commits = slices.Compact(p.Commits)
	p.Results = lineage.Table(s.rowsOf(decided))
	return p, nil
}
