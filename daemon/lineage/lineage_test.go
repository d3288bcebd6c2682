package lineage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"autoresearchd/daemon/faultpoint"
	"autoresearchd/search"
)

// TestMain also runs the child that is killed.
func TestMain(m *testing.M) {
	if os.Getenv("LINEAGE_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	if err := record(os.Getenv("LINEAGE_TEST_WORK"), os.Getenv("LINEAGE_TEST_RESULTS")); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

var (
	ctx  = context.Background()
	when = time.Date(2026, 11, 23, 9, 0, 0, 5, time.FixedZone("x", 3600))
)

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always", "GIT_CONFIG_KEY_1=init.defaultBranch", "GIT_CONFIG_VALUE_1=master",
		"GIT_AUTHOR_NAME=u", "GIT_AUTHOR_EMAIL=u@u", "GIT_COMMITTER_NAME=u", "GIT_COMMITTER_EMAIL=u@u")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func workspace(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	dir = filepath.Join(dir, "work space")
	must(t, os.Mkdir(dir, 0o755))
	git(t, dir, "init", "-q")
	put(t, dir, "train.py", "LR = 0.04\r\n")
	put(t, dir, "prepare.py", "pass\n")
	put(t, dir, "program.md", "# go\n")
	put(t, dir, "lib/util.py", "x = 1\n")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-q", "-m", "start")
	return dir
}

func open(t *testing.T, dir string) *Repo {
	t.Helper()
	r, err := Open(ctx, dir)
	must(t, err)
	return r
}

func head(t *testing.T, r *Repo) string {
	t.Helper()
	h, err := r.Head(ctx)
	must(t, err)
	return h
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string) string // returns the path to open
		want  string                                // after "open workspace PATH: "
		is    error
	}{
		{"missing", func(t *testing.T, dir string) string { return dir + "/nowhere" },
			"no such directory: run `autoresearchd init`, or set [study] workspace", nil},
		{"file", func(t *testing.T, dir string) string { return dir + "/train.py" },
			"is not a directory: set [study] workspace to a git work tree with train.py, prepare.py and program.md", nil},
		{"plain directory", func(t *testing.T, dir string) string { must(t, os.RemoveAll(dir+"/.git")); return dir },
			"is not a git work tree: run `autoresearchd init` or `git init` and commit train.py, prepare.py and program.md", ErrNotWorkTree},
		{"inside another tree", func(t *testing.T, dir string) string { return dir + "/lib" },
			"is not a git work tree: run `autoresearchd init` or `git init` and commit train.py, prepare.py and program.md", ErrNotWorkTree},
		{"bare", func(t *testing.T, dir string) string { git(t, dir, "config", "core.bare", "true"); return dir },
			"is not a git work tree: run `autoresearchd init` or `git init` and commit train.py, prepare.py and program.md", ErrNotWorkTree},
		{"elsewhere", func(t *testing.T, dir string) string { git(t, dir, "config", "core.worktree", "/tmp"); return dir },
			"is not a git work tree: run `autoresearchd init` or `git init` and commit train.py, prepare.py and program.md", ErrNotWorkTree},
		{"no commit", func(t *testing.T, dir string) string {
			must(t, os.RemoveAll(dir+"/.git"))
			git(t, dir, "init", "-q")
			return dir
		}, "has no commit yet: run `git add train.py prepare.py program.md` and `git commit` there", nil},
		{"untracked", func(t *testing.T, dir string) string {
			git(t, dir, "rm", "-q", "--cached", "train.py")
			git(t, dir, "commit", "-q", "-m", "x")
			return dir
		}, "train.py is not committed: run `git add train.py` and `git commit` there", nil},
		{"never there", func(t *testing.T, dir string) string {
			git(t, dir, "rm", "-q", "prepare.py")
			git(t, dir, "commit", "-q", "-m", "x")
			return dir
		}, "prepare.py is missing: add and commit it, or run `autoresearchd init` for a new workspace", nil},
		{"deleted", func(t *testing.T, dir string) string { must(t, os.Remove(dir+"/train.py")); return dir },
			"train.py is missing from the work tree (uncommitted change): restore it with `git checkout -- train.py`", ErrDirty},
		{"dirty", func(t *testing.T, dir string) string { put(t, dir, "train.py", "LR = 0.05\n"); return dir },
			"train.py differs from the last commit (uncommitted change): commit it, or restore it with `git checkout -- train.py`", ErrDirty},
		{"staged", func(t *testing.T, dir string) string {
			put(t, dir, "prepare.py", "fail\n")
			git(t, dir, "add", "prepare.py")
			return dir
		}, "prepare.py differs from the last commit (uncommitted change): commit it, or restore it with `git checkout -- prepare.py`", ErrDirty},
		{"link", func(t *testing.T, dir string) string {
			must(t, os.Rename(dir+"/train.py", dir+"/other.py"))
			must(t, os.Symlink("other.py", dir+"/train.py"))
			return dir
		}, "train.py is not a regular file (uncommitted change): restore it with `git checkout -- train.py`", ErrDirty},
		{"committed link", func(t *testing.T, dir string) string {
			must(t, os.Remove(dir+"/train.py"))
			must(t, os.Symlink("prepare.py", dir+"/train.py"))
			git(t, dir, "commit", "-qam", "x")
			return dir
		}, "train.py is not a regular file in the last commit: commit the file itself", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := c.spoil(t, workspace(t))
			_, err := Open(ctx, path)
			if want := "open workspace " + path + ": " + c.want; fmt.Sprint(err) != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
		})
	}
}

