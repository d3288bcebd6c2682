package lineage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"autoresearchd/daemon/mounttest"
	"autoresearchd/daemon/writable"
)

// everything lists the files and folders of a git directory.
func everything(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		all = append(all, path)
		return err
	}))
	return all
}

// TestProveLeavesNothing tries it beside what a repository may look like, and
// then writes what was proven.
func TestProveLeavesNothing(t *testing.T) {
	for name, prepare := range map[string]func(dir string){
		"fresh":       func(string) {},
		"packed":      func(dir string) { git(t, dir, "gc", "-q") },
		"gc at work":  func(dir string) { put(t, dir, ".git/packed-refs.lock", "") },
		"checked out": func(dir string) { git(t, dir, "checkout", "-q", "-b", "autoresearch/t") },
		"detached":    func(dir string) { git(t, dir, "checkout", "-q", "--detach") },
		"begun": func(dir string) {
			git(t, dir, "update-ref", "refs/autoresearch/t/trial/1", "HEAD")
			git(t, dir, "branch", "autoresearch/t")
		},
		"other names": func(dir string) {
			git(t, dir, "tag", "autoresearch")
			git(t, dir, "branch", "autoresearcher")
			git(t, dir, "branch", "autoresearch/t2")
			git(t, dir, "branch", "refs/autoresearch/t")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := workspace(t)
			prepare(dir)
			r := open(t, dir)
			before := everything(t, r.GitDir())
			must(t, r.Prove(context.Background(), "t", 1))
			if after := everything(t, r.GitDir()); !slices.Equal(before, after) {
				t.Errorf("it left\n%q\nbefore\n%q", after, before)
			}
			must(t, r.SetTrialRef(context.Background(), "t", 1, head(t, r), ""))
			tip, err := r.BranchTip(context.Background(), "t")
			must(t, err)
			must(t, r.AdvanceChampion(context.Background(), "t", head(t, r), tip))
		})
	}
}

func TestProveInLinkedWorkTree(t *testing.T) {
	dir := workspace(t)
	linked := filepath.Join(t.TempDir(), "linked")
	git(t, dir, "worktree", "add", "-q", linked)
	r := open(t, linked)
	must(t, r.Prove(context.Background(), "t", 1))
	git(t, dir, "branch", "autoresearch")
	if err := r.Prove(context.Background(), "t", 1); !errors.Is(err, ErrBlocked) {
		t.Error(err)
	}
}

// TestBlocked has a ref where ours needs a folder, or below it, and does what
// the message says.
func TestBlocked(t *testing.T) {
	for _, ref := range []string{
		"refs/heads/autoresearch", "refs/heads/autoresearch/t/late", "refs/autoresearch", "refs/autoresearch/t",
		"refs/autoresearch/t/trial", "refs/autoresearch/t/trial/1/x",
	} {
		for _, packed := range []bool{false, true} {
			t.Run(fmt.Sprint(strings.ReplaceAll(ref, "/", "-"), " packed ", packed), func(t *testing.T) {
				dir := workspace(t)
				git(t, dir, "update-ref", ref, "HEAD")
				git(t, dir, "branch", "autoresearch-old") // a name that is taken
				if ref == "refs/heads/autoresearch" {
					git(t, dir, "checkout", "-q", "autoresearch")
				}
				if packed {
					git(t, dir, "pack-refs", "--all")
				}
				r := open(t, dir)
				err := r.Prove(context.Background(), "t", 1)
				if !errors.Is(err, ErrBlocked) || !strings.Contains(err.Error(), strings.TrimPrefix(ref, "refs/heads/")) {
					t.Fatal(err)
				}
				typed(t, err)
				must(t, r.Prove(context.Background(), "t", 1))
			})
		}
	}
}

