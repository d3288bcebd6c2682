package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/faultpoint"
	"autoresearchd/daemon/journal"
	"autoresearchd/pyembed"
	"autoresearchd/search"
	"autoresearchd/search/constraint"
)

var (
	bundled = faultpoint.New("supervisor.bundle.after")
	ranOnce = faultpoint.New("supervisor.run.after")
	cleaned = faultpoint.New("supervisor.clean.after")
)

// Folder is where a trial's bundle lies under a state directory.
func Folder(state string, id int64) string {
	return filepath.Join(state, "trials", strconv.FormatInt(id, 10))
}

// errUnfit says that a proposal cannot be applied to its parent.
var errUnfit = errors.New("it does not fit its parent")

// admit turns a proposal into a trial: its full source, every constant
// resolved, its seed, and its folder, durably begun.
func (s *Supervisor) admit(ctx context.Context, p proposed) (search.Trial, error) {
	s.say("preparing the trial")
	source, parentCommit, before, err := s.parent(ctx, p.Parent)
	if err != nil {
		return search.Trial{}, err
	}
	constants := before
	if p.Source != nil {
		source = p.Source
		i, err := s.o.Trainer.Inspect(ctx, source)
		if err != nil {
			return search.Trial{}, err
		}
		if constants = i.Constants; i.Error != "" {
			return search.Trial{}, fmt.Errorf("proposal %q of %s: train.py: %s", p.Description, p.Strategy, i.Error)
		}
	}
	if source, err = search.Patch(source, constants, p.Values); err != nil {
		return search.Trial{}, fmt.Errorf("proposal %q of %s: %w: %w", p.Description, p.Strategy, errUnfit, err)
	}
	i, fault, err := Examine(ctx, s.o.Repo, s.o.Trainer.Inspect, s.study.BaseCommit, source, s.config.Trial.Budget)
	if err != nil {
		return search.Trial{}, err
	}
	if fault != "" {
		return search.Trial{}, fmt.Errorf("train.py cannot be a trial: %s", fault)
	}
	id, err := s.o.Journal.NextID()
	if err != nil {
		return search.Trial{}, err
	}
	t := search.Trial{
		ID: id, Proposal: p.Proposal, Source: source, Constants: i.Constants, Changed: search.Changed(before, i.Constants),
		Code: constraint.Skeleton(source, i.Constants),
		Seed: p.Seed, Budget: s.config.Trial.Budget, Device: s.o.Device, StartedAt: time.Now().UTC(),
	}
	if t.Seed == 0 {
		t.Seed = s.study.Seed
	}
	t.Audit = s.config.Judge.Audit && search.IsRerun(t)
	if p.checked {
		if t, err = s.worthIt(ctx, t, before, p.vetoed); err != nil {
			return t, err
		}
	}
	t.Proposal.Source = nil // the journal keeps the full one
	if t.Proposal.Ideas = nil; p.suggestion != 0 && len(p.Ideas) > 0 {
		t.Proposal.Ideas = []int64{p.suggestion}
	}
	if err := s.bundle(ctx, t, parentCommit); err != nil {
		return search.Trial{}, err
	}
	bundled.Hit()
	if err := s.o.Journal.Begin(t, parentCommit, p.suggestion); err != nil {
		return search.Trial{}, err
	}
	return t, nil
}

// errVetoed says that a trial is not worth the GPU.
var errVetoed = errors.New("vetoed")

// worthIt looks at a strategy's trial before it touches the GPU: one that
// repeats another or would not fit is vetoed, one that nearly fits is mended.
func (s *Supervisor) worthIt(ctx context.Context, t search.Trial, before []search.Constant, vetoed []search.Trial) (search.Trial, error) {
	s.mu.Lock()
	champion := s.champion
	s.mu.Unlock()
	h := s.history(champion)
	h.Pending = vetoed
	limits := s.config.Watchdog
	v := constraint.Check(h, t, constraint.Options{Memory: s.o.Memory, FirstStep: time.Duration(limits.Startup + limits.Compile).Seconds()})
	switch v.Action {
	case constraint.Veto:
		if len(vetoed) >= vetoes {
			if v.Like != 0 {
				return t, fmt.Errorf("strategy %s proposes only what has been tried: %q: %s", t.Proposal.Strategy, t.Proposal.Description, v.Reason)
			}
			return t, nil // what is believed of memory and time can be wrong: this one tests it
		}
		s.o.Log.Info("a proposal is vetoed", "strategy", t.Proposal.Strategy, "description", t.Proposal.Description, "reason", v.Reason)
		return t, errVetoed
	case constraint.Repair:
		s.o.Log.Info("a proposal is mended", "strategy", t.Proposal.Strategy, "description", t.Proposal.Description, "reason", v.Reason)
		source, err := search.Patch(t.Source, t.Constants, v.Values)
		if err != nil {
			return t, fmt.Errorf("mend proposal %q: %w", t.Proposal.Description, err)
		}
		i, err := s.o.Trainer.Inspect(ctx, source)
		if err != nil {
			return t, err
		}
		t.Proposal.Description += " (mended: " + search.Describe(t.Constants, i.Constants) + ")"
		t.Source, t.Constants, t.Changed = source, i.Constants, search.Changed(before, i.Constants)
	}
	return t, nil
}