func TestOpenAccepts(t *testing.T) {
	dir := workspace(t)
	put(t, dir, "notes.txt", "untracked")
	put(t, dir, "program.md", "edited")
	put(t, dir, ".git/index.lock", "") // a stale one: we never use the index
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	r := open(t, link)
	if r.Workspace() != dir {
		t.Errorf("workspace %s", r.Workspace())
	}
	// The daemon's environment does not lead git elsewhere.
	t.Setenv("GIT_DIR", "/nonexistent")
	t.Setenv("GIT_INDEX_FILE", "/nonexistent")
	head(t, open(t, dir))
}

func TestOpenInLinkedWorkTree(t *testing.T) {
	dir := workspace(t)
	second := filepath.Join(filepath.Dir(dir), "second")
	git(t, dir, "worktree", "add", "-q", second)
	r := open(t, second)
	base := head(t, r)
	must(t, r.AdvanceChampion(ctx, "t", base, ""))
	if tip, err := open(t, dir).BranchTip(ctx, "t"); err != nil || tip != base {
		t.Errorf("tip seen from the first work tree: %q %v", tip, err)
	}
}

func TestCommitTrial(t *testing.T) {
	dir := workspace(t)
	must(t, os.Chmod(dir+"/train.py", 0o755))
	must(t, os.Symlink("/etc/passwd", dir+"/link.py"))
	put(t, dir, "zz", "last\n")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-qm", "more")
	r := open(t, dir)
	base := head(t, r)
	status := git(t, dir, "status", "--porcelain")
	source := []byte("LR = 0.08\r\n\x00tail without newline")
	message := Message("raise\tLR\nand\x1b[31m more", "strategy: random\nseed: 7\x07")
	commit, err := r.CommitTrial(ctx, base, base, source, message, when)
	must(t, err)
	again, err := open(t, dir).CommitTrial(ctx, base, base, source, message, when)
	must(t, err)
	if commit != again {
		t.Errorf("the same trial was stored as %s and %s", commit, again)
	}
	if got, err := r.ReadFile(ctx, commit, "train.py"); err != nil || !bytes.Equal(got, source) {
		t.Errorf("train.py: %q %v", got, err)
	}
	if got := git(t, dir, "diff", "--name-status", base, commit); got != "M\ttrain.py" {
		t.Errorf("the commit changes %s", got)
	}
	if got, want := git(t, dir, "cat-file", "commit", commit), strings.Join([]string{
		"tree " + git(t, dir, "rev-parse", commit+"^{tree}"), "parent " + base,
		"author autoresearchd <autoresearchd@localhost> 1795420800 +0000",
		"committer autoresearchd <autoresearchd@localhost> 1795420800 +0000", "",
		`raise\tLR\nand\x1b[31m more`, "", "strategy: random", `seed: 7\x07`,
	}, "\n"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := git(t, dir, "ls-tree", commit, "train.py"); !strings.HasPrefix(got, "100755 ") {
		t.Errorf("mode: %s", got)
	}
	// A child of the trial keeps the base's other files.
	second, err := r.CommitTrial(ctx, base, commit, []byte("LR = 1\n"), Message("", ""), when)
	must(t, err)
	if got := git(t, dir, "log", "--format=%s|%P", second, "-1"); got != "no description|"+commit {
		t.Errorf("second: %s", got)
	}
	if got := git(t, dir, "status", "--porcelain"); got != status {
		t.Errorf("the work tree or index changed: %q, was %q", got, status)
	}
	git(t, dir, "fsck", "--strict")

	for _, bad := range []string{"", "HEAD", "-x", strings.Repeat("0", 40), base[:39] + "G"} {
		if _, err := r.CommitTrial(ctx, bad, base, source, "m", when); err == nil {
			t.Errorf("base %q was taken", bad)
		}
		if _, err := r.CommitTrial(ctx, base, bad, source, "m", when); err == nil {
			t.Errorf("parent %q was taken", bad)
		}
	}
}

func TestReadFiles(t *testing.T) {
	dir := workspace(t)
	must(t, os.Symlink("/etc/passwd", dir+"/link.py"))
	must(t, os.Symlink("/tmp", dir+"/away"))
	put(t, dir, "-odd name\t.py", "odd\n")
	put(t, dir, ".gitattributes", "*.py text eol=crlf ident\n")
	put(t, dir, "train.py", "LR = 0.04\n")
	put(t, dir, "lib/util.py", "x = 1 # $Id$\n")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-qm", "more")
	r := open(t, dir)
	base := head(t, r)
	files, err := r.Files(ctx, base)
	if got, want := strings.Join(files, "|"), "-odd name\t.py|lib/util.py|prepare.py|train.py"; err != nil || got != want {
		t.Errorf("got %q, want %q, %v", got, want, err)
	}
	for _, name := range []string{"nope.py", "link.py", "lib", "away/x"} {
		if _, err := r.ReadFile(ctx, base, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "/etc/passwd", "../x", "./train.py", ".", "lib/../train.py"} {
		if _, err := r.ReadFile(ctx, base, name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}

	// A link that stands where a file goes is replaced, and one that leads out is not followed.
	out, trap := t.TempDir(), t.TempDir()
	must(t, os.Symlink(trap+"/caught", out+"/prepare.py"))
	must(t, r.Export(ctx, base, out, ""))
	if got := listing(t, out); got != "-odd name\t.py .gitattributes lib lib/util.py prepare.py program.md train.py" {
		t.Errorf("exported %s", got)
	}
	if got, err := os.ReadFile(out + "/lib/util.py"); err != nil || string(got) != "x = 1 # $Id$\n" {
		t.Errorf("attributes were applied: %q %v", got, err)
	}
	if got := listing(t, trap); got != "" {
		t.Errorf("followed a link out: %s", got)
	}
	must(t, os.RemoveAll(out+"/lib"))
	must(t, os.Symlink(trap, out+"/lib"))
	if err := r.Export(ctx, base, out, ""); err == nil || listing(t, trap) != "" {
		t.Errorf("wrote outside: %v", err)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); rel != "." {
			names = append(names, rel)
		}
		return err
	}))
	return strings.Join(names, " ")
}

