package lineage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// commitAll commits everything and returns dir.
func commitAll(t *testing.T, dir string) string {
	t.Helper()
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "x")
	return dir
}

// rewrite checks train.py and prepare.py out anew, as a clone would.
func rewrite(t *testing.T, dir string) {
	t.Helper()
	must(t, os.Remove(dir+"/train.py"))
	must(t, os.Remove(dir+"/prepare.py"))
	git(t, dir, "checkout", "-q", "--", "train.py", "prepare.py")
}

// What git calls clean is clean, whatever it does to a file on its way out; and
// an edit is an edit under each of them.
func TestWhatACheckoutWrites(t *testing.T) {
	lf := "LR = 0.04\nX = '''a\nb'''\n"
	for _, c := range []struct {
		name, attributes string
		config           []string
		blob             string
		want             string // in the work tree
	}{
		{"autocrlf", "", []string{"core.autocrlf", "true"}, lf, strings.ReplaceAll(lf, "\n", "\r\n")},
		{"input", "", []string{"core.autocrlf", "input"}, lf, lf},
		{"eol of the configuration", "* text=auto\n", []string{"core.eol", "crlf"}, lf, strings.ReplaceAll(lf, "\n", "\r\n")},
		{"eol=crlf", "*.py text eol=crlf\n", nil, lf, strings.ReplaceAll(lf, "\n", "\r\n")},
		{"eol=lf", "*.py text eol=lf\n", []string{"core.autocrlf", "true"}, lf, lf},
		{"-text", "*.py -text\n", []string{"core.autocrlf", "true"}, lf, lf},
		{"the old attribute", "*.py crlf\n", []string{"core.autocrlf", "true"}, lf, strings.ReplaceAll(lf, "\n", "\r\n")},
		{"CRLF committed", "", []string{"core.autocrlf", "true"}, strings.ReplaceAll(lf, "\n", "\r\n"), strings.ReplaceAll(lf, "\n", "\r\n")},
		{"ident", "*.py ident\n", nil, "# $Id$\n" + lf, ""},
		{"UTF-16", "train.py working-tree-encoding=UTF-16LE-BOM eol=crlf\n", nil, lf, ""},
		{"Latin-1", "train.py working-tree-encoding=ISO-8859-1\n", nil, "# é\n" + lf, "# \xe9\n" + lf},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := workspace(t)
			git(t, dir, "config", "core.autocrlf", "false")
			put(t, dir, "train.py", c.blob)
			commitAll(t, dir) // before the attributes: the blob is what stands here
			put(t, dir, ".gitattributes", c.attributes)
			if c.config != nil {
				git(t, dir, append([]string{"config"}, c.config...)...)
			}
			rewrite(t, dir)
			have, err := os.ReadFile(dir + "/train.py")
			must(t, err)
			if c.want != "" && string(have) != c.want {
				t.Fatalf("the checkout wrote %q", have)
			}
			if c.want == "" && string(have) == c.blob {
				t.Fatal("the checkout changed nothing, so this proves nothing")
			}
			if out := git(t, dir, "status", "--porcelain", "--untracked-files=no"); out != "" {
				t.Fatalf("git says %s", out)
			}
			r := open(t, dir)
			if blob, err := r.ReadFile(ctx, head(t, r), "train.py"); err != nil || string(blob) != c.blob {
				t.Errorf("a trial runs %q, %v", blob, err)
			}
			put(t, dir, "train.py", strings.Replace(string(have), "X", "Y", 1))
			if _, err := Open(ctx, dir); !errors.Is(err, ErrDirty) {
				t.Errorf("after an edit: %v", err)
			}
		})
	}
}

// Git under Windows writes CRLF by its own configuration; git under WSL reads
// the same tree with another and calls every file changed.
func TestLineEndsOfAnotherGit(t *testing.T) {
	dir := workspace(t)
	put(t, dir, "prepare.py", "pass\r\n")
	put(t, dir, "train.py", "LR = 0.04\n")
	if out := git(t, dir, "status", "--porcelain"); !strings.Contains(out, "prepare.py") {
		t.Fatalf("git says %q", out)
	}
	open(t, dir)
}

