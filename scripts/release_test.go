package scripts_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tagged is a repository in dir with the files that this work tree has, what
// changed under the heading of a version, and a tag.
func tagged(t *testing.T, dir, heading, tag string) {
	t.Helper()
	must(t, os.RemoveAll(dir))
	must(t, os.MkdirAll(dir, 0o755))
	said(t, "bash", "-c", `cd .. && git ls-files -co --exclude-standard -z | while IFS= read -r -d '' f; do if [ -e "$f" ]; then printf '%s\0' "$f"; fi; done |
		tar -c --null -T - | tar -x -C "$0"`, dir)
	changelog := filepath.Join(dir, "CHANGELOG.md")
	text, err := os.ReadFile(changelog)
	must(t, err)
	first := regexp.MustCompile(`(?m)^## .*$`).FindString(string(text))
	must(t, os.WriteFile(changelog, []byte(strings.Replace(string(text), first, heading, 1)), 0o644))
	git := func(args ...string) {
		t.Helper()
		said(t, "git", append([]string{"-C", dir, "-c", "user.name=ada", "-c", "user.email=ada@localhost", "-c", "init.defaultBranch=main"}, args...)...)
	}
	git("init", "--quiet")
	git("add", "--all")
	git("commit", "--quiet", "--message", "all")
	git("tag", "--annotate", "--message", "a version", tag)
}

// release runs the script of the repository in dir.
func release(dir string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(dir, "scripts/release.sh"), args...)
	cmd.Env = append(os.Environ(), "AUTORESEARCH_BUILD=", "AUTORESEARCH_PYTHON=") // those of this work tree
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestReleaseRefused: what is no version, or says of none what changed, is not
// built.
func TestReleaseRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repository")
	tagged(t, dir, "## 2026-11-30", "v9.8.7")
	for _, c := range []struct{ tag, want string }{
		{"", `CHANGELOG.md has no section "## 9.8.7, DATE"`},
		{"v9.8.8", "there is no tag v9.8.8"},
		{"latest", "latest is no version"},
	} {
		args := []string{c.tag}
		if c.tag == "" {
			args = nil
		}
		if out, err := release(dir, args...); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("release %q: %v\n%s", c.tag, err, out)
		}
	}
	said(t, "git", "-C", dir, "tag", "--delete", "v9.8.7")
	if out, err := release(dir); err == nil || !strings.Contains(out, "no version is tagged at this commit") {
		t.Errorf("release without a tag: %v\n%s", err, out)
	}
}

// TestRelease makes one in the folder that AUTORESEARCH_TEST_RELEASE names, which
// stays the same so that Go's cache has what cgo compiles there; and once more,
// which must give the same bytes.
func TestRelease(t *testing.T) {
	dir := os.Getenv("AUTORESEARCH_TEST_RELEASE")
	if dir == "" {
		t.Skip("AUTORESEARCH_TEST_RELEASE names no folder: scripts/test.sh package does")
	}
	tagged(t, dir, "## 9.8.7, 2026-11-30", "v9.8.7-rc1")
	must(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte("not committed"), 0o644))
	at := func(name string) string { return filepath.Join(dir, ".build/release/v9.8.7-rc1", name) }
	deb := "autoresearchd_9.8.7~rc1-1_" + strings.TrimSpace(said(t, "dpkg", "--print-architecture")) + ".deb"
	const source = "autoresearchd-9.8.7-rc1.tar.gz"
	sums := map[string]string{}
	for range 2 {
		if out, err := release(dir); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, name := range []string{deb, source, "NOTES.md"} {
			data, err := os.ReadFile(at(name))
			must(t, err)
			sum := fmt.Sprintf("%x", sha256.Sum256(data))
			if before, ok := sums[name]; ok && before != sum {
				t.Errorf("%s has other bytes the second time", name)
			}
			sums[name] = sum
		}
	}
	listed, err := os.ReadFile(at("SHA256SUMS"))
	must(t, err)
	for name, sum := range sums {
		if !strings.Contains(string(listed), sum+"  "+name+"\n") {
			t.Errorf("SHA256SUMS lacks %s %s:\n%s", sum, name, listed)
		}
	}
	unpacked := t.TempDir()
	said(t, "dpkg-deb", "--extract", at(deb), unpacked)
	for want, got := range map[string]string{
		"autoresearchd v9.8.7-rc1\n": said(t, unpacked+"/usr/bin/autoresearchd", "version"),
		`"autoresearchd v9.8.7-rc1"`: said(t, "zcat", unpacked+"/usr/share/man/man1/autoresearchd.1.gz"),
		"Version: 9.8.7~rc1-1\n":     said(t, "dpkg-deb", "--field", at(deb)),
		"## 9.8.7, 2026-11-30\n":     said(t, "cat", at("NOTES.md")),
		"_autoresearchd\n":           said(t, "find", unpacked+"/usr/share", "-name", "_autoresearchd"),
		"v9.8.7-rc1\n":               said(t, "bash", "-c", `tar -xzf "$0" -C "$1" && cd "$1"/autoresearchd-* && . scripts/lib.sh && version_here`, at(source), t.TempDir()),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in:\n%.500s", want, got)
		}
	}
	if got := said(t, "tar", "-xzOf", at(source), "autoresearchd-9.8.7-rc1/README.md"); strings.Contains(got, "not committed") {
		t.Error("the source has what is not committed")
	}
}
