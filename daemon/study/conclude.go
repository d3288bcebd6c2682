package study

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"autoresearchd/daemon/faultpoint"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
	"autoresearchd/search/turn"
)

var (
	ranOnce = faultpoint.New("study.run.after")
	cleaned = faultpoint.New("study.clean.after")
)

// Conclude makes the outcome of a begun trial durable, has it judged, and brings
// it to its end: decision, commit, branch, results.tsv. One trial after another
// comes to its end, in the order of decisions, so whatever was left on the way
// by an error is finished first. After an error it is to be called again, with
// the same outcome; ctx's end does not stop it midway.
func (s *Study) Conclude(ctx context.Context, id int64, o search.Outcome, judge search.Judge) (journal.Record, error) {
	ranOnce.Hit()
	s.writing.Lock()
	defer s.writing.Unlock()
	ctx = context.WithoutCancel(ctx)
	if s.undone != nil && s.undone.Trial.ID != id {
		if _, err := s.finish(ctx); err != nil {
			return journal.Record{}, err
		}
	}
	if s.undone == nil {
		if err := s.o.Journal.End(id, o); err != nil {
			return journal.Record{}, Full(err)
		}
		r, err := s.o.Journal.Trial(id)
		if err != nil || r.Stage.Reached(search.StageDone) { // another's Conclude finished it
			return r, Full(err)
		}
		if err := s.decide(r, judge); err != nil {
			return r, err
		}
	}
	return s.finish(ctx)
}

// decide has a trial judged that has an outcome. writing is held.
func (s *Study) decide(r journal.Record, judge search.Judge) error {
	if !r.Stage.Reached(search.StageDecided) {
		r.Decision = turn.Decide(judge, s.History(), r.Result)
		if err := s.o.Journal.Decide(r.Trial.ID, r.Decision); err != nil {
			return Full(err)
		}
		r.Stage = search.StageDecided
	}
	s.undone = &r
	return nil
}

// finish brings the decided trial to its end. Every step may be repeated.
// writing is held.
func (s *Study) finish(ctx context.Context) (journal.Record, error) {
	r := s.undone
	if err := s.finishing(ctx, r); err != nil {
		return *r, Full(err)
	}
	s.undone = nil
	return *r, nil
}

func (s *Study) finishing(ctx context.Context, r *journal.Record) error {
	id := r.Trial.ID
	if !r.Stage.Reached(search.StageCommitted) {
		commit, err := s.commit(ctx, *r)
		if err != nil {
			return err
		}
		if err := s.o.Repo.SetTrialRef(ctx, s.about.Tag, id, commit); err != nil {
			return err
		}
		if r.Decision.Verdict == search.Keep {
			old, err := s.branch(ctx)
			if err != nil {
				return err
			}
			if err := s.o.Repo.AdvanceChampion(ctx, s.about.Tag, commit, old); err != nil {
				return err
			}
		}
		if err := s.o.Journal.Commit(id, commit); err != nil {
			return err
		}
		r.Commit, r.Stage = commit, search.StageCommitted
	}
	if !r.Stage.Reached(search.StageRecorded) {
		if !s.listed[id] {
			if err := s.tsv.Append(lineage.NewRow(r.Commit, r.Result)); err != nil {
				return err
			}
			s.listed[id] = true
		}
		if err := s.o.Journal.Recorded(id); err != nil {
			return err
		}
		r.Stage = search.StageRecorded
	}
	// The scratch goes; the bundle and the log stay.
	_ = os.RemoveAll(filepath.Join(s.folder(id), "work"))
	cleaned.Hit()
	if err := s.o.Journal.Done(id); err != nil {
		return err
	}
	r.Stage = search.StageDone
	s.note(*r)
	var score any = "none"
	if bpb, ok := r.Score(); ok {
		score = bpb
	}
	s.o.Log.Info("trial ends", "trial", id, "status", r.Outcome.Status, "val_bpb", score, "decision", r.Decision.Verdict, "reason", r.Decision.Reason)
	return nil
}

