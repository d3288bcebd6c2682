package study

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"time"

	"autoresearchd/daemon/journal"
)

// found writes a new study into the journal, from the workspace.
func (s *Study) found(ctx context.Context, plan Plan) (journal.Study, error) {
	c, study := s.o.Config, plan.Study
	source, err := s.o.Repo.ReadFile(ctx, study.BaseCommit, "train.py")
	if err != nil {
		return study, err
	}
	i, fault, err := Examine(ctx, s.o.Repo, s.o.Inspect, study.BaseCommit, source, c.Trial.Budget)
	if err != nil {
		return study, err
	}
	if fault != "" {
		return study, Refusal{fmt.Errorf("%s: %s", filepath.Join(c.Study.Workspace, "train.py"), fault)}
	}
	space, err := i.Space(c.Search.Overrides())
	if err != nil {
		return study, Refusal{fmt.Errorf("read the search space out of train.py: %w", err)}
	}
	if err := canPropose(c, space, i.Others); err != nil {
		return study, Refusal{err}
	}
	s.saySpace(space, i.Others)
	prepare, err := s.o.Repo.ReadFile(ctx, study.BaseCommit, "prepare.py")
	if err != nil {
		return study, err
	}
	for mine := c.Study.Tag != ""; !mine; {
		if mine, err = s.o.Repo.Reserve(ctx, plan.Study.Tag, study.BaseCommit); err == nil && !mine {
			mine, err = s.o.Repo.CheckedOut(ctx, plan.Study.Tag)
		}
		if err == nil && !mine { // another daemon chose the same one a moment ago
			plan, err = Foresee(ctx, c, s.o.Repo, s.o.Journal, time.Now())
		}
		if err != nil {
			return study, err
		}
	}
	study.Tag = plan.Study.Tag
	for _, note := range plan.Notes {
		s.o.Log.Warn(note)
	}
	study.PrepareHash = fmt.Sprintf("%x", sha256.Sum256(prepare))
	study.Workspace, study.Seed = c.Study.Workspace, c.Study.Seed
	study.StartedAt, study.Budget = time.Now().UTC(), c.Trial.Budget
	return study, s.o.Journal.SetStudy(study)
}
