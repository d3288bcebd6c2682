package study

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

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/durable"
	"autoresearchd/daemon/faultpoint"
	"autoresearchd/daemon/journal"
	"autoresearchd/pyembed"
	"autoresearchd/search"
)

var (
	parted  = faultpoint.New("study.bundle.part")
	bundled = faultpoint.New("study.bundle.after")
	placed  = faultpoint.New("study.place.after")
)

// Folder is where a trial's bundle lies under a state directory.
func Folder(state string, id int64) string {
	return filepath.Join(state, "trials", strconv.FormatInt(id, 10))
}

// Notary is the folder of the notary in a state directory.
const Notary = "notary"

// next is where the bundle of the next trial is made, before the trial begins
// and has an id: whatever can go wrong there leaves no trial behind.
func (s *Study) next() string {
	return filepath.Join(s.o.Config.Study.State, "trials", ".next")
}

func (s *Study) folder(id int64) string { return Folder(s.o.Config.Study.State, id) }

// Begin durably begins a trial that has no id yet, and returns it with the one
// that it gets. Its bundle and working directory, whose HEAD is the parent's
// commit, lie in its folder then. suggestion is the one that it takes, 0 for none.
// Where an error comes with an id, the trial has begun and cannot run.
func (s *Study) Begin(ctx context.Context, t search.Trial, parentCommit string, suggestion int64) (search.Trial, error) {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	var err error
	if t.Candidate = search.CandidateOf(s.History(), t); t.Candidate != 0 {
		first, err := s.o.Journal.Trial(t.Candidate)
		if err != nil {
			return t, err
		}
		parentCommit = first.ParentCommit // one candidate stands on one commit
	}
	err = s.bundle(ctx, t, parentCommit)
	if err == nil {
		bundled.Hit()
		t.ID, err = s.o.Journal.Begin(t, parentCommit, suggestion)
	}
	if err != nil {
		_ = os.RemoveAll(s.next()) // the disk may be full
		return t, err
	}
	if t.Candidate == 0 {
		t.Candidate = t.ID
	}
	light := t
	light.Source = nil
	s.mu.Lock()
	s.pending = append(s.pending, light)
	s.mu.Unlock()
	return t, s.place(t.ID)
}

// place gives the bundle that was made last to the trial that has begun with it.
func (s *Study) place(id int64) error {
	err := errors.Join(os.RemoveAll(s.folder(id)), os.Rename(s.next(), s.folder(id)))
	if err == nil {
		err = durable.Names(s.o.Config.Study.State, s.folder(id))
	}
	if err != nil {
		return Disk(fmt.Errorf("give trial %d its folder: %w", id, err))
	}
	placed.Hit()
	return nil
}

// replace does it where the daemon was killed between the two: no other than the
// trial that began last can have the bundle. Else that is of no trial, and goes.
func (s *Study) replace(unfinished []journal.Record) error {
	for _, r := range unfinished {
		_, err := os.Stat(s.folder(r.Trial.ID))
		if _, whole := os.Stat(filepath.Join(s.next(), "train.py")); err != nil && whole == nil && r.Stage == search.StageBegun {
			return s.place(r.Trial.ID)
		}
	}
	return os.RemoveAll(s.next())
}

// bundle writes what reproduces a trial, and the working directory that it runs in.
func (s *Study) bundle(ctx context.Context, t search.Trial, parent string) error {
	dir := s.next()
	work := filepath.Join(dir, "work")
	if err := s.o.Repo.Checkout(ctx, s.about.BaseCommit, parent, work, filepath.Join(s.o.Config.Study.State, "files")); err != nil {
		return Disk(err)
	}
	constants, err := constantsOf(t)
	if err != nil {
		return err
	}
	environment, err := encode(s.environment(t))
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"constants.json": constants, "environment.json": environment} {
		if err := durable.Write(filepath.Join(dir, name), data, 0o640); err != nil {
			return Disk(fmt.Errorf("write the trial's bundle: %w", err))
		}
	}
	if err := attach(dir, t.Proposal.Attachments); err != nil {
		return err
	}
	parted.Hit()
	err = os.WriteFile(filepath.Join(work, "train.py"), t.Source, 0o640) // gone after a power loss, as its trial is
	if err == nil {
		err = durable.Write(filepath.Join(dir, "train.py"), t.Source, 0o640) // the last: it says that the bundle is whole
	}
	if err == nil {
		err = errors.Join(durable.Dir(dir), durable.Names(s.o.Config.Study.State, dir))
	}
	if err != nil {
		return Disk(fmt.Errorf("write the trial's bundle: %w", err))
	}
	return nil
}

// constantsOf is a bundle's constants.json.
func constantsOf(t search.Trial) ([]byte, error) {
	constants := map[string]search.Value{}
	for _, c := range t.Constants {
		constants[c.Name] = c.Value
	}
	return encode(constants)
}

func encode(content any) ([]byte, error) {
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the trial's bundle: %w", err)
	}
	return append(data, '\n'), nil
}

// attach keeps a proposal's files with its trial.
func attach(dir string, all []search.Attachment) error {
	for _, a := range all {
		if a.Name != filepath.Base(a.Name) || a.Name == "." || a.Name == ".." {
			return fmt.Errorf("keep a file with the trial: %q is not the name of a file", a.Name)
		}
		if err := durable.Write(filepath.Join(dir, a.Name), a.Data, 0o640); err != nil {
			return Disk(fmt.Errorf("keep a file with the trial: %w", err))
		}
	}
	return nil
}

var missingFile = regexp.MustCompile(`(?:FileNotFoundError|NotADirectoryError).*: '([^'\n]+)'`)

// Uncommitted explains a crash over a file that the workspace has and its
// commit does not; "" for all else.
func (s *Study) Uncommitted(detail string) string {
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
	if _, err := os.Stat(filepath.Join(s.about.Workspace, name)); err != nil {
		return ""
	}
	return fmt.Sprintf("\n%s lies in %s, but a trial has what its commit %.7s holds: commit it, or keep data where prepare.py has its CACHE_DIR", name, s.about.Workspace, s.about.BaseCommit)
}

// environment is what a trial ran with, for whoever repeats it.
func (s *Study) environment(t search.Trial) map[string]any {
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	var packages []string
	python := s.o.Config.Python()
	dists, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(python)), "lib", "python*", "site-packages", "*.dist-info"))
	for _, d := range dists {
		packages = append(packages, strings.Replace(strings.TrimSuffix(filepath.Base(d), ".dist-info"), "-", "==", 1))
	}
	sort.Strings(packages)
	return map[string]any{
		"base_commit": s.about.BaseCommit, "seed": t.Seed, "budget": t.Budget, "device": t.Device, "embedded_python": pyembed.Version(),
		"interpreter": python, "kernel": unix.ByteSliceToString(uts.Release[:]), "architecture": runtime.GOARCH, "cpus": runtime.NumCPU(), "packages": packages,
	}
}
