package study

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"autoresearchd/daemon/durable"
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

// Rules decide what a trial means.
type Rules struct {
	Judge search.Judge
	Check Checker // asked before a candidate becomes the champion; nil: nobody is
}

// Checker answers for a candidate. An error says that it was not to answer now:
// the trial waits for its decision, and it is asked anew.
type Checker func(ctx context.Context, q search.Question) (search.Answer, error)

// Conclude makes the outcome of a begun trial durable, has it judged, and brings
// it to its end: decision, commit, branch, results.tsv. One trial after another
// comes to its end, in the order of decisions, so whatever was left on the way
// by an error is finished first. After an error it is to be called again, with
// the same outcome. ctx's end stops the check, and nothing else midway.
func (s *Study) Conclude(ctx context.Context, id int64, o search.Outcome, rules Rules) (journal.Record, error) {
	ranOnce.Hit()
	s.writing.Lock()
	defer s.writing.Unlock()
	asking := ctx
	ctx = context.WithoutCancel(ctx)
	if s.undone != nil && s.undone.Trial.ID != id {
		if _, err := s.finish(ctx); err != nil {
			return journal.Record{}, err
		}
	}
	if s.undone == nil {
		if err := s.keepLog(id); err != nil {
			return journal.Record{}, Disk(err)
		}
		if err := s.o.Journal.End(id, o); err != nil {
			return journal.Record{}, Disk(err)
		}
		r, err := s.o.Journal.Trial(id)
		if err != nil || r.Stage.Reached(search.StageDone) { // another's Conclude finished it
			return r, Disk(err)
		}
		if err := s.decide(asking, r, rules); err != nil {
			return r, err
		}
	}
	return s.finish(ctx)
}

// keepLog makes durable what a trial has printed.
func (s *Study) keepLog(id int64) error {
	err := durable.File(filepath.Join(s.folder(id), "run.log"))
	if err == nil {
		err = durable.Dir(s.folder(id))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep the log of trial %d: %w", id, err)
	}
	return nil
}