// A filter is never run; what git says without running it counts.
func TestFilteredFile(t *testing.T) {
	dir := workspace(t)
	put(t, dir, ".gitattributes", "train.py filter=shout\n")
	marker := filepath.Join(t.TempDir(), "ran")
	git(t, dir, "config", "filter.shout.clean", "touch '"+marker+"'; tr A-Z a-z")
	git(t, dir, "config", "filter.shout.smudge", "tr a-z A-Z")
	put(t, dir, "train.py", "lr = 1\n")
	commitAll(t, dir)
	rewrite(t, dir)
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(dir+"/train.py", old, old))
	git(t, dir, "update-index", "--refresh")
	must(t, os.Remove(marker))
	if got, err := os.ReadFile(dir + "/train.py"); err != nil || string(got) != "LR = 1\n" {
		t.Fatalf("the checkout wrote %q %v", got, err)
	}
	open(t, dir)
	put(t, dir, "train.py", "LR = 2\n")
	_, err := Open(ctx, dir)
	want := "open workspace " + dir + ": train.py differs from the last commit, and passes through the filter \"shout\", which is not run here (uncommitted change): " +
		"commit or restore it, or write `train.py -filter` into .gitattributes and commit it as it is"
	if fmt.Sprint(err) != want || !errors.Is(err, ErrDirty) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("the filter ran")
	}
	// The remedy, typed.
	put(t, dir, ".gitattributes", "train.py -filter\n")
	commitAll(t, dir)
	open(t, dir)
}

// A study in a folder of a larger repository: paths are the folder's, commits
// hold everything.
func TestFolderOfARepository(t *testing.T) {
	top := workspace(t)
	dir := filepath.Join(top, "research", "nano chat")
	put(t, dir, "train.py", "LR = 1\n")
	put(t, dir, "prepare.py", "pass\n")
	put(t, dir, "lib/util.py", "y = 2\n")
	put(t, top, "research/other.py", "z = 3\n")
	commitAll(t, top)
	r := open(t, dir)
	base := head(t, r)
	if r.Workspace() != dir {
		t.Errorf("workspace %s", r.Workspace())
	}
	if names, err := r.Files(ctx, base); err != nil || strings.Join(names, " ") != "lib/util.py prepare.py train.py" {
		t.Errorf("files %v %v", names, err)
	}
	commit, err := r.CommitTrial(ctx, base, base, []byte("LR = 2\n"), Message("two", ""), when)
	must(t, err)
	must(t, r.SetTrialRef(ctx, "t", 1, commit, ""))
	must(t, r.AdvanceChampion(ctx, "t", commit, ""))
	if got := git(t, top, "diff", "--name-only", base, "refs/heads/autoresearch/t"); got != "research/nano chat/train.py" {
		t.Errorf("the trial changed %q", got)
	}
	if got := git(t, top, "fsck", "--strict"); strings.Contains(got, "error") {
		t.Errorf("fsck: %s", got)
	}
	again, err := r.CommitTrial(ctx, base, base, []byte("LR = 2\n"), Message("two", ""), when)
	if err != nil || again != commit {
		t.Errorf("again %s %v", again, err)
	}
	if data, err := r.ReadFile(ctx, commit, "train.py"); err != nil || string(data) != "LR = 2\n" {
		t.Errorf("train.py is %q %v", data, err)
	}
	out := t.TempDir()
	must(t, r.Export(ctx, commit, out, ""))
	if got := listing(t, out); got != "lib lib/util.py prepare.py train.py" {
		t.Errorf("exported %s", got)
	}
	// A commit from before the folder.
	if _, err := r.ReadFile(ctx, git(t, top, "rev-parse", base+"^"), "train.py"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before the folder: %v", err)
	}
	// The branch checked out, as upstream's agents have it.
	git(t, top, "checkout", "-q", "autoresearch/t")
	put(t, dir, "train.py", "LR = 1\n")
	open(t, dir)
	put(t, dir, "train.py", "LR = 3\n")
	if _, err := Open(ctx, dir); !errors.Is(err, ErrDirty) {
		t.Errorf("an edit: %v", err)
	}
	git(t, dir, "checkout", "--", "train.py") // the remedy, typed in the workspace
	open(t, dir)
	// The top is a study of its own.
	open(t, top)
	// A folder that the repository knows nothing of is none of its.
	loose := filepath.Join(top, "loose")
	put(t, loose, "train.py", "LR = 1\n")
	if _, err := Open(ctx, loose); !errors.Is(err, ErrNotWorkTree) {
		t.Errorf("a folder that is not committed: %v", err)
	}
}

