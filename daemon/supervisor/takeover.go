package supervisor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// TakeOverOptions say what to take over into an empty journal.
type TakeOverOptions struct {
	Config  *config.Config
	Journal *journal.Journal
	Repo    *lineage.Repo
	Inspect func(ctx context.Context, source []byte) (trainer.Inspection, error)
	Tag     string        // of the branch autoresearch/<tag> that the study stands on
	Rows    []lineage.Row // of its results.tsv, the baseline first

	there []journal.Record // trials that an earlier call made, in order, not yet met again
}

// TakenOver is what became of the rows.
type TakenOver struct {
	Trials   int
	Champion lineage.Row
	Left     []string // rows that could not be taken, and why
}

// TakeOver makes a study that was run the upstream way (a branch, a commit for
// each trial, results.tsv) the history of this journal, so that the loop goes on
// from its champion. Its scores are believed as they stand: they were measured
// with this workspace's prepare.py. A row whose commit git no longer has is left
// out, since nothing can be learned from a score without a source.
//
// Interrupted, it can be called again: trials that are there already stay.
func TakeOver(ctx context.Context, o TakeOverOptions) (TakenOver, error) {
	var out TakenOver
	if len(o.Rows) == 0 {
		return out, errors.New("results.tsv has no rows: there is nothing to take over; `autoresearchd run` begins a study")
	}
	commits := make([]string, len(o.Rows))
	last := -1 // the champion's row
	for i, row := range o.Rows {
		full, err := o.Repo.Resolve(ctx, row.Commit)
		if err != nil {
			return out, err
		}
		commits[i] = full
		if row.Status == search.Keep && full != "" {
			last = i
		}
	}
	switch {
	case commits[0] == "":
		return out, fmt.Errorf("results.tsv begins with commit %s, the baseline, which git does not have: fetch the branch it was on", o.Rows[0].Commit)
	case last < 0:
		return out, errors.New("results.tsv has no row with status keep: there is no champion to go on from; `autoresearchd run` begins a study")
	}
	tip, err := o.Repo.BranchTip(ctx, o.Tag)
	if err != nil {
		return out, err
	}
	if tip != commits[last] {
		return out, fmt.Errorf("the branch autoresearch/%s stands at %.7s, but the last kept row of results.tsv is %s (%s): move the branch with `git branch -f autoresearch/%s %s`, or name another with --tag",
			o.Tag, tip, o.Rows[last].Commit, o.Rows[last].Description, o.Tag, o.Rows[last].Commit)
	}
	if err := o.study(ctx, commits[0]); err != nil {
		return out, err
	}
	there, err := o.Journal.Trials()
	if err != nil {
		return out, err
	}
	for _, r := range there {
		if r.Trial.Proposal.Strategy != search.Imported {
			return out, fmt.Errorf("the state directory %s has trials of its own already: name an empty one with --state", o.Config.Study.State)
		}
	}
	o.there = there
	var parent journal.Record // the champion so far
	for i, row := range o.Rows {
		if commits[i] == "" {
			out.Left = append(out.Left, fmt.Sprintf("%s %s %q: git does not have the commit", row.Commit, row.Status, row.Description))
			continue
		}
		r, fault, err := o.take(ctx, row, commits[i], parent)
		if err != nil {
			return out, err
		}
		if fault != "" {
			out.Left = append(out.Left, fmt.Sprintf("%s %s %q: %s", row.Commit, row.Status, row.Description, fault))
			continue
		}
		if out.Trials++; row.Status == search.Keep {
			parent, out.Champion = r, row
		}
	}
	return out, nil
}

// study begins the journal's study at the baseline's commit.
func (o *TakeOverOptions) study(ctx context.Context, base string) error {
	prepare, err := o.Repo.ReadFile(ctx, base, "prepare.py")
	if err != nil {
		return err
	}
	st := journal.Study{
		Tag: o.Tag, Workspace: o.Config.Study.Workspace, BaseCommit: base, Seed: o.Config.Study.Seed, Budget: o.Config.Trial.Budget,
		PrepareHash: fmt.Sprintf("%x", sha256.Sum256(prepare)), StartedAt: time.Now().UTC(),
	}
	old, ok, err := o.Journal.Study()
	if err != nil {
		return err
	}
	if ok {
		st.StartedAt = old.StartedAt
	}
	if err := o.Journal.SetStudy(st); err != nil {
		return fmt.Errorf("the state directory %s holds another study: name an empty one with --state: %w", o.Config.Study.State, err)
	}
	return nil
}

// take makes one row a finished trial. fault says why it cannot be one.
func (o *TakeOverOptions) take(ctx context.Context, row lineage.Row, commit string, parent journal.Record) (r journal.Record, fault string, err error) {
	source, err := o.Repo.ReadFile(ctx, commit, "train.py")
	if err != nil {
		return r, "its commit has no train.py", nil
	}
	i, err := o.Inspect(ctx, source)
	if err != nil {
		return r, "", err
	}
	if i.Error != "" && row.Status != search.Crash {
		return r, "train.py: " + i.Error, nil
	}
	t := search.Trial{
		Proposal: search.Proposal{Strategy: search.Imported, Description: row.Description, Parent: parent.Trial.ID},
		Source:   source, Constants: i.Constants, Changed: search.Changed(parent.Trial.Constants, i.Constants),
		Seed: o.Config.Study.Seed, Budget: o.Config.Trial.Budget, StartedAt: time.Now().UTC(),
	}
	outcome := search.Outcome{Status: search.Crashed, Detail: "imported: results.tsv says crash"}
	if row.Status != search.Crash {
		outcome = search.Outcome{Status: search.Completed, ValBPB: row.ValBPB, PeakVRAM: int64(row.MemoryGB * (1 << 30))}
		if !search.Plausible(row.ValBPB) {
			return r, fmt.Sprintf("val_bpb %g is not a score", row.ValBPB), nil
		}
	}
	outcome.Flags = []string{"imported from results.tsv, not measured by autoresearchd"}
	decision := search.Decision{Verdict: row.Status, Reason: "imported: decided by whoever ran it"}
	r = journal.Record{Result: search.Result{Trial: t, Outcome: outcome, Decision: decision}, Commit: commit}
	return r, "", o.write(ctx, &r, parent.Commit)
}

// write brings a trial to its end, from wherever an earlier call left it: rows
// come in the same order each time.
func (o *TakeOverOptions) write(ctx context.Context, r *journal.Record, parentCommit string) error {
	if parentCommit == "" {
		parentCommit = r.Commit
	}
	var err error
	if len(o.there) > 0 {
		old := o.there[0]
		o.there = o.there[1:]
		// Begin repeats only what has the very same content.
		r.Trial.ID, r.Trial.StartedAt = old.Trial.ID, old.Trial.StartedAt
		if old.Stage.Reached(search.StageDone) {
			return nil
		}
	} else if r.Trial.ID, err = o.Journal.NextID(); err != nil {
		return err
	}
	if err := o.Journal.Begin(r.Trial, parentCommit, 0); err != nil {
		return err
	}
	id := r.Trial.ID
	for _, step := range []func() error{
		func() error { return o.Journal.End(id, r.Outcome) },
		func() error { return o.Journal.Decide(id, r.Decision) },
		func() error { return o.Repo.SetTrialRef(ctx, o.Tag, id, r.Commit) },
		func() error { return o.Journal.Commit(id, r.Commit) },
		func() error { return o.Journal.Recorded(id) },
		func() error { return o.Journal.Done(id) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
