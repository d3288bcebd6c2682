package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// open finds the study in the journal, or begins one from the workspace.
func (s *Supervisor) open(ctx context.Context) error {
	c := s.o.Config
	plan, err := Foresee(ctx, c, s.o.Repo, s.o.Journal, time.Now())
	if err != nil {
		return err
	}
	if err := plan.Prove(ctx, s.o.Repo); err != nil {
		return err
	}
	study := plan.Study
	notes, err := Beside(ctx, s.o.Repo, s.o.Trainer.Inspect, study.BaseCommit)
	if err != nil {
		return err
	}
	for _, note := range notes {
		s.o.Log.Warn(note)
	}
	if !plan.Begun {
		if study, err = s.begin(ctx, plan); err != nil {
			return err
		}
	}
	s.study = study
	if s.paused, err = s.o.Journal.Flag(journal.Paused); err != nil {
		return err
	}
	if s.ended, err = s.o.Journal.Flag(journal.Ended); err != nil {
		return err
	}
	records, err := s.o.Journal.Trials()
	if err != nil {
		return err
	}
	rows := []lineage.Row{}
	for _, r := range records {
		if !r.Stage.Reached(search.StageCommitted) {
			continue // resume finishes it
		}
		s.listed[r.Trial.ID] = true
		rows = append(rows, lineage.NewRow(r.Commit, r.Result))
		s.note(r)
	}
	tsv, repaired, err := lineage.OpenResults(filepath.Join(c.Study.State, "results.tsv"), rows)
	if err != nil {
		return full(err)
	}
	if repaired != "" {
		s.o.Log.Warn("results.tsv was not what the journal says", "repaired", repaired)
	}
	s.tsv = tsv
	return nil
}

