package study

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/writable"
	"autoresearchd/search"
)

// Plan is the study that a daemon begins, or goes on with, when it starts now.
type Plan struct {
	Study journal.Study // tag and base commit; all of it where the journal has it
	Begun bool          // the journal has it
	Next  int64         // the first trial that git is to keep yet
	Notes []string      // what a person would want to know of the choice
}

// Known is what Foresee reads of a journal.
type Known interface {
	Study() (journal.Study, bool, error)
	Trials() ([]journal.Record, error)
}

// Foresee says what a start would do, and refuses what the end of a trial would
// find out: refs of another study, or a branch that somebody moved. It writes
// nothing. past is nil where the state directory has no journal yet.
func Foresee(ctx context.Context, c *config.Config, repo *lineage.Repo, past Known, now time.Time) (Plan, error) {
	p := Plan{Next: 1}
	var err error
	if past != nil {
		if p.Study, p.Begun, err = past.Study(); err != nil {
			return p, err
		}
	}
	if p.Begun {
		if err = p.fits(c); err == nil {
			err = p.elsewhere(ctx, c, repo, past)
		}
		if err == nil {
			err = p.goOn(ctx, repo, past)
		}
	} else {
		err = p.begin(ctx, c, repo, now)
	}
	if err == nil {
		err = repo.Blocked(ctx, p.Study.Tag, p.Next)
	}
	return p, refusal(err)
}

// Prove shows by trying that git can keep the plan's next trial; nothing stays.
func (p Plan) Prove(ctx context.Context, repo *lineage.Repo) error {
	return refusal(Disk(repo.Prove(ctx, p.Study.Tag, p.Next)))
}

var errTaken = errors.New("the tag is in use")

// refusal marks what a person must mend before the study can begin.
func refusal(err error) error {
	for _, kind := range []error{errTaken, lineage.ErrBlocked, lineage.ErrDirty, lineage.ErrMoved, writable.ErrDenied} {
		if errors.Is(err, kind) {
			return Refusal{err}
		}
	}
	return err
}

// begin chooses the tag and the base of a study that is new.
func (p *Plan) begin(ctx context.Context, c *config.Config, repo *lineage.Repo, now time.Time) error {
	head, err := repo.Head(ctx)
	if err != nil {
		return err
	}
	first := c.Tag(now)
	p.Study.Tag, p.Study.BaseCommit = first, head
	if err := lineage.CheckTag(first); err != nil {
		return err
	}
	if c.Study.Tag == "" {
		if p.Study.Tag, err = free(ctx, repo, first); err == nil && p.Study.Tag != first {
			p.Notes = append(p.Notes, fmt.Sprintf("the tag %s is used in %s already, so this study is %s: set study.tag to choose another%s", first, repo.Workspace(), p.Study.Tag, imports(repo, first)))
		}
		return err
	}
	used, err := repo.TrialRefs(ctx, first)
	if err != nil {
		return err
	}
	if used > 0 {
		return p.taken(ctx, c, repo, used)
	}
	tip, err := repo.BranchTip(ctx, first)
	if err != nil || tip == "" || tip == head {
		return err
	}
	p.Study.BaseCommit = tip
	p.Notes = append(p.Notes, fmt.Sprintf("the branch autoresearch/%s is there already: this study begins at its tip %.7s, not at the work tree's commit %.7s%s", first, tip, head, imports(repo, first)))
	return nil
}

// taken refuses a tag that was asked for and that an earlier study has.
func (p *Plan) taken(ctx context.Context, c *config.Config, repo *lineage.Repo, used int) error {
	tag, work := p.Study.Tag, lineage.Quote(repo.Workspace())
	other, err := free(ctx, repo, tag)
	if err != nil {
		return err
	}
	detach := ""
	if here, err := repo.CheckedOut(ctx, tag); err == nil && here {
		detach = fmt.Sprintf("git -C %s checkout -q --detach && ", work)
	}
	ref, branch := lineage.Quote("refs/autoresearch/"+tag), lineage.Quote("refs/heads/autoresearch/"+tag)
	return fmt.Errorf("study.tag %q is that of an earlier study (%w): %s has %d of its trials, and the state directory %s is new: "+
		"choose another tag (study.tag or --tag, such as %s); or name that study's own state directory (study.state or --state) to continue it%s; "+
		"or delete what git keeps of it with `%sgit -C %s for-each-ref --format='delete %%(refname)' %s %s | git -C %s update-ref --stdin`",
		tag, errTaken, repo.Workspace(), used, c.Study.State, other, imports(repo, tag), detach, work, ref, branch, work)
}

