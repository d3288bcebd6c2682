package lineage

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A trial gets all that the commit holds: no kind of file is left out but what
// is not in the commit, and that is said.
func TestCheckoutHoldsTheCommit(t *testing.T) {
	dir := workspace(t)
	put(t, dir, "model.json", "{}")
	put(t, dir, "pkg/sub/data.bin", "\x00\n\xff")
	put(t, dir, "run.sh", "#!/bin/sh\n")
	must(t, os.Chmod(filepath.Join(dir, "run.sh"), 0o755))
	put(t, dir, "odd \"name\"\n.yaml", "a: 1\n")
	put(t, dir, "weights.pt", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n")
	must(t, os.Symlink("../model.json", filepath.Join(dir, "pkg", "link.json")))
	must(t, os.Symlink("pkg/sub", filepath.Join(dir, "folder")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "out")))
	must(t, os.Symlink("../../..", filepath.Join(dir, "up")))
	put(t, dir, ".gitattributes", "* text eol=crlf filter=x\n")
	git(t, dir, "add", ".")
	git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",third/party")
	git(t, dir, "commit", "-qm", "more")
	put(t, dir, "untracked.json", "{}")
	r := open(t, dir)
	base := head(t, r)
	trial, err := r.CommitTrial(ctx, base, base, []byte("LR = 1\n"), "one", when)
	must(t, err)

	out := filepath.Join(t.TempDir(), "work")
	must(t, r.Checkout(ctx, base, trial, out, ""))
	files := []string{}
	for name := range strings.SplitSeq(listing(t, out), " ") {
		if !strings.HasPrefix(name, ".git/") {
			files = append(files, name)
		}
	}
	if got, want := strings.Join(files, " "), ".git .gitattributes folder lib lib/util.py model.json odd \"name\"\n.yaml pkg pkg/link.json pkg/sub pkg/sub/data.bin prepare.py program.md run.sh train.py weights.pt"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if data, err := os.ReadFile(filepath.Join(out, "folder", "data.bin")); err != nil || string(data) != "\x00\n\xff" {
		t.Errorf("%q %v", data, err)
	}
	if info, err := os.Stat(filepath.Join(out, "run.sh")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", info, err)
	}
	lacking, err := r.Lacking(ctx, base)
	if got, want := strings.Join(lacking, "; "), "third/party (a submodule); out (a link to /etc/passwd, outside of the workspace); up (a link to ../../.., outside of the workspace); weights.pt (a Git LFS pointer, not its content)"; err != nil || got != want {
		t.Errorf("got  %q %v\nwant %q", got, err, want)
	}

	// What scripts ask git for, and what they may do to their own work tree.
	for args, want := range map[string]string{
		"rev-parse HEAD": trial, "rev-parse --short=7 HEAD": trial[:7], "log -1 --format=%s": "one", "describe --always": trial[:7],
		"show HEAD:train.py": "LR = 1", "rev-parse --show-toplevel": out,
	} {
		cmd := exec.Command("git", strings.Fields(args)...)
		cmd.Dir = out
		if got, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("git %s: %q %v, want %q", args, got, err, want)
		}
	}
	git(t, out, "add", "-A")
	git(t, out, "commit", "-qm", "a script's own")
	git(t, out, "gc", "-q", "--prune=now")
	if now := head(t, r); now != base {
		t.Errorf("the workspace's HEAD moved to %s", now)
	}
	if _, err := r.ReadFile(ctx, trial, "train.py"); err != nil {
		t.Error(err)
	}
}

// A large file is written once, and a trial that writes to it does not reach
// the next one.
func TestLargeFilesAreShared(t *testing.T) {
	dir := workspace(t)
	content := strings.Repeat("0123456789abcdef", large/16)
	put(t, dir, "data/large.bin", content)
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-qm", "large")
	r := open(t, dir)
	base := head(t, r)
	store := filepath.Join(t.TempDir(), "files")
	read := func(n string) string {
		t.Helper()
		out := filepath.Join(filepath.Dir(store), n)
		must(t, r.Export(ctx, base, out, store))
		data, err := os.ReadFile(filepath.Join(out, "data", "large.bin"))
		if err != nil || string(data) != content {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		return filepath.Join(out, "data", "large.bin")
	}
	read("1")
	kept, err := filepath.Glob(filepath.Join(store, "*"))
	if err != nil || len(kept) != 2 {
		t.Fatalf("%v %v", kept, err)
	}
	before, err := os.Stat(kept[0])
	must(t, err)
	second := read("2")
	if after, err := os.Stat(kept[0]); err != nil || !os.SameFile(before, after) {
		t.Errorf("it was written again: %v", err)
	}
	if err := os.WriteFile(second, []byte("mine"), 0o600); err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
	read("3")
}