// decide has a trial judged that has an outcome. writing is held.
func (s *Study) decide(ctx context.Context, r journal.Record, rules Rules) error {
	if !r.Stage.Reached(search.StageDecided) {
		h := s.History()
		r.Decision = turn.Decide(rules.Judge, h, r.Result)
		if q, ask := search.ToCheck(rules.Judge, h, r.Result); ask && rules.Check != nil {
			q.Folder = s.folder(r.Trial.ID)
			answer, err := rules.Check(ctx, q)
			if err != nil {
				return fmt.Errorf("check candidate %d: %w", q.Candidate, err)
			}
			r.Decision = r.Decision.Answered(answer)
		}
		if err := s.o.Journal.Decide(r.Trial.ID, r.Decision); err != nil {
			return Disk(err)
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
		return *r, Disk(err)
	}
	s.undone = nil
	return *r, nil
}

func (s *Study) finishing(ctx context.Context, r *journal.Record) error {
	id := r.Trial.ID
	done := s.History().Done
	of, settled := search.Ended(done, r.Result)
	if !r.Stage.Reached(search.StageCommitted) {
		commits, err := s.settle(ctx, r, settled)
		if err != nil {
			return err
		}
		if err := s.o.Journal.Commit(id, commits); err != nil {
			return err
		}
		maps.Copy(s.commits, commits)
		r.Stage = search.StageCommitted
	}
	r.Commit = s.commits[r.Trial.Candidate]
	if !r.Stage.Reached(search.StageRecorded) {
		if err := s.tsv.Set(s.rows(append(done, r.Result))); err != nil {
			return err
		}
		if err := s.o.Journal.Recorded(id); err != nil {
			return err
		}
		r.Stage = search.StageRecorded
	}
	// The scratch goes; the bundle and the log stay.
	_ = errors.Join(os.RemoveAll(filepath.Join(s.folder(id), "work")), durable.Dir(s.folder(id)))
	cleaned.Hit()
	if err := s.o.Journal.Done(id); err != nil {
		return err
	}
	r.Stage = search.StageDone
	s.note(*r)
	s.log(*r, of, settled)
	return nil
}

// log says how a trial ended, how its candidate stands since, and what else its
// end decided.
func (s *Study) log(r journal.Record, of *search.Candidate, settled []*search.Candidate) {
	var score any = "none"
	if bpb, ok := r.Score(); ok {
		score = bpb
	}
	s.o.Log.Info("trial ends", append([]any{"trial", r.Trial.ID, "status", r.Outcome.Status, "val_bpb", score, "candidate", of.ID}, stands(of, r.Decision.Reason)...)...)
	for _, c := range settled {
		if c != of {
			s.o.Log.Info("another candidate is decided", append([]any{"candidate", c.ID}, stands(c, c.Reason)...)...)
		}
	}
}

func stands(c *search.Candidate, reason string) []any {
	words := []any{"verdict", c.Standing}
	if mean, runs := c.Score(); runs > 0 {
		words = append(words, "mean", fmt.Sprintf("%.6f", mean), "runs", runs)
	}
	return append(words, "reason", reason)
}

// settle gives the candidates that a trial's end decides their commits and refs,
// and moves the branch where the trial is kept.
func (s *Study) settle(ctx context.Context, r *journal.Record, settled []*search.Candidate) (commits map[int64]string, err error) {
	commits = map[int64]string{}
	for _, c := range settled {
		commit, err := s.commit(ctx, c)
		if err != nil {
			return nil, err
		}
		if err := s.o.Repo.SetTrialRef(ctx, s.about.Tag, c.ID, commit, s.commits[c.ID]); err != nil {
			return nil, err
		}
		commits[c.ID] = commit
	}
	if r.Decision.Verdict != search.Keep {
		return commits, nil
	}
	old, err := s.branch(ctx)
	if err != nil {
		return nil, err
	}
	champion := cmp.Or(commits[r.Trial.Candidate], s.commits[r.Trial.Candidate])
	return commits, s.o.Repo.AdvanceChampion(ctx, s.about.Tag, champion, old)
}

// commit stores a candidate's source in git, and what was decided of it. One
// that changes nothing is its parent's commit.
func (s *Study) commit(ctx context.Context, c *search.Candidate) (string, error) {
	first, err := s.o.Journal.Trial(c.ID)
	if err != nil {
		return "", err
	}
	parent, err := s.o.Repo.ReadFile(ctx, first.ParentCommit, "train.py")
	if err != nil {
		return "", err
	}
	if bytes.Equal(parent, first.Trial.Source) {
		return first.ParentCommit, nil
	}
	return s.o.Repo.CommitTrial(ctx, s.about.BaseCommit, first.ParentCommit, first.Trial.Source, lineage.Message(c.Description, verdict(c)), first.Trial.StartedAt)
}

// verdict is what a candidate's commit says of it.
func verdict(c *search.Candidate) string {
	words := says(c)
	if bpb, runs := c.Score(); runs == 1 {
		words += fmt.Sprintf(", val_bpb %.6f in one run", bpb)
	} else if runs > 1 {
		words += fmt.Sprintf(", val_bpb %.6f, the mean of %d runs", bpb, runs)
	}
	return words
}

// says is of a verdict what does not change with later runs.
func says(c *search.Candidate) string {
	return fmt.Sprintf("%s: %s\n\ncandidate %d of strategy %s", c.Standing.Decision(), c.Reason, c.ID, c.Strategy)
}

// rows are those of results.tsv, one a candidate, after what is done.
func (s *Study) rows(done []search.Result) []lineage.Row { return s.rowsOf(search.Decided(done)) }

func (s *Study) rowsOf(decided []*search.Candidate) []lineage.Row {
	var rows []lineage.Row
	for _, c := range decided {
		rows = append(rows, lineage.NewRow(s.commits[c.ID], c))
	}
	return rows
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
func (s *Study) Resume(ctx context.Context, why string, rules Rules) (finished []journal.Record, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	unfinished, err := s.o.Journal.Unfinished()
	if err == nil {
		err = s.replace(unfinished)
	}
	if err != nil {
		return nil, Disk(err)
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
				return finished, Disk(err)
			}
		}
		if s.undone == nil || s.undone.Trial.ID != r.Trial.ID {
			if err := s.decide(ctx, r, rules); err != nil {
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
		if left := trainer.Remains(Owner(s.o.Config.Study.State), r.Seat); left != nil {
			if err := s.Quarantine(r.Trial.Device, left); err != nil {
				return err
			}
		}
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