// The many ways to have a repository.
func TestKindsOfRepository(t *testing.T) {
	trial := func(t *testing.T, dir string) {
		t.Helper()
		r := open(t, dir)
		base := head(t, r)
		commit, err := r.CommitTrial(ctx, base, base, []byte("LR = 9\n"), Message("x", ""), when)
		must(t, err)
		must(t, r.SetTrialRef(ctx, "k", 1, commit, ""))
		must(t, r.AdvanceChampion(ctx, "k", base, ""))
		must(t, r.AdvanceChampion(ctx, "k", commit, base))
		if got := git(t, dir, "show", "autoresearch/k:./train.py"); got != "LR = 9" {
			t.Errorf("git shows %q", got)
		}
		if got, err := r.Resolve(ctx, commit[:9]); err != nil || got != commit {
			t.Errorf("resolved %q %v", got, err)
		}
	}
	clone := func(t *testing.T, args ...string) string {
		t.Helper()
		from := workspace(t)
		put(t, from, "train.py", "LR = 2\n")
		commitAll(t, from)
		git(t, from, "config", "uploadpack.allowFilter", "true")
		git(t, from, "config", "uploadpack.allowAnySHA1InWant", "true")
		to := filepath.Join(filepath.Dir(from), "clone")
		git(t, filepath.Dir(from), append(append([]string{"clone", "-q"}, args...), "file://"+from, to)...)
		return to
	}
	for name, lay := range map[string]func(t *testing.T) string{
		"detached": func(t *testing.T) string {
			dir := workspace(t)
			git(t, dir, "checkout", "-q", "--detach")
			return dir
		},
		"shallow":       func(t *testing.T) string { return clone(t, "--depth", "1") },
		"blobless":      func(t *testing.T) string { return clone(t, "--filter=blob:none") },
		"single branch": func(t *testing.T) string { return clone(t, "--single-branch") },
		"linked": func(t *testing.T) string {
			dir := workspace(t)
			git(t, dir, "worktree", "add", "-q", "../linked")
			return filepath.Join(filepath.Dir(dir), "linked")
		},
		"submodule": func(t *testing.T) string {
			dir := workspace(t)
			git(t, dir, "submodule", "add", "-q", workspace(t), "study")
			return dir + "/study"
		},
		"separate git directory": func(t *testing.T) string {
			dir := workspace(t)
			git(t, dir, "init", "-q", "--separate-git-dir", filepath.Join(filepath.Dir(dir), "elsewhere.git"))
			return dir
		},
		"SHA-256": func(t *testing.T) string {
			dir := workspace(t)
			must(t, os.RemoveAll(dir+"/.git"))
			git(t, dir, "init", "-q", "--object-format=sha256")
			return commitAll(t, dir)
		},
		"sparse": func(t *testing.T) string {
			dir := workspace(t)
			git(t, dir, "sparse-checkout", "set", "nothing")
			return dir
		},
		"packed refs": func(t *testing.T) string {
			dir := workspace(t)
			git(t, dir, "pack-refs", "--all")
			git(t, dir, "gc", "-q")
			return dir
		},
		"alternates": func(t *testing.T) string { return clone(t, "--shared") },
	} {
		t.Run(name, func(t *testing.T) { trial(t, lay(t)) })
	}
}

// A service's user is seldom the owner of the workspace, and what the daemon
// was started with may point git at another repository.
func TestForeignOwnerAndEnvironment(t *testing.T) {
	dir, other := workspace(t), workspace(t)
	real, err := exec.LookPath("git")
	must(t, err)
	bin := t.TempDir()
	must(t, os.WriteFile(bin+"/git", []byte("#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec "+real+" \"$@\"\n"), 0o755))
	if out, err := exec.Command(bin+"/git", "-C", dir, "status").CombinedOutput(); err == nil || !strings.Contains(string(out), "dubious ownership") {
		t.Fatalf("git does not mind, so this proves nothing: %s %v", out, err)
	}
	path := os.Getenv("PATH")
	for name, value := range map[string]string{"PATH": bin + ":" + path, "GIT_DIR": other + "/.git", "GIT_WORK_TREE": other, "GIT_COMMON_DIR": other + "/.git",
		"GIT_INDEX_FILE": other + "/.git/index", "GIT_OBJECT_DIRECTORY": other + "/.git/objects", "GIT_NAMESPACE": "x", "GIT_CEILING_DIRECTORIES": "/", "GIT_DEFAULT_HASH": "sha256"} {
		t.Setenv(name, value)
	}
	r := open(t, dir)
	base := head(t, r)
	commit, err := r.CommitTrial(ctx, base, base, []byte("LR = 9\n"), Message("x", ""), when)
	must(t, err)
	must(t, r.SetTrialRef(ctx, "k", 1, commit, ""))
	for _, name := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_CEILING_DIRECTORIES"} {
		must(t, os.Unsetenv(name))
	}
	must(t, os.Setenv("PATH", path))
	if got := git(t, dir, "rev-parse", "refs/autoresearch/k/trial/1"); got != commit {
		t.Errorf("the ref stands at %s", got)
	}
}