func TestRefs(t *testing.T) {
	dir := workspace(t)
	r := open(t, dir)
	base := head(t, r)
	one, err := r.CommitTrial(ctx, base, base, []byte("1"), "1", when)
	must(t, err)
	two, err := r.CommitTrial(ctx, base, one, []byte("2"), "2", when)
	must(t, err)
	if tip, err := r.BranchTip(ctx, "t"); tip != "" || err != nil {
		t.Fatalf("tip before: %q %v", tip, err)
	}
	must(t, r.AdvanceChampion(ctx, "t", base, ""))
	must(t, r.AdvanceChampion(ctx, "t", base, ""))
	must(t, r.AdvanceChampion(ctx, "t", one, base))
	must(t, r.AdvanceChampion(ctx, "t", one, base))
	ref := "refs/heads/autoresearch/t"
	for _, c := range []struct{ new, old, want string }{
		{two, base, "move autoresearch/t from " + base + " to " + two + ": it stands at " + one + " (ref moved by somebody else): keep that commit under another branch if it is wanted, restore this one with `git update-ref " + ref + " " + base + "`, then start again"},
		{two, "", "move autoresearch/t to " + two + ": it exists already, at " + one + " (ref moved by somebody else): choose another tag, or delete it with `git update-ref -d " + ref + "`"},
	} {
		err := r.AdvanceChampion(ctx, "t", c.new, c.old)
		if !errors.Is(err, ErrMoved) || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	git(t, dir, "update-ref", "-d", ref)
	err = r.AdvanceChampion(ctx, "t", two, one)
	if want := "move autoresearch/t from " + one + " to " + two + ": it was deleted (ref moved by somebody else): restore it with `git update-ref " + ref + " " + one + "`, then start again"; fmt.Sprint(err) != want || !errors.Is(err, ErrMoved) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	must(t, r.SetTrialRef(ctx, "t", 7, one, ""))
	must(t, r.SetTrialRef(ctx, "t", 7, one, ""))
	must(t, r.SetTrialRef(ctx, "t", 9, one, ""))
	must(t, r.SetTrialRef(ctx, "t", 9, two, one))
	must(t, r.SetTrialRef(ctx, "t", 9, two, one))
	if err := r.SetTrialRef(ctx, "t", 7, two, ""); !errors.Is(err, ErrMoved) {
		t.Errorf("a trial's ref was moved: %v", err)
	}
	if got, err := r.TrialCommit(ctx, "t", 7); err != nil || got != one {
		t.Errorf("trial's commit: %q %v", got, err)
	}
	if got, err := r.Resolve(ctx, one[:9]); err != nil || got != one {
		t.Errorf("resolve: %q %v", got, err)
	}
	if _, err := r.Resolve(ctx, "HEAD~1"); err == nil {
		t.Error("resolved an expression")
	}
	if got := git(t, dir, "for-each-ref", "--format=%(refname)"); got != "refs/autoresearch/t/trial/7\nrefs/autoresearch/t/trial/9\nrefs/heads/master" {
		t.Errorf("refs: %s", got)
	}

	// A symbolic ref in the branch's place must not carry the move elsewhere.
	git(t, dir, "symbolic-ref", ref, "refs/heads/master")
	must(t, r.AdvanceChampion(ctx, "t", one, base))
	if got := git(t, dir, "rev-parse", "refs/heads/master"); got != base {
		t.Errorf("master was moved to %s", got)
	}
}

// Upstream's way: the study's branch is checked out. The branch moves, the
// files stay, and the next start must not call them dirty.
func TestCheckedOutBranch(t *testing.T) {
	dir := workspace(t)
	r := open(t, dir)
	if out, err := r.CheckedOut(ctx, "t"); out || err != nil {
		t.Fatalf("checked out: %v %v", out, err)
	}
	git(t, dir, "checkout", "-q", "-b", "autoresearch/t")
	if out, err := r.CheckedOut(ctx, "t"); !out || err != nil {
		t.Fatalf("checked out: %v %v", out, err)
	}
	base := head(t, r)
	one, err := r.CommitTrial(ctx, base, base, []byte("LR = 0.08\n"), "1", when)
	must(t, err)
	must(t, r.AdvanceChampion(ctx, "t", one, base))
	if data, err := os.ReadFile(dir + "/train.py"); err != nil || string(data) != "LR = 0.04\r\n" {
		t.Errorf("the work tree was changed: %q %v", data, err)
	}
	open(t, dir)
	put(t, dir, "train.py", "LR = 9\n")
	if _, err := Open(ctx, dir); !errors.Is(err, ErrDirty) {
		t.Errorf("a real edit: %v", err)
	}
	git(t, dir, "checkout", "-q", "--detach", "-f", base)
	if out, err := r.CheckedOut(ctx, "t"); out || err != nil {
		t.Fatalf("checked out: %v %v", out, err)
	}
}

// TestGitsAtWork starts gits where they hold locks of a study that is a folder of
// its repository, and one elsewhere.
func TestGitsAtWork(t *testing.T) {
	top := workspace(t)
	put(t, top, "study/train.py", "LR = 0.04\n")
	put(t, top, "study/prepare.py", "pass\n")
	git(t, top, "add", ".")
	git(t, top, "commit", "-q", "-m", "a study")
	other := filepath.Join(filepath.Dir(top), "another")
	git(t, top, "worktree", "add", "-q", "--detach", other)
	for name, c := range map[string]struct {
		dir  string
		args []string
		want bool
	}{
		"in the study":                       {filepath.Join(top, "study"), nil, true},
		"at the repository's top":            {top, nil, true},
		"in another folder of it":            {filepath.Join(top, "lib"), nil, true},
		"in its git directory":               {filepath.Join(top, ".git"), nil, true},
		"in another work tree":               {other, nil, true},
		"from outside, by its arguments":     {"/", []string{"-C", top}, true},
		"elsewhere, in a name that is alike": {workspace(t), nil, false},
	} {
		for _, from := range []string{filepath.Join(top, "study"), filepath.Join(other, "study")} {
			r := open(t, from)
			cmd := exec.Command("git", append(c.args, "cat-file", "--batch")...)
			cmd.Dir = c.dir
			in, err := cmd.StdinPipe()
			must(t, err)
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			_, err = in.Write([]byte("HEAD\n"))
			must(t, err)
			_, err = out.Read(make([]byte, 1)) // it is git by now, and where it works
			must(t, err)
			if got := r.gitAlive(); got != c.want {
				t.Errorf("a git %s: alive is %v for %s", name, got, from)
			}
			must(t, in.Close())
			_ = cmd.Wait()
		}
	}
}

// Fault 49.
func TestStaleLocks(t *testing.T) {
	dir := workspace(t)
	r := open(t, dir)
	base := head(t, r)
	lock := dir + "/.git/refs/heads/autoresearch/t.lock"
	stale := func(path string) {
		put(t, "/", path, "")
		old := time.Now().Add(-time.Hour)
		must(t, os.Chtimes(path, old, old))
	}
	stale(lock)
	must(t, r.AdvanceChampion(ctx, "t", base, ""))
	if _, err := os.Lstat(lock); err == nil {
		t.Error("the stale lock is still there")
	}

	one, err := r.CommitTrial(ctx, base, base, []byte("1"), "1", when)
	must(t, err)
	// A git that works here keeps its lock, however old.
	stale(lock)
	holder := exec.Command("git", "cat-file", "--batch")
	holder.Dir = dir
	in, err := holder.StdinPipe()
	must(t, err)
	must(t, holder.Start())
	want := "move refs/heads/autoresearch/t to " + one[:7] + ": ref locked by " + lock + ": wait for the git command that runs in " + dir + ", or delete that file if none does"
	if err := r.AdvanceChampion(ctx, "t", one, base); !errors.Is(err, ErrRefLocked) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	must(t, in.Close())
	must(t, holder.Wait())
	must(t, r.AdvanceChampion(ctx, "t", one, base))

	// A lock that is not ours alone is never removed.
	git(t, dir, "checkout", "-q", "-f", "autoresearch/t")
	two, err := r.CommitTrial(ctx, base, one, []byte("2"), "2", when)
	must(t, err)
	stale(dir + "/.git/HEAD.lock")
	if err := r.AdvanceChampion(ctx, "t", two, one); !errors.Is(err, ErrRefLocked) {
		t.Errorf("with HEAD.lock: %v", err)
	}
	if _, err := os.Lstat(dir + "/.git/HEAD.lock"); err != nil {
		t.Errorf("HEAD.lock: %v", err)
	}
	if tip, err := r.BranchTip(ctx, "t"); err != nil || tip != one {
		t.Errorf("tip: %s %v", tip, err)
	}
	// A young lock is not removed while the caller's time lasts.
	put(t, "/", lock, "")
	must(t, os.Remove(dir+"/.git/HEAD.lock"))
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := r.AdvanceChampion(short, "t", two, one); err == nil {
		t.Error("moved a ref under a young lock")
	}
	if _, err := os.Lstat(lock); err != nil {
		t.Errorf("the young lock: %v", err)
	}
}

// Fault 55: whatever the workspace plants, nothing of it runs.
func TestPlantedProgramsNeverRun(t *testing.T) {
	dir := workspace(t)
	marker := filepath.Join(t.TempDir(), "ran")
	plant := filepath.Join(t.TempDir(), "plant")
	must(t, os.WriteFile(plant, []byte("#!/bin/sh\necho \"$0 $*\" >>"+marker+"\ncat\n"), 0o755))

	sub := workspace(t)
	git(t, dir, "submodule", "add", "-q", sub, "sub")
	put(t, dir, ".gitattributes", "*.py filter=evil diff=evil merge=evil\n")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-qm", "planted")

	for _, hooks := range []string{dir + "/.git/hooks", dir + "/.githooks"} {
		must(t, os.MkdirAll(hooks, 0o755))
		for _, hook := range []string{"reference-transaction", "post-index-change", "pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "post-checkout", "update", "post-update", "fsmonitor-watchman", "pre-auto-gc"} {
			must(t, os.Symlink(plant, filepath.Join(hooks, hook)))
		}
	}
	for key, value := range map[string]string{
		"core.fsmonitor": plant, "core.hooksPath": dir + "/.githooks", "core.pager": plant, "core.editor": plant,
		"core.sshCommand": plant, "core.gitProxy": plant, "core.askPass": plant, "core.alternateRefsCommand": plant,
		"filter.evil.clean": plant, "filter.evil.smudge": plant, "filter.evil.process": plant, "filter.evil.required": "true",
		"diff.evil.textconv": plant, "diff.evil.command": plant, "diff.external": plant, "merge.evil.driver": plant,
		"gpg.program": plant, "commit.gpgSign": "true", "submodule.recurse": "true", "submodule.sub.update": "!" + plant,
		"alias.commit-tree": "!" + plant, "alias.update-ref": "!" + plant, "credential.helper": plant,
		"gc.auto": "1", "uploadpack.packObjectsHook": plant, "trailer.x.command": plant,
		"remote.origin.url": "ext::" + plant, "remote.origin.promisor": "true", "extensions.partialClone": "origin", "core.repositoryFormatVersion": "1",
	} {
		git2(t, dir, "config", key, value)
	}
	for key, value := range map[string]string{"GIT_SSH_COMMAND": plant, "GIT_EXTERNAL_DIFF": plant, "GIT_PAGER": plant, "GIT_EDITOR": plant, "GIT_CONFIG_PARAMETERS": "'core.fsmonitor=" + plant + "'", "GIT_EXEC_PATH": filepath.Dir(plant)} {
		t.Setenv(key, value)
	}

	r := open(t, dir)
	base := head(t, r)
	commit, err := r.CommitTrial(ctx, base, base, []byte("LR = 1\n"), Message("x", ""), when)
	must(t, err)
	must(t, r.SetTrialRef(ctx, "t", 1, commit, ""))
	must(t, r.AdvanceChampion(ctx, "t", base, ""))
	must(t, r.AdvanceChampion(ctx, "t", commit, base))
	out := t.TempDir()
	must(t, r.Export(ctx, commit, out, ""))
	if got := listing(t, out); got != ".gitattributes .gitmodules lib lib/util.py prepare.py program.md train.py" {
		t.Errorf("exported %s", got)
	}
	if data, err := r.ReadFile(ctx, commit, "train.py"); err != nil || string(data) != "LR = 1\n" {
		t.Errorf("train.py: %q %v", data, err)
	}
	// An object that is missing is not fetched from the planted remote.
	if got, err := r.Resolve(ctx, strings.Repeat("1234", 10)); got != "" {
		t.Errorf("resolved a missing object: %q %v", got, err)
	}
	if _, err := r.ReadFile(ctx, strings.Repeat("1234", 10), "train.py"); err == nil {
		t.Error("read a missing commit")
	}
	if data, err := os.ReadFile(marker); err == nil {
		t.Errorf("planted programs ran:\n%s", data)
	}
	if _, err := os.Stat(out + "/sub"); err == nil {
		t.Error("the submodule was exported")
	}

	// The trap is live: an ordinary commit springs it.
	for _, key := range []string{"GIT_EXEC_PATH", "GIT_CONFIG_PARAMETERS"} {
		os.Unsetenv(key)
	}
	cmd := exec.Command("git", "status")
	cmd.Dir = dir
	_ = cmd.Run()
	if _, err := os.Stat(marker); err != nil {
		t.Errorf("git status did not spring the trap, so this test proves nothing: %v", err)
	}
}

// git2 edits the planted configuration without reading it as configuration.
func git2(t *testing.T, dir string, args ...string) {
	t.Helper()
	git(t, filepath.Dir(dir), append([]string{"config", "--file", filepath.Join(dir, ".git/config")}, args[1:]...)...)
}

func TestTags(t *testing.T) {
	dir := t.TempDir()
	for _, tag := range []string{"nov23", "a-b_c.d", "ä", "@a", "{}", "x.lock.y", "", "-x", ".x", "x.", "a..b", "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", `a\b`, "a/b", "a.lock", "@{", "a@{b", "a\tb", "a\x7fb", "\xff", "@", strings.Repeat("x", 101)} {
		ours := CheckTag(tag) == nil
		err := exec.Command("git", "-C", dir, "check-ref-format", "--branch", "autoresearch/"+tag).Run()
		if ours && err != nil {
			t.Errorf("%q is taken, git refuses it", tag)
		}
		// What we refuse beyond git's rules.
		strict := strings.Contains(tag, "/") || len(tag) > 100 || tag == "-x" || tag == "@" || tag == "\xff"
		if !ours && err == nil && !strict {
			t.Errorf("%q is refused, git takes it", tag)
		}
	}
	if want, got := `use tag "a b": it holds ' '; letters, digits, dot, dash and underscore are safe`, fmt.Sprint(CheckTag("a b")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// record writes one trial's commit, refs and row, as often as it is called.
func record(work, results string) error {
	r, err := Open(ctx, work)
	if err != nil {
		return err
	}
	base, err := r.Head(ctx)
	if err != nil {
		return err
	}
	old := ""
	if old, err = r.BranchTip(ctx, "t"); err != nil {
		return err
	}
	commit, err := r.CommitTrial(ctx, base, base, []byte("LR = 0.08\n"), Message("raise LR", ""), when)
	if err != nil {
		return err
	}
	if _, err := r.Reserve(ctx, "mine", commit); err != nil {
		return err
	}
	if err := r.SetTrialRef(ctx, "t", 1, commit, ""); err != nil {
		return err
	}
	if err := r.AdvanceChampion(ctx, "t", commit, old); err != nil {
		return err
	}
	row := testRow(commit)
	have, err := os.ReadFile(results)
	if err != nil {
		return err
	}
	if !bytes.HasSuffix(have, []byte(row.String())) { // as the journal's stage tells the supervisor
		f, _, err := OpenResults(results, nil)
		if err != nil {
			return err
		}
		return f.Set([]Row{row})
	}
	_, _, err = OpenResults(results, []Row{row})
	return err
}

func testRow(commit string) Row {
	return Row{Commit: commit[:7], ValBPB: 0.9979, MemoryGB: 44, Status: search.Keep, Description: "raise LR"}
}

// TestKillEverywhere kills a child at each point (fault 43) and lets a second
// one repeat the whole: the same commit, the same refs, one row.
func TestKillEverywhere(t *testing.T) {
	for _, point := range faultpoint.Names("lineage.") {
		t.Run(point, func(t *testing.T) {
			dir := workspace(t)
			results := filepath.Join(t.TempDir(), "results.tsv")
			edited := ResultsHeader + "edited by hand\n"
			must(t, os.WriteFile(results, []byte(edited), 0o644))
			run := func(armed string) error {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), "LINEAGE_TEST_CHILD=1", "LINEAGE_TEST_WORK="+dir, "LINEAGE_TEST_RESULTS="+results, faultpoint.Variable+"="+armed)
				out, err := cmd.CombinedOutput()
				if err != nil {
					err = fmt.Errorf("%w: %s", err, out)
				}
				return err
			}
			err := run(point)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child was to be killed: %v", err)
			}
			must(t, run(""))
			r := open(t, dir)
			tip, err := r.BranchTip(ctx, "t")
			must(t, err)
			kept, err := r.TrialCommit(ctx, "t", 1)
			must(t, err)
			want, err := r.CommitTrial(ctx, head(t, r), head(t, r), []byte("LR = 0.08\n"), Message("raise LR", ""), when)
			must(t, err)
			if tip != want || kept != want {
				t.Errorf("branch %s, trial %s, want %s", tip, kept, want)
			}
			data, err := os.ReadFile(results)
			if err != nil || string(data) != ResultsHeader+testRow(want).String() {
				t.Errorf("results.tsv: %q %v", data, err)
			}
			if orig, err := os.ReadFile(results + ".orig-1"); err != nil || string(orig) != edited {
				t.Errorf("the edited file was lost: %q %v", orig, err)
			}
			git(t, dir, "fsck", "--strict")
		})
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"/srv/work": "/srv/work", "a b": "'a b'", "": "''", "it's": `'it'\''s'`, "$(x)`y`": "'$(x)`y`'", "ü": "'ü'"} {
		if got := Quote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestEmptyObjects leaves objects as a power loss may: their names without their
// content.
func TestEmptyObjects(t *testing.T) {
	dir := workspace(t)
	r := open(t, dir)
	write := func() string {
		commit, err := r.CommitTrial(ctx, head(t, r), head(t, r), []byte("LR = 0.09\n"), Message("x", ""), when)
		must(t, err)
		return commit
	}
	want := write()
	for _, hash := range []string{want, git(t, dir, "rev-parse", want+"^{tree}"), git(t, dir, "rev-parse", want+":train.py")} {
		path := filepath.Join(dir, ".git/objects", hash[:2], hash[2:])
		must(t, os.Chmod(path, 0o644))
		must(t, os.Truncate(path, 0))
	}
	if got := write(); got != want {
		t.Errorf("the commit is %s, want %s", got, want)
	}
	git(t, dir, "fsck", "--strict")
}
