package study

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
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
	Tag     string // the study's
	Asked   bool   // somebody chose the tag, so no other will do
	Record  lineage.Foreign

	there []journal.Record // trials that an earlier call made, in order, not yet met again
}

// TakenOver is what became of the rows.
type TakenOver struct {
	Tag         string
	Trials      int
	Champion    lineage.Past
	Left, Notes []lineage.Remark // by line
}

// past is a row with the program that it is about.
type past struct {
	lineage.Past
	commit    string // in full
	source    []byte
	constants []search.Constant
}

// TakeOver makes a study that was run the upstream way (a commit for each trial,
// results.tsv) the history of this journal, so that the loop goes on from its
// champion, the last row that was kept. Its scores are believed as they stand:
// they were measured with this workspace's prepare.py. A row whose train.py
// cannot be found or read is left out, since nothing can be learned from a score
// without a source.
//
// Nothing is written before it is known what the study will be. Interrupted, it
// can be called again: trials that are there already stay.
func TakeOver(ctx context.Context, o TakeOverOptions) (TakenOver, error) {
	out := TakenOver{Tag: o.Tag, Left: slices.Clone(o.Record.Left), Notes: slices.Clone(o.Record.Notes)}
	byLine := func(a, b lineage.Remark) int { return a.Line - b.Line }
	defer func() {
		slices.SortStableFunc(out.Left, byLine)
		slices.SortStableFunc(out.Notes, byLine)
	}()
	rows, err := o.find(ctx, &out)
	if err != nil {
		return out, err
	}
	last := -1
	for i, row := range rows {
		if row.Status == search.Keep {
			last = i
		}
	}
	switch {
	case len(rows) == 0 && len(out.Left) == 0:
		return out, errors.New("it has no rows: there is nothing to import; `autoresearchd run` starts a study")
	case len(rows) == 0 && slices.ContainsFunc(out.Left, func(r lineage.Remark) bool { return strings.HasSuffix(r.Text, lost) }):
		return out, errors.New("none of its rows can be imported: fetch the branch that the commits were on, or start a study with `autoresearchd run`")
	case len(rows) == 0:
		return out, errors.New("none of its rows can be imported: fix what is noted of the lines, or start a study with `autoresearchd run`")
	case last < 0:
		return out, errors.New("no row that can be imported was kept, so there is no champion to continue from: write keep as the status of the row to continue from, or start a study with `autoresearchd run`")
	}
	if later := slices.IndexFunc(o.Record.Rows, func(r lineage.Past) bool { return r.Line > rows[last].Line && r.Status == search.Keep }); later >= 0 {
		out.note(rows[last].Line, "the study continues from here: what was kept after it cannot be imported")
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
	if err := o.branch(ctx, rows, last, &out); err != nil {
		return out, err
	}
	base, err := o.base(ctx, rows, last, &out)
	if err != nil {
		return out, err
	}
	if err := o.Repo.Prove(ctx, o.Tag, int64(len(there))+1); err != nil {
		return out, Disk(err)
	}
	if err := o.study(ctx, base); err != nil {
		return out, err
	}
	if err := o.Repo.AdvanceChampion(ctx, o.Tag, rows[last].commit, ""); err != nil {
		return out, err
	}
	var parent journal.Record // the champion so far
	for _, row := range rows {
		r, err := o.take(ctx, row, parent)
		if err != nil {
			return out, err
		}
		if out.Trials++; row.Status == search.Keep {
			parent, out.Champion = r, row.Past
		}
	}
	return out, nil
}

func (t *TakenOver) note(line int, format string, args ...any) {
	t.Notes = append(t.Notes, lineage.Remark{Line: line, Text: fmt.Sprintf(format, args...)})
}

// find looks up the rows' programs.
func (o *TakeOverOptions) find(ctx context.Context, out *TakenOver) ([]past, error) {
	var rows []past
	first := map[string]past{} // by commit
	for i, row := range o.Record.Rows {
		leave := func(format string, args ...any) {
			out.Left = append(out.Left, lineage.Remark{Line: row.Line, Text: fmt.Sprintf("%s %s %q: ", cmp.Or(row.Commit, "-"), row.Status, row.Description) + fmt.Sprintf(format, args...)})
		}
		full, fault, err := o.resolve(ctx, row, o.Record.Rows[i+1:], out)
		if err != nil {
			return nil, err
		}
		if fault != "" {
			leave("%s", fault)
			continue
		}
		// An agent that did not commit what it tried writes the hash of what it
		// started from, so a second score of one commit belongs to another program.
		before, again := first[full]
		rerun := strings.Contains(row.Description, " again, with another seed") // our own record's
		if again && !rerun && before.Status != search.Crash && (row.Status != search.Keep || before.Status == search.Keep) {
			if before.Row == row.Row {
				leave("it is line %d again", before.Line)
			} else {
				leave("its commit is line %d's: what ran here was not committed", before.Line)
			}
			continue
		}
		source, err := o.Repo.ReadFile(ctx, full, "train.py")
		if errors.Is(err, fs.ErrNotExist) {
			leave("its commit has no train.py")
			continue
		}
		if err != nil {
			return nil, err
		}
		i, err := o.Inspect(ctx, source)
		if err != nil {
			return nil, err
		}
		if i.Error != "" && row.Status != search.Crash {
			leave("train.py: %s", i.Error)
			continue
		}
		p := past{Past: row, commit: full, source: source, constants: i.Constants}
		rows, first[full] = append(rows, p), p
	}
	return rows, nil
}

const lost = "git does not have the commit"

// resolve finds a row's commit. A baseline that names none is what the next kept
// row's commit was made on: upstream's loop commits each trial on the last kept.
func (o *TakeOverOptions) resolve(ctx context.Context, row lineage.Past, after []lineage.Past, out *TakenOver) (full, fault string, err error) {
	if row.Commit != "" {
		full, err = o.Repo.Resolve(ctx, row.Commit)
		switch {
		case errors.Is(err, lineage.ErrAmbiguous):
			return "", "several commits begin like that", nil
		case err != nil || full != "":
			return full, "", err
		case o.Repo.Shallow():
			return "", "git does not have the commit, and the clone is shallow: `git fetch --unshallow` may bring it", nil
		}
		return "", lost, nil
	}
	i := slices.IndexFunc(after, func(r lineage.Past) bool { return r.Status == search.Keep })
	if i < 0 {
		return "", "it names no commit, and no kept row comes after it", nil
	}
	child, err := o.Repo.Resolve(ctx, after[i].Commit)
	if err == nil && child != "" {
		full, err = o.Repo.Parent(ctx, child)
	}
	if err != nil && !errors.Is(err, lineage.ErrAmbiguous) {
		return "", "", err
	}
	if full == "" {
		return "", fmt.Sprintf("it names no commit, and git does not have what line %d was made on", after[i].Line), nil
	}
	out.note(row.Line, "it names no commit: taken for %.7s, on which line %d's was made", full, after[i].Line)
	return full, "", nil
}

// branch settles the study's tag, so that autoresearch/<tag> is, or can become,
// a branch that stands at the champion. One whose train.py is the champion's
// stands there too: an agent commits its record, or amends the commit with it.
// Any other is somebody's work and stays as it is.
func (o *TakeOverOptions) branch(ctx context.Context, rows []past, last int, out *TakenOver) error {
	champion := &rows[last]
	usable := func(tag string) (tip string, ok bool, err error) {
		if tip, err = o.Repo.BranchTip(ctx, tag); err != nil {
			return "", false, err
		}
		// Refs that this import would write, or wrote, are no other study's.
		kept, err := o.Repo.Trials(ctx, tag)
		for id, commit := range kept {
			if id > int64(len(rows)) || commit != rows[id-1].commit && (commit != tip || id != int64(last)+1) {
				return tip, false, err
			}
		}
		if err != nil {
			return "", false, err
		}
		if tip == "" || tip == champion.commit {
			return tip, true, nil
		}
		same, err := o.Repo.SameFile(ctx, champion.commit, tip, "train.py")
		return tip, same, err
	}
	tip, ok, err := usable(o.Tag)
	if err != nil {
		return err
	}
	if !ok {
		why := fmt.Sprintf("the branch autoresearch/%s stands at %.7s and not at the last kept row's %.7s (line %d)", o.Tag, tip, champion.commit, champion.Line)
		if tip == "" || tip == champion.commit {
			why = fmt.Sprintf("git keeps trials of an earlier study %s", o.Tag)
		}
		free, found := o.Tag, false
		for n := 2; !found; n++ {
			free = fmt.Sprintf("%s-%d", o.Tag, n)
			if tip, found, err = usable(free); err != nil {
				return err
			}
			found = found && tip == ""
		}
		if o.Asked {
			return fmt.Errorf("%s: give this study a tag of its own with --tag %s, which makes the branch autoresearch/%s at %.7s and leaves the other as it is", why, free, free, champion.commit)
		}
		out.note(0, "%s: this study is %s, on a branch of its own", why, free)
		o.Tag, out.Tag = free, free
	}
	if tip != "" && tip != champion.commit {
		out.note(champion.Line, "the branch autoresearch/%s stands at %.7s with the train.py of %.7s: the study continues from there", o.Tag, tip, champion.commit)
		champion.commit = tip
	}
	return nil
}

// base is the commit whose files trials get beside train.py: the first kept
// row's, unless the study changed some of them on the way.
func (o *TakeOverOptions) base(ctx context.Context, rows []past, last int, out *TakenOver) (string, error) {
	first := rows[slices.IndexFunc(rows, func(r past) bool { return r.Status == search.Keep })]
	champion := rows[last]
	changed, err := o.Repo.ChangedBetween(ctx, first.commit, champion.commit)
	if err != nil {
		return "", err
	}
	changed = slices.DeleteFunc(changed, func(name string) bool { return name == "train.py" || !strings.HasSuffix(name, ".py") })
	if len(changed) == 0 {
		return first.commit, nil
	}
	if slices.Contains(changed, "prepare.py") {
		out.note(champion.Line, "prepare.py is another one than at line %d: scores from before it changed may not compare", first.Line)
	}
	out.note(champion.Line, "trials get the files beside train.py as they are here; since line %d these changed: %s", first.Line, strings.Join(changed, ", "))
	return champion.commit, nil
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

// take makes one row a finished trial.
func (o *TakeOverOptions) take(ctx context.Context, row past, parent journal.Record) (journal.Record, error) {
	t := search.Trial{
		Proposal: search.Proposal{Strategy: search.Imported, Description: row.Description, Parent: parent.Trial.ID},
		Source:   row.source, Constants: row.constants, Changed: search.Changed(parent.Trial.Constants, row.constants),
		Seed: o.Config.Study.Seed, Budget: o.Config.Trial.Budget, StartedAt: time.Now().UTC(),
	}
	outcome := search.Outcome{Status: search.Crashed, Detail: "imported: the record says crash"}
	if row.Status != search.Crash {
		outcome = search.Outcome{Status: search.Completed, ValBPB: row.ValBPB, PeakVRAM: int64(row.MemoryGB * (1 << 30))}
	}
	outcome.Flags = []string{"imported from results.tsv, not measured by autoresearchd"}
	decision := search.Decision{Verdict: row.Status, Reason: "imported: decided by whoever ran it"}
	r := journal.Record{Result: search.Result{Trial: t, Outcome: outcome, Decision: decision}, Commit: row.commit}
	return r, o.write(ctx, &r, parent.Commit)
}

// write brings a trial to its end, from wherever an earlier call left it: rows
// come in the same order each time.
func (o *TakeOverOptions) write(ctx context.Context, r *journal.Record, parentCommit string) error {
	if parentCommit == "" {
		parentCommit = r.Commit
	}
	if len(o.there) > 0 {
		old := o.there[0]
		o.there = o.there[1:]
		if old.Trial.Proposal.Description != r.Trial.Proposal.Description || old.Stage.Reached(search.StageCommitted) && old.Commit != r.Commit {
			return fmt.Errorf("the state directory %s holds an import of other rows: name an empty one with --state", o.Config.Study.State)
		}
		// Begin repeats only what has the very same content.
		r.Trial.ID, r.Trial.StartedAt = old.Trial.ID, old.Trial.StartedAt
		if old.Stage.Reached(search.StageDone) {
			return nil
		}
	}
	id, err := o.Journal.Begin(r.Trial, parentCommit, 0)
	if err != nil {
		return err
	}
	r.Trial.ID = id
	for _, step := range []func() error{
		func() error { return o.Journal.End(id, r.Outcome) },
		func() error { return o.Journal.Decide(id, r.Decision) },
		func() error { return o.Repo.SetTrialRef(ctx, o.Tag, id, r.Commit, "") },
		func() error { return o.Journal.Commit(id, map[int64]string{id: r.Commit}) },
		func() error { return o.Journal.Recorded(id) },
		func() error { return o.Journal.Done(id) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