// What a clone left out is not fetched behind the user's back: the word says
// what is missing and which command brings it.
func TestPartialClone(t *testing.T) {
	from := workspace(t)
	first := git(t, from, "rev-parse", "HEAD")
	put(t, from, "train.py", "LR = 2\n")
	commitAll(t, from)
	git(t, from, "config", "uploadpack.allowFilter", "true")
	git(t, from, "config", "uploadpack.allowAnySHA1InWant", "true")
	for _, filter := range []string{"blob:none", "tree:0"} {
		t.Run(filter, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "clone")
			git(t, from, "clone", "-q", "-c", "gc.auto=0", "--filter="+filter, "file://"+from, dir)
			dir, err := filepath.EvalSymlinks(dir)
			must(t, err)
			r := open(t, dir)
			_, err = r.ReadFile(ctx, first, "train.py")
			want := "read train.py at " + first[:7] + ": this partial clone does not have it (missing object): fetch what it lacks with `git fetch --refetch --no-filter` in " + dir
			if fmt.Sprint(err) != want || !errors.Is(err, ErrMissing) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			git(t, dir, "fetch", "--refetch", "--no-filter") // the remedy, typed
			if data, err := r.ReadFile(ctx, first, "train.py"); err != nil || string(data) != "LR = 0.04\r\n" {
				t.Errorf("afterwards %q %v", data, err)
			}
		})
	}
}

func TestWhatCannotBeAStudyYet(t *testing.T) {
	lfs := workspace(t)
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 10\n"
	git(t, lfs, "config", "filter.lfs.clean", "cat >/dev/null; printf '"+strings.ReplaceAll(pointer, "\n", "\\n")+"'")
	put(t, lfs, ".gitattributes", "*.py filter=lfs\n")
	put(t, lfs, "train.py", "LR = 0.5\n")
	put(t, lfs, "prepare.py", "PASS = 1\n")
	commitAll(t, lfs)
	_, err := Open(ctx, lfs)
	want := "open workspace " + lfs + ": the last commit holds a Git LFS pointer instead of train.py: fetch its content with `git lfs pull`, " +
		"write `train.py -filter` into .gitattributes, run `git add --renormalize train.py .gitattributes`, and commit"
	if !strings.Contains(git(t, lfs, "show", "HEAD:train.py"), pointer[:40]) || fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	put(t, lfs, ".gitattributes", "*.py filter=lfs\ntrain.py -filter\nprepare.py -filter\n")
	git(t, lfs, "add", "--renormalize", "train.py", "prepare.py", ".gitattributes")
	git(t, lfs, "commit", "-qm", "x")
	open(t, lfs)

	sparse := workspace(t)
	git(t, sparse, "sparse-checkout", "set", "--no-cone", "/prepare.py")
	_, err = Open(ctx, sparse)
	want = "open workspace " + sparse + ": train.py is missing from the work tree (uncommitted change): the checkout is sparse: take it in with `git sparse-checkout disable`"
	if fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	git(t, sparse, "sparse-checkout", "disable")
	open(t, sparse)

	// A format of a later git is git's to refuse.
	future := workspace(t)
	git(t, future, "config", "core.repositoryFormatVersion", "1")
	git2(t, future, "config", "extensions.someday", "x")
	_, err = Open(ctx, future)
	if err == nil || !strings.Contains(err.Error(), "unknown repository extension") || errors.Is(err, ErrNotWorkTree) {
		t.Errorf("an extension of a later git: %v", err)
	}
}

// What git is installed is said, and one that is too old is refused.
func TestInstalledGit(t *testing.T) {
	dir := workspace(t)
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, c := range []struct {
		prints, want string
		flushes      bool
	}{
		{"git version 2.39.5 (Apple Git-154)", "2.39", true},
		{"git version 2.36.0.windows.1", "2.36", true},
		{"git version 2.25.1", "2.25", false},
		{"git version 3.0.0-rc1", "3.0", true},
		{"git version 2.24.4", "git 2.24 is older than 2.25, with which nothing has been tried: install git 2.36 or later", false},
		{"git version 1.8.3.1", "git 1.8 is older than 2.25, with which nothing has been tried: install git 2.36 or later", false},
		{"what?", "run git --version: it says \"what?\\n\"", false},
	} {
		must(t, os.WriteFile(bin+"/git", []byte("#!/bin/sh\necho '"+c.prints+"'\n"), 0o755))
		g, text, err := InstalledGit(ctx)
		if err != nil {
			_, openErr := Open(ctx, dir)
			if want := "open workspace " + dir + ": " + c.want; fmt.Sprint(err) != c.want || fmt.Sprint(openErr) != want {
				t.Errorf("%s: %v; %v", c.prints, err, openErr)
			}
			continue
		}
		if g.String() != c.want || g.Before(Flushes) == c.flushes || strings.TrimSpace(text) != c.prints {
			t.Errorf("%s: %s, %q", c.prints, g, text)
		}
	}
	t.Setenv("PATH", bin+"/nothing")
	if _, _, err := InstalledGit(ctx); fmt.Sprint(err) != "run git: it is not on PATH: install git 2.36 or later" {
		t.Error(err)
	}
}
