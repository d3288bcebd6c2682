package study

import (
	"context"
	"fmt"
	"slices"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
)

// elsewhere has a study go on in another workspace than the one it was begun
// in, where git keeps there what the journal says: it has only moved, or is a
// copy. Anything else is refused.
func (p *Plan) elsewhere(ctx context.Context, c *config.Config, repo *lineage.Repo, past Known) error {
	if p.Study.Workspace == c.Study.Workspace {
		return nil
	}
	lacks, err := p.lacks(ctx, repo, past)
	if err != nil {
		return err
	}
	if lacks != "" {
		return Refusal{fmt.Errorf("the state directory %s holds a study of workspace %s, but study.workspace is %s, whose history is not that study's: it lacks %s: "+
			"give the new study a state directory of its own, or set study.workspace back, or have the study continue there anyway with `autoresearchd run --relocate`",
			c.Study.State, p.Study.Workspace, c.Study.Workspace, lacks)}
	}
	p.Notes = append(p.Notes, fmt.Sprintf("the workspace %s is %s now: its history is the study's, which continues there", p.Study.Workspace, c.Study.Workspace))
	p.Study.Workspace = c.Study.Workspace
	return nil
}

// lacks is what a repository has not of the study's history; "": it has all.
func (p *Plan) lacks(ctx context.Context, repo *lineage.Repo, past Known) (string, error) {
	if _, err := repo.ReadFile(ctx, p.Study.BaseCommit, "train.py"); err != nil {
		return fmt.Sprintf("commit %.7s, where the study began", p.Study.BaseCommit), nil
	}
	records, err := past.Trials()
	if err != nil {
		return "", err
	}
	kept, err := repo.Trials(ctx, p.Study.Tag)
	if err != nil {
		return "", err
	}
	var commits []string
	for _, commit := range kept {
		commits = append(commits, commit)
	}
	for _, r := range records {
		if r.Commit != "" && !slices.Contains(commits, r.Commit) {
			return fmt.Sprintf("commit %.7s of trial %d", r.Commit, r.Trial.ID), nil
		}
	}
	return "", nil
}

// relocated is a journal of a study that a person has said is that of another
// workspace.
type relocated struct {
	Known
	workspace string
}

func (r relocated) Study() (journal.Study, bool, error) {
	study, ok, err := r.Known.Study()
	if ok {
		study.Workspace = r.workspace
	}
	return study, ok, err
}

// relocate keeps where the study goes on.
func (s *Study) relocate(plan Plan) error {
	have, ok, err := s.o.Journal.Study()
	if err != nil || !ok || have.Workspace == plan.Study.Workspace {
		return err
	}
	for _, note := range plan.Notes {
		s.o.Log.Warn(note)
	}
	return s.o.Journal.Relocate(plan.Study.Workspace)
}
