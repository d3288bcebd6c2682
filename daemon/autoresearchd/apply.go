package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"autoresearchd/daemon/change"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// applied is what --apply did.
type applied struct {
	File  string   `json:"file"`
	How   string   `json:"how"` // "written", "merged"; "there" or "uncommitted" where it had it already
	Known int64    `json:"known,omitempty"`
	Notes []string `json:"notes,omitempty"`

	dir, message string
}

// apply writes the champion's train.py into a git work tree.
func (g *globals) apply(ctx context.Context, about journal.Study, state string, changes *change.Study, dir string) (*applied, error) {
	best := changes.Champion.ID
	out := &applied{How: "written", message: fmt.Sprintf("take candidate %d of autoresearch/%s: val_bpb %.6f -> %.6f", best, about.Tag, score(changes.Baseline), score(changes.Champion))}
	repo, err := lineage.Open(ctx, dir)
	if errors.Is(err, lineage.ErrDirty) {
		p, e := changes.Program(best)
		if have, missing := os.ReadFile(filepath.Join(dir, "train.py")); e == nil && missing == nil && bytes.Equal(have, p.Source) {
			out.File, out.How, out.dir = filepath.Join(dir, "train.py"), "uncommitted", dir
			return out, nil
		}
		err = fmt.Errorf("nothing is written over uncommitted work: %w", err)
	}
	if err != nil {
		return nil, err
	}
	out.File, out.dir = filepath.Join(repo.Workspace(), "train.py"), repo.Workspace()
	home, lost := g.workspace(ctx, about) // a record may be all that is left
	if lost == nil && home.GitDir() == repo.GitDir() {
		// A commit there would move the branch under the study.
		if own, err := repo.CheckedOut(ctx, about.Tag); err != nil {
			return nil, err
		} else if own {
			return nil, fmt.Errorf("%s has the study's own branch autoresearch/%s checked out, which stands at the champion: `git -C %s checkout HEAD -- train.py` brings its train.py", repo.Workspace(), about.Tag, lineage.Quote(repo.Workspace()))
		}
	}
	inspect, end, err := g.inspect(ctx, nil, about)
	if err != nil {
		return nil, err
	}
	defer end()
	have, err := os.ReadFile(out.File)
	if err != nil {
		return nil, err
	}
	source, known, err := changes.Into(ctx, inspect, have, best)
	var conflict change.Conflict
	if errors.As(err, &conflict) {
		diff := fmt.Sprintf("`%s diff %d best > champion.diff`", g.line(state), changes.Baseline.ID)
		return nil, fmt.Errorf("%s is neither the baseline's nor that of an ancestor of the champion, and the champion's change does not apply to it cleanly (%w): take it by hand with %s and `patch %s champion.diff`", out.File, conflict, diff, lineage.Quote(out.File))
	}
	if err != nil {
		return nil, err
	}
	out.Known = known
	switch {
	case string(source) == string(have):
		out.How = "there"
		return out, nil
	case known == 0:
		out.How = "merged"
		out.Notes = append(out.Notes, "its train.py is none of the study's: the champion's change was made in it, and no trial has run the two together")
	}
	if lost == nil {
		theirs, err := home.ReadFile(ctx, about.BaseCommit, "prepare.py")
		if err != nil {
			return nil, err
		}
		if own, err := os.ReadFile(filepath.Join(out.dir, "prepare.py")); err == nil && strings.ReplaceAll(string(own), "\r\n", "\n") != strings.ReplaceAll(string(theirs), "\r\n", "\n") {
			out.Notes = append(out.Notes, "its prepare.py is not the study's, so scores may not compare")
		}
	}
	return out, replace(out.File, source)
}

// replace writes a file anew, whole or not at all.
func replace(path string, content []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".train.py-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if own, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(own.Uid), int(own.Gid)) // where root writes into another's tree
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

func (a *applied) print(w io.Writer, b champion) {
	say := func(format string, args ...any) { fmt.Fprintln(w, fold(w, fmt.Sprintf(format, args...), "  ")) }
	commit := func() {
		fmt.Fprintf(w, "next: git -C %s commit -m %s -- train.py\n", lineage.Quote(a.dir), lineage.Quote(a.message))
	}
	switch a.How {
	case "there":
		say("%s is the champion's already: nothing was written", a.File)
		return
	case "uncommitted":
		say("%s is the champion's already, and not committed: nothing was written", a.File)
		commit()
		return
	}
	was := "its own train.py with the champion's change"
	switch {
	case a.Known == b.Baseline.ID:
		was = "the champion's, in place of the baseline's"
	case a.Known != 0:
		was = fmt.Sprintf("the champion's, in place of candidate %d's", a.Known)
	}
	say("wrote %s: %s (candidate %d, %.7s, val_bpb %.6f, %s); no other file has changed", a.File, was, b.ID, b.Commit, b.ValBPB, meanOf(b.Runs))
	for _, note := range a.Notes {
		say("note: %s", note)
	}
	commit()
}

func score(c *search.Candidate) float64 {
	bpb, _ := c.Score()
	return bpb
}

// inspect reads sources in a trainer of its own, until end is called. With a
// repository it says too what else would keep one from being a trial.
func (g *globals) inspect(ctx context.Context, repo *lineage.Repo, about journal.Study) (read change.Inspect, end func(), err error) {
	python, err := basePython()
	if err != nil {
		return nil, nil, err
	}
	p, err := trainer.NewProcess(trainer.Options{Python: python, Owner: "autoresearchd:inspect"})
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, source []byte) ([]search.Constant, string, error) {
		if repo != nil {
			i, fault, err := study.Examine(ctx, repo, p.Inspect, about.BaseCommit, source, about.Budget)
			return i.Constants, fault, err
		}
		i, err := p.Inspect(ctx, source)
		return i.Constants, i.Error, err
	}, func() { p.Close() }, nil
}