// typed runs the command that an error advises.
func typed(t *testing.T, err error) {
	t.Helper()
	_, command, _ := strings.Cut(err.Error(), "`")
	command, _, _ = strings.Cut(command, "`")
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=u", "GIT_AUTHOR_EMAIL=u@u", "GIT_COMMITTER_NAME=u", "GIT_COMMITTER_EMAIL=u@u")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// TestReadOnlyRepository meets what ProtectSystem and ProtectHome make: a mount
// that even root cannot write.
func TestReadOnlyRepository(t *testing.T) {
	mounttest.Run(t, func() string { return workspace(t) }, func(dir string) {
		r := open(t, dir)
		must(t, r.Prove(context.Background(), "t", 1))
		mounttest.ReadOnly(t, dir)
		err := r.Prove(context.Background(), "t", 1)
		if !errors.Is(err, writable.ErrDenied) || !strings.Contains(err.Error(), "ReadWritePaths="+r.GitDir()) {
			t.Error(err)
		}
	})
}

// TestLockedRef has another git at work on the study's branch.
func TestLockedRef(t *testing.T) {
	dir := workspace(t)
	r := open(t, dir)
	lock := filepath.Join(dir, ".git/refs/heads/autoresearch/t.lock")
	put(t, dir, ".git/refs/heads/autoresearch/t.lock", "")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r.clearStale(ctx, lock) {
		t.Error("a fresh lock was removed")
	}
	must(t, os.Chtimes(lock, time.Unix(1, 0), time.Unix(1, 0)))
	must(t, r.Prove(context.Background(), "t", 1))
	if _, err := os.Stat(lock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dead git's lock is still there: %v", err)
	}
}

func TestReserve(t *testing.T) {
	r := open(t, workspace(t))
	ctx := context.Background()
	for i, want := range []bool{true, false} {
		if mine, err := r.Reserve(ctx, "t", head(t, r)); err != nil || mine != want {
			t.Errorf("try %d: %v %v", i+1, mine, err)
		}
	}
	must(t, r.Stands(ctx, "t", "", head(t, r)))
	if err := r.Stands(ctx, "t", strings.Repeat("a", 40), head(t, r)); !errors.Is(err, ErrMoved) {
		t.Error(err)
	}
	git(t, r.Workspace(), "branch", "-q", "-D", "autoresearch/t")
	err := r.Stands(ctx, "t", head(t, r), head(t, r))
	if !errors.Is(err, ErrMoved) {
		t.Fatal(err)
	}
	typed(t, err)
	must(t, r.Stands(ctx, "t", head(t, r), head(t, r)))
}

// TestAbsent names why a trial lacks a file.
func TestAbsent(t *testing.T) {
	dir := workspace(t)
	put(t, dir, "src/real.py", "V = 1\n")
	must(t, os.Symlink("src/real.py", filepath.Join(dir, "within.py")))
	must(t, os.Symlink("/usr/lib", filepath.Join(dir, "out")))
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "links")
	put(t, dir, "new.py", "")
	r := open(t, dir)
	for name, want := range map[string]string{"within.py": "", "out/x.py": "the link out, which leads out of the workspace", "new.py": "is not committed"} {
		if got, err := r.Absent(context.Background(), head(t, r), name); err != nil || !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q %v, want %q", name, got, err, want)
		}
	}
}

// TestChanged compares a work tree with a commit, line ends and a later commit
// left aside.
func TestChanged(t *testing.T) {
	dir := workspace(t)
	put(t, dir, "helper.py", "V = 1\n")
	put(t, dir, "lines.py", "A = 1\nB = 2\n")
	put(t, dir, "data/model.json", "{}\n")
	put(t, dir, "gone.json", "{}\n")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "more")
	r := open(t, dir)
	ctx, commit := context.Background(), head(t, r)
	changed := func() string {
		names, later, err := r.Changed(ctx, commit)
		must(t, err)
		return strings.TrimSpace(strings.Join(names, " ") + " " + strings.ToUpper(strings.Join(later, " ")))
	}
	put(t, dir, "lines.py", "A = 1\r\nB = 2\r\n")
	must(t, os.Remove(filepath.Join(dir, "gone.json")))
	put(t, dir, "untracked.json", "{}\n")
	if got := changed(); got != "" {
		t.Errorf("changed: %s", got)
	}
	put(t, dir, "data/model.json", "[]\n")
	put(t, dir, "helper.py", "V = 2\n")
	if got := changed(); got != "helper.py data/model.json" {
		t.Errorf("changed: %s", got)
	}
	git(t, dir, "commit", "-q", "-a", "-m", "later")
	if got := changed(); got != "HELPER.PY DATA/MODEL.JSON" {
		t.Errorf("changed after a commit: %s", got)
	}
}