// begin writes a new study into the journal, from the workspace.
func (s *Supervisor) begin(ctx context.Context, plan Plan) (journal.Study, error) {
	c, study := s.o.Config, plan.Study
	source, err := s.o.Repo.ReadFile(ctx, study.BaseCommit, "train.py")
	if err != nil {
		return study, err
	}
	i, fault, err := Examine(ctx, s.o.Repo, s.o.Trainer.Inspect, study.BaseCommit, source, c.Trial.Budget)
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

// resume finishes what had been begun when the daemon or the loop was stopped:
// a trial without an outcome was interrupted, by what why says, and every later
// stage goes on from where it was.
func (s *Supervisor) resume(ctx context.Context, why string) error {
	if n, err := s.recorded(ctx); err != nil || n {
		return err
	}
	unfinished, err := s.o.Journal.Unfinished()
	if err != nil {
		return err
	}
	for _, r := range unfinished {
		if !r.Stage.Reached(search.StageEnded) {
			if s.config.Study.Baseline.Recorded && r.Trial.Proposal.Description == recordedBaseline {
				r.Outcome = s.recordedOutcome() // it was never to run
			} else {
				var at seat
				_ = json.Unmarshal([]byte(r.Seat), &at) // without it the marker finds them
				swept := trainer.Sweep(Owner(s.config.Study.State), at.Cgroup)
				s.o.Log.Warn("a trial was interrupted", "trial", r.Trial.ID, "processes ended", swept, "why", why)
				r.Outcome = search.Outcome{Status: search.Interrupted, Detail: why}
			}
			if err := s.o.Journal.End(r.Trial.ID, r.Outcome); err != nil {
				return err
			}
			r.Stage = search.StageEnded
		}
		if _, err := s.finish(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

const recordedBaseline = "baseline (recorded, not measured)"

// recorded admits a baseline that the configuration gives as a number.
func (s *Supervisor) recorded(ctx context.Context) (bool, error) {
	id, err := s.o.Journal.NextID()
	if err != nil || !s.config.Study.Baseline.Recorded || id != 1 {
		return false, err
	}
	t, err := s.admit(ctx, proposed{Proposal: search.Proposal{Strategy: "baseline", Description: recordedBaseline}})
	if err != nil {
		return false, err
	}
	_, err = s.record(ctx, t, s.recordedOutcome())
	return true, err
}

func (s *Supervisor) recordedOutcome() search.Outcome {
	return search.Outcome{
		Status: search.Completed, ValBPB: s.config.Study.Baseline.ValBPB,
		Flags: []string{"recorded in the configuration (study.baseline), not measured"},
	}
}

// Owner identifies the seats of the daemon that owns a state directory.
func Owner(state string) string { return "autoresearchd:" + state }

// record makes an outcome durable, judges it, and finishes the trial, even
// while the daemon is being stopped: then it only does not wait for room on the
// disk.
func (s *Supervisor) record(ctx context.Context, t search.Trial, o search.Outcome) (search.Result, error) {
	ranOnce.Hit()
	always := context.WithoutCancel(ctx)
	if err := s.persist(ctx, func() error { return s.o.Journal.End(t.ID, o) }); err != nil {
		return search.Result{}, err
	}
	r, err := s.o.Journal.Trial(t.ID)
	if err != nil {
		return search.Result{}, err
	}
	var result search.Result
	err = s.persist(ctx, func() error {
		var err error
		result, err = s.finish(always, r)
		if err != nil {
			// The next try goes on from the stage that was reached.
			if again, e := s.o.Journal.Trial(t.ID); e == nil {
				r = again
			}
		}
		return err
	})
	return result, err
}

// room is how long the loop waits before it looks again for room on the disk.
const room = 5 * time.Second

// persist repeats a step while the disk is full.
func (s *Supervisor) persist(ctx context.Context, step func() error) error {
	for {
		err := full(step())
		if !errors.Is(err, journal.ErrDiskFull) {
			return err
		}
		s.wait(err, room)
		if err := s.sleep(ctx, room, "waiting for room on the disk: "+err.Error()); err != nil {
			return err
		}
	}
}

// finish takes a trial from its outcome to the end: decision, commit, branch,
// results.tsv. Every step may be repeated.
func (s *Supervisor) finish(ctx context.Context, r journal.Record) (search.Result, error) {
	id := r.Trial.ID
	if !r.Stage.Reached(search.StageDecided) {
		s.mu.Lock()
		h := search.History{Done: s.done}
		if s.champion != nil {
			h.Champion = s.champion.Trial
		}
		r.Decision = s.judge.Judge(h, r.Result)
		s.mu.Unlock()
		if err := s.o.Journal.Decide(id, r.Decision); err != nil {
			return r.Result, err
		}
		r.Stage = search.StageDecided
	}
	if !r.Stage.Reached(search.StageCommitted) {
		commit, err := s.commit(ctx, r)
		if err != nil {
			return r.Result, err
		}
		if err := s.o.Repo.SetTrialRef(ctx, s.study.Tag, id, commit); err != nil {
			return r.Result, err
		}
		if r.Decision.Verdict == search.Keep {
			old, err := s.branch(ctx)
			if err != nil {
				return r.Result, err
			}
			if err := s.o.Repo.AdvanceChampion(ctx, s.study.Tag, commit, old); err != nil {
				return r.Result, err
			}
		}
		if err := s.o.Journal.Commit(id, commit); err != nil {
			return r.Result, err
		}
		r.Commit, r.Stage = commit, search.StageCommitted
		s.note(r)
	}
	if !r.Stage.Reached(search.StageRecorded) {
		if !s.listed[id] {
			if err := s.tsv.Append(lineage.NewRow(r.Commit, r.Result)); err != nil {
				return r.Result, err
			}
			s.listed[id] = true
		}
		if err := s.o.Journal.Recorded(id); err != nil {
			return r.Result, err
		}
		r.Stage = search.StageRecorded
	}
	// The scratch goes; the bundle and the log stay.
	_ = os.RemoveAll(filepath.Join(Folder(s.config.Study.State, id), "work"))
	cleaned.Hit()
	if err := s.o.Journal.Done(id); err != nil {
		return r.Result, err
	}
	r.Stage = search.StageDone
	var score any = "none"
	if bpb, ok := r.Score(); ok {
		score = bpb
	}
	s.o.Log.Info("trial ends", "trial", id, "status", r.Outcome.Status, "val_bpb", score, "decision", r.Decision.Verdict, "reason", r.Decision.Reason)
	s.o.Finished(r)
	return r.Result, nil
}

// commit stores the trial's source in git. A trial that changes nothing is its
// parent's commit.
func (s *Supervisor) commit(ctx context.Context, r journal.Record) (string, error) {
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
	return s.o.Repo.CommitTrial(ctx, s.study.BaseCommit, r.ParentCommit, source, lineage.Message(r.Trial.Proposal.Description, body), r.Trial.StartedAt)
}

// note takes a finished trial into what the loop knows.
func (s *Supervisor) note(r journal.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Trial.Source, r.Outcome.Curve, r.Outcome.AuditBPB = nil, nil, 0
	s.done = append(s.done, r.Result)
	s.tally.add(r.Result)
	s.commits[r.Trial.ID] = r.Commit
	if r.Decision.Verdict == search.Keep {
		keep := r
		s.champion = &keep
	}
}

// branch returns the commit at which the study's branch must stand: the
// champion's, or before the first one the study's start, if it exists at all.
func (s *Supervisor) branch(ctx context.Context) (string, error) {
	s.mu.Lock()
	champion := s.champion
	s.mu.Unlock()
	if champion != nil {
		return champion.Commit, nil
	}
	tip, err := s.o.Repo.BranchTip(ctx, s.study.Tag)
	if err != nil || tip != s.study.BaseCommit {
		return "", err
	}
	return tip, nil
}

// seat is how a trial's processes are found again after a SIGKILL.
type seat struct {
	Cgroup string `json:"cgroup"`
}

// Seat encodes a seat for the journal.
func Seat(cgroup string) string {
	data, err := json.Marshal(seat{cgroup})
	if err != nil {
		return "{}"
	}
	return string(data)
}