// parent returns the source that a proposal starts from.
func (s *Supervisor) parent(ctx context.Context, id int64) (source []byte, commit string, constants []search.Constant, err error) {
	if id == 0 {
		source, err = s.o.Repo.ReadFile(ctx, s.study.BaseCommit, "train.py")
		if err != nil {
			return nil, "", nil, err
		}
		i, err := s.o.Trainer.Inspect(ctx, source)
		return source, s.study.BaseCommit, i.Constants, err
	}
	r, err := s.o.Journal.Trial(id)
	if err != nil {
		return nil, "", nil, fmt.Errorf("find the parent of a proposal: %w", err)
	}
	source, err = s.o.Journal.Source(id)
	return source, r.Commit, r.Trial.Constants, err
}

// bundle writes what reproduces a trial into its folder, and the working
// directory that it runs in, whose HEAD is the parent's commit.
func (s *Supervisor) bundle(ctx context.Context, t search.Trial, parent string) error {
	dir := Folder(s.config.Study.State, t.ID)
	work := filepath.Join(dir, "work")
	if err := os.RemoveAll(work); err != nil {
		return full(fmt.Errorf("empty the trial's folder: %w", err))
	}
	if err := s.o.Repo.Checkout(ctx, s.study.BaseCommit, parent, work, filepath.Join(s.config.Study.State, "files")); err != nil {
		return full(err)
	}
	constants := map[string]search.Value{}
	for _, c := range t.Constants {
		constants[c.Name] = c.Value
	}
	files := map[string]any{"constants.json": constants, "environment.json": s.environment(t)}
	for name, content := range files {
		data, err := json.MarshalIndent(content, "", "  ")
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(data, '\n'), 0o640); err != nil {
			return full(fmt.Errorf("write the trial's bundle: %w", err))
		}
	}
	for _, path := range []string{filepath.Join(dir, "train.py"), filepath.Join(work, "train.py")} {
		if err := os.WriteFile(path, t.Source, 0o640); err != nil {
			return full(fmt.Errorf("write the trial's bundle: %w", err))
		}
	}
	return attach(dir, t.Proposal.Attachments)
}

var missingFile = regexp.MustCompile(`(?:FileNotFoundError|NotADirectoryError).*: '([^'\n]+)'`)

// uncommitted explains a crash over a file that the workspace has and its
// commit does not; "" for all else.
func (s *Supervisor) uncommitted(detail string) string {
	m := missingFile.FindStringSubmatch(detail)
	if m == nil {
		return ""
	}
	name := m[1]
	if _, rest, ok := strings.Cut(name, string(filepath.Separator)+"work"+string(filepath.Separator)); ok && filepath.IsAbs(name) {
		name = rest
	}
	if !filepath.IsLocal(name) {
		return ""
	}
	if _, err := os.Stat(filepath.Join(s.study.Workspace, name)); err != nil {
		return ""
	}
	return fmt.Sprintf("\n%s lies in %s, but a trial has what its commit %.7s holds: commit it, or keep data where prepare.py has its CACHE_DIR", name, s.study.Workspace, s.study.BaseCommit)
}

// environment is what a trial ran with, for whoever repeats it.
func (s *Supervisor) environment(t search.Trial) map[string]any {
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	var packages []string
	python := s.config.Python()
	dists, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(python)), "lib", "python*", "site-packages", "*.dist-info"))
	for _, d := range dists {
		packages = append(packages, strings.Replace(strings.TrimSuffix(filepath.Base(d), ".dist-info"), "-", "==", 1))
	}
	sort.Strings(packages)
	return map[string]any{
		"base_commit": s.study.BaseCommit, "seed": t.Seed, "budget": t.Budget, "device": t.Device, "embedded_python": pyembed.Version(),
		"interpreter": python, "kernel": unix.ByteSliceToString(uts.Release[:]), "architecture": runtime.GOARCH, "cpus": runtime.NumCPU(), "packages": packages,
	}
}

// full marks an error of a full disk, git's in words too, as the journal's, so
// that the loop waits for room in the same way.
func full(err error) error {
	if err == nil || errors.Is(err, journal.ErrDiskFull) {
		return err
	}
	words := err.Error()
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) ||
		strings.Contains(words, "No space left on device") || strings.Contains(words, "Disk quota exceeded") {
		return fmt.Errorf("%w: %w", journal.ErrDiskFull, err)
	}
	return err
}

// suggested turns a person's suggestion into a proposal.
func (s *Supervisor) suggested(g journal.Suggestion, champion *journal.Record) search.Proposal {
	return search.Proposal{
		Strategy: "suggestion", Description: "suggested: " + describe(champion.Trial.Constants, g.Values),
		Parent: champion.Trial.ID, Values: g.Values,
	}
}

// describe says in one line what a suggestion changes.
func describe(from []search.Constant, values map[string]search.Value) string {
	to := append([]search.Constant(nil), from...)
	for i, c := range to {
		if v, ok := values[c.Name]; ok {
			to[i].Value = v
		}
	}
	return search.Describe(from, to)
}