// imports offers to take over what somebody else's loop left behind.
func imports(repo *lineage.Repo, tag string) string {
	if _, err := os.Stat(filepath.Join(repo.Workspace(), "results.tsv")); err != nil {
		return ""
	}
	return fmt.Sprintf("; `autoresearchd import --tag %s %s` takes over what its results.tsv says was tried", lineage.Quote(tag), lineage.Quote(repo.Workspace()))
}

// free returns the first of tag, tag-2, tag-3, … that no study has. A branch
// that stands at HEAD and is checked out was made for a study to begin on.
func free(ctx context.Context, repo *lineage.Repo, first string) (string, error) {
	for n := 1; ; n++ {
		tag := first
		if n > 1 {
			tag = fmt.Sprintf("%s-%d", first, n)
		}
		used, err := repo.TrialRefs(ctx, tag)
		if err != nil {
			return "", err
		}
		tip, err := repo.BranchTip(ctx, tag)
		if err != nil {
			return "", err
		}
		here, err := repo.CheckedOut(ctx, tag)
		if err != nil {
			return "", err
		}
		if used == 0 && (tip == "" || here) {
			return tag, nil
		}
	}
}

// goOn looks whether git still has what the journal says, and no more.
func (p *Plan) goOn(ctx context.Context, repo *lineage.Repo, past Known) error {
	records, err := past.Trials()
	if err != nil {
		return err
	}
	expected := ""
	for _, r := range records {
		if !r.Stage.Reached(search.StageCommitted) {
			p.Next = r.Trial.ID
			return nil // to finish it comes before any new trial
		}
		if r.Decision.Verdict == search.Keep {
			expected = r.Commit
		}
		p.Next = max(p.Next, r.Trial.ID+1)
	}
	tag := p.Study.Tag
	if err := repo.Stands(ctx, tag, expected, p.Study.BaseCommit); err != nil {
		return err
	}
	commit, err := repo.TrialCommit(ctx, tag, p.Next)
	if err != nil || commit == "" {
		return err
	}
	work := lineage.Quote(repo.Workspace())
	return fmt.Errorf("the journal ends before trial %d of study %s, which %s has already, at %.7s (%w): name the state directory that knows it; or, if this one is a backup and later trials are not wanted, delete the ref with `git -C %s update-ref -d %s`, and those after it",
		p.Next, tag, repo.Workspace(), commit, lineage.ErrMoved, work, lineage.Quote(fmt.Sprintf("refs/autoresearch/%s/trial/%d", tag, p.Next)))
}

// fits refuses a configuration that is another study's.
func (p *Plan) fits(c *config.Config) error {
	if c.Study.Tag != "" && c.Study.Tag != p.Study.Tag {
		return Refusal{fmt.Errorf("the state directory %s holds study %q, but study.tag is %q: give the new study a state directory of its own, or set study.tag back", c.Study.State, p.Study.Tag, c.Study.Tag)}
	}
	if p.Study.Budget != c.Trial.Budget {
		return Refusal{fmt.Errorf("the study in %s has trials of %s, but trial.budget is %s: scores of different budgets cannot be compared; give the new study a state directory of its own, or set trial.budget back",
			c.Study.State, budgetText(p.Study.Budget), budgetText(c.Trial.Budget))}
	}
	return nil
}

func budgetText(b search.Budget) string {
	if b.Steps > 0 {
		return fmt.Sprintf("%d steps", b.Steps)
	}
	return fmt.Sprintf("%gs", b.Seconds)
}
