package study

import (
	"context"

	"autoresearchd/daemon/lineage"
	"autoresearchd/search"
)

// mend sets refs of decided candidates again that git has lost, with their
// commits where those are lost too: the same arguments give the same commit. What
// cannot be made again stays lost, and is told.
func (s *Study) mend(ctx context.Context, committed []search.Result) error {
	have, err := s.o.Repo.Trials(ctx, s.about.Tag)
	if err != nil {
		return err
	}
	at := map[int64]int{} // the place of each trial among what is done
	for i, r := range committed {
		at[r.Trial.ID] = i
	}
	for _, c := range search.Decided(committed) {
		commit := s.commits[c.ID]
		if commit == "" || have[c.ID] != "" {
			continue
		}
		there := false
		if err := s.o.Repo.Stored(ctx, []string{commit}, func(g lineage.Stored) error { there = g.Lacks == ""; return nil }); err != nil {
			return err
		}
		if !there {
			by := at[c.By]
			_, settled := search.Ended(committed[:by], committed[by])
			for _, then := range settled {
				if then.ID != c.ID {
					continue
				}
				again, err := s.commit(ctx, then)
				if err != nil {
					return Disk(err)
				}
				there = again == commit
			}
		}
		if !there {
			s.o.Log.Error("git has lost a candidate's commit: fetch it from a clone, or restore a backup; `autoresearchd verify` says more", "candidate", c.ID, "commit", commit)
			continue
		}
		if err := s.o.Repo.SetTrialRef(ctx, s.about.Tag, c.ID, commit, ""); err != nil {
			return Disk(err)
		}
		s.o.Log.Warn("git had lost a candidate's ref: it is set again", "candidate", c.ID, "commit", commit)
	}
	return nil
}
