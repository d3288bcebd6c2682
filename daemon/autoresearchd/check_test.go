package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"autoresearchd/search"
)

// asking is a check that keeps what it reads beside itself, and vetoes.
const asking = `#!/bin/sh
cat >> "$1"
env > "$1.env"
echo "it is $PWD"
echo "not today"
exit 3
`

// TestCheckHook has a real program veto what would be kept: it is asked once about
// each, with what it needs and no secret, and its words stand wherever the
// candidate is shown.
func TestCheckHook(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.configure(fmt.Sprintf("check = [\"./veto.sh\", %q]\n", s.path("asked")))
	if out, fault, code := s.cli("check"); code != 2 || !strings.Contains(fault, `judge.check: "./veto.sh" is not a program that is there`) {
		t.Errorf("a program that is missing: %d\n%s%s", code, out, fault)
	}
	s.write("veto.sh", asking)
	must(t, os.Chmod(s.path("veto.sh"), 0o755))
	s.ok("check")
	run := s.command("run", "--trials", "6")
	run.Env = append(run.Env, "OPENAI_API_KEY=secret-of-the-model")
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if env := s.read("asked.env"); strings.Contains(env, "secret-of-the-model") {
		t.Errorf("the check sees the key:\n%s", env)
	}
	var last search.Question
	asked := map[int64]bool{}
	for line := range strings.Lines(s.read("asked")) {
		last = search.Question{}
		must(t, json.Unmarshal([]byte(line), &last))
		if asked[last.Trial] || last.Candidate < 2 || len(last.Runs) != 1 || last.Runs[0].ValBPB != last.ValBPB || last.Gain <= 0 || last.Champion != 1 || len(last.Constants) != 3 {
			t.Errorf("it is asked %s", line)
		}
		asked[last.Trial] = true
		if _, err := os.Stat(last.Folder + "/train.py"); err != nil {
			t.Error(err)
		}
	}
	if len(asked) == 0 {
		t.Fatalf("nothing was to be kept:\n%s", s.ok("trials"))
	}
	id := fmt.Sprint(last.Candidate)
	for what, text := range map[string]string{
		"show":    s.ok("show", id),
		"journal": s.ok("show", "--json", id),
		"commit":  s.git("log", "-1", "--format=%B", "refs/autoresearch/test/trial/"+id),
	} {
		if !strings.Contains(text, "the check vetoes it (exit status 3): not today") {
			t.Errorf("%s says nothing of the check:\n%s", what, text)
		}
	}
	if table := s.read("state/results.tsv"); strings.Contains(table, "not today") || strings.Count(table, "\tkeep\t") != 1 {
		t.Errorf("results.tsv is\n%s", table)
	}
}
