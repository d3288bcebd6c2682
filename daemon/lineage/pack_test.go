package lineage

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlant takes a study out of repositories of every kind and makes one of it
// again, which has its commits and refs, and in whose work tree nothing differs.
func TestPlant(t *testing.T) {
	for _, c := range []struct {
		name   string
		make   func(t *testing.T, dir string) string // returns the workspace
		branch string
	}{
		{"plain", func(_ *testing.T, dir string) string { return dir }, "master"},
		{"detached", func(t *testing.T, dir string) string { git(t, dir, "checkout", "-q", "--detach"); return dir }, ""},
		{"the study's branch", func(t *testing.T, dir string) string {
			git(t, dir, "checkout", "-q", "-b", "autoresearch/nov23")
			return dir
		}, "autoresearch/nov23"},
		{"a folder", func(t *testing.T, dir string) string {
			put(t, dir, "deep/er/train.py", "X = 1\n")
			put(t, dir, "deep/er/prepare.py", "pass\n")
			commitAll(t, dir)
			return dir + "/deep/er"
		}, "master"},
		{"shallow", func(t *testing.T, dir string) string {
			put(t, dir, "more", "1\n")
			commitAll(t, dir)
			clone := filepath.Join(t.TempDir(), "clone")
			git(t, dir, "clone", "-q", "--depth=1", "file://"+dir, clone)
			return clone
		}, "master"},
		{"sha256", func(t *testing.T, dir string) string {
			other := filepath.Join(t.TempDir(), "long")
			git(t, dir, "init", "-q", "--object-format=sha256", other)
			for _, name := range []string{"train.py", "prepare.py"} {
				put(t, other, name, "X = 1\n")
			}
			return commitAll(t, other)
		}, "master"},
		{"changed since", func(t *testing.T, dir string) string {
			put(t, dir, "lib/util.py", "uncommitted = 1\n")
			put(t, dir, "secret", "not committed\n")
			return dir
		}, "master"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := c.make(t, workspace(t))
			r, err := Look(ctx, dir)
			must(t, err)
			base := head(t, r)
			commit, err := r.CommitTrial(ctx, base, base, []byte("X = 2\n"), "two\n", when)
			must(t, err)
			refs := map[string]string{BranchRef("nov23"): commit, TrialRef("nov23", 1): commit}
			l, err := r.Layout(ctx)
			must(t, err)
			var pack bytes.Buffer
			must(t, r.Pack(ctx, []string{base, commit}, &pack))
			to := filepath.Join(t.TempDir(), "new place", filepath.FromSlash(l.Prefix))
			if l.Branch == BranchRef("nov23") {
				l.Head = commit
			}
			must(t, Plant(ctx, to, l, &pack, refs))

			planted := open(t, to)
			if got := git(t, to, "branch", "--show-current"); got != c.branch {
				t.Errorf("the branch is %q, want %q", got, c.branch)
			}
			for ref, commit := range refs {
				if got := git(t, to, "rev-parse", ref); got != commit {
					t.Errorf("%s is %s, want %s", ref, got, commit)
				}
			}
			git(t, to, "fsck", "--strict")
			if got := git(t, to, "status", "--porcelain"); got != "" {
				t.Errorf("the work tree differs:\n%s", got)
			}
			if got := head(t, planted); got != l.Head {
				t.Errorf("HEAD is %s, want %s", got, l.Head)
			}
			if out := git(t, to, "count-objects", "-v"); !strings.Contains(out, "garbage: 0") {
				t.Error(out)
			}
			if _, err := os.Lstat(filepath.Join(to, "secret")); err == nil {
				t.Error("what is not committed came with it")
			}
		})
	}
	if err := Plant(ctx, filepath.Join(t.TempDir(), "x"), Layout{Prefix: "deep/"}, nil, nil); err == nil || !strings.HasSuffix(err.Error(), "it was the folder deep/ of a repository: name one that ends so") {
		t.Error(err)
	}
}
