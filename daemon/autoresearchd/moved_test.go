package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMovedStudy goes on with a study whose folder has another name, by itself
// where git there has what the journal says, and not in a stranger's.
func TestMovedStudy(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "2")
	in := func(workspace string) {
		t.Helper()
		text := s.read("autoresearch.toml")
		_, rest, _ := strings.Cut(text, "workspace = ")
		old, _, _ := strings.Cut(rest, "\n")
		s.write("autoresearch.toml", strings.Replace(text, "workspace = "+old, `workspace = "`+workspace+`"`, 1))
	}
	refused := func(want string, args ...string) {
		t.Helper()
		_, fault, code := s.cli(args...)
		if got := s.stable(fault); code == 0 || !strings.Contains(got, want) {
			t.Errorf("%q ended with %d and said\n%s\nwant\n%s", args, code, got, want)
		}
	}
	must(t, os.Rename(s.path("workspace"), s.path("moved")))
	in("moved")
	if out := s.ok("diff", "1", "2"); !strings.Contains(out, "+++ train.py") {
		t.Errorf("diff says %q", out)
	}
	s.ok("diff", "1") // against where the study began, which only git knows
	s.ok("check")
	_, said, code := s.cli("run", "--trials", "1")
	const note = "the workspace DIR/workspace is DIR/moved now: its history is the study's, which continues there"
	if code != 0 || !strings.Contains(s.stable(said), note) {
		t.Errorf("run ended with %d and said\n%s", code, said)
	}
	if out := s.stable(s.ok("status")); !strings.Contains(out, "test (DIR/moved)") || len(s.trials()) != 3 {
		t.Errorf("status says\n%s", out)
	}
	if _, said, _ := s.cli("run", "--trials", "1"); strings.Contains(said, "its history is") {
		t.Errorf("a second run says\n%s", said)
	}

	// A clone has the champion, and not what was discarded.
	tip := s.trials()[0].Commit
	for _, r := range s.trials() {
		if r.Decision == "keep" {
			tip = r.Commit
		}
	}
	out, err := exec.Command("git", "clone", "-q", s.path("moved"), s.path("clone")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	in("clone")
	refused("the state directory DIR/state holds a study of workspace DIR/moved, but study.workspace is DIR/clone, whose history is not that study's: it lacks commit ", "run")
	refused("or have the study continue there anyway with `autoresearchd run --relocate`", "check")
	refused("restore it with `git -C DIR/clone update-ref refs/heads/autoresearch/test "+tip+"`", "run", "--relocate")
	out, err = exec.Command("git", "-C", s.path("clone"), "update-ref", "refs/heads/autoresearch/test", tip).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.ok("run", "--trials", "1", "--relocate")
	s.ok("run", "--trials", "1") // it is the study's from now on
	if out := s.stable(s.ok("status")); !strings.Contains(out, "test (DIR/clone)") || len(s.trials()) != 6 {
		t.Errorf("status says\n%s", out)
	}

	// Another repository is none, whatever is said.
	other := newStudy(t)
	in(other.path("workspace"))
	other.write("workspace/README", "another\n")
	refused("it lacks commit ", "run")
}