// commit stores the trial's source in git. A trial that changes nothing is its
// parent's commit.
func (s *Study) commit(ctx context.Context, r journal.Record) (string, error) {
	source, err := s.o.Journal.Source(r.Trial.ID)
	if err != nil {
		return "", err
	}
	parent, err := s.o.Repo.ReadFile(ctx, r.ParentCommit, "train.py")
	if err != nil {
		return "", err
	}
	if string(parent) == string(source) {
		return r.ParentCommit, nil
	}
	body := fmt.Sprintf("%s: %s\n\ntrial %d, strategy %s, seed %d", r.Decision.Verdict, r.Decision.Reason, r.Trial.ID, r.Trial.Proposal.Strategy, r.Trial.Seed)
	return s.o.Repo.CommitTrial(ctx, s.about.BaseCommit, r.ParentCommit, source, lineage.Message(r.Trial.Proposal.Description, body), r.Trial.StartedAt)
}

// branch returns the commit at which the study's branch must stand: the
// champion's, or before the first one the study's start, if it exists at all.
func (s *Study) branch(ctx context.Context) (string, error) {
	if champion := s.Champion(); champion != nil {
		return champion.Commit, nil
	}
	tip, err := s.o.Repo.BranchTip(ctx, s.about.Tag)
	if err != nil || tip != s.about.BaseCommit {
		return "", err
	}
	return tip, nil
}

// Resume finishes what had been begun when the daemon was stopped, and returns
// what it has finished. A trial without an outcome was interrupted, by what why
// says; every later stage goes on from where it was. First comes what was
// decided, then what had ended, as it would have.
func (s *Study) Resume(ctx context.Context, why string, judge search.Judge) (finished []journal.Record, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	unfinished, err := s.o.Journal.Unfinished()
	if err == nil {
		err = s.replace(unfinished)
	}
	if err != nil {
		return nil, Full(err)
	}
	rank := func(r journal.Record) int {
		switch {
		case r.Stage.Reached(search.StageDecided):
			return 0
		case r.Stage.Reached(search.StageEnded):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(unfinished, func(a, b journal.Record) int { return cmp.Compare(rank(a), rank(b)) })
	for _, r := range unfinished {
		if !r.Stage.Reached(search.StageEnded) {
			if err := s.interrupt(&r, why); err != nil {
				return finished, Full(err)
			}
		}
		if s.undone == nil || s.undone.Trial.ID != r.Trial.ID {
			if err := s.decide(r, judge); err != nil {
				return finished, err
			}
		}
		r, err := s.finish(ctx)
		if err != nil {
			return finished, err
		}
		finished = append(finished, r)
	}
	return finished, nil
}

// interrupt ends what a trial left running, and gives it its outcome.
func (s *Study) interrupt(r *journal.Record, why string) error {
	if s.o.Config.Study.Baseline.Recorded && r.Trial.Proposal.Description == RecordedBaseline {
		r.Outcome = s.RecordedOutcome() // it was never to run
	} else {
		swept := trainer.Sweep(Owner(s.o.Config.Study.State), r.Seat)
		s.o.Log.Warn("a trial was interrupted", "trial", r.Trial.ID, "processes ended", swept, "why", why)
		r.Outcome = search.Outcome{Status: search.Interrupted, Detail: why}
	}
	r.Stage = search.StageEnded
	return s.o.Journal.End(r.Trial.ID, r.Outcome)
}

// RecordedBaseline describes a baseline that the configuration gives as a number.
const RecordedBaseline = "baseline (recorded, not measured)"

// RecordedOutcome is that baseline's outcome.
func (s *Study) RecordedOutcome() search.Outcome {
	return search.Outcome{
		Status: search.Completed, ValBPB: s.o.Config.Study.Baseline.ValBPB,
		Flags: []string{"recorded in the configuration (study.baseline), not measured"},
	}
}

// Owner identifies the seats of the daemon that owns a state directory.
func Owner(state string) string { return "autoresearchd:" + state }
