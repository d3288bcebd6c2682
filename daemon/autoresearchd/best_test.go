package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"autoresearchd/daemon/change"
	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

// chained is a study whose champion was reached in three steps: a layer more,
// another rate, one more layer.
func chained(t *testing.T) *fixture {
	t.Helper()
	s := newStudy(t)
	s.ok("run", "--trials", "1")
	j, err := journal.Open(s.path("state"))
	must(t, err)
	for _, values := range []map[string]search.Value{
		{"DEPTH": search.IntValue(5)}, {"MATRIX_LR": search.FloatValue(0.05)}, {"DEPTH": search.IntValue(6)},
	} {
		_, err := j.Suggest(journal.Suggestion{Kind: "values", Text: "by hand", Values: values, At: time.Now()})
		must(t, err)
	}
	must(t, j.Close())
	out := s.stable(s.ok("run", "--trials", "3"))
	if want := "next: autoresearchd --config DIR/autoresearch.toml best"; !strings.HasSuffix(out, want) {
		t.Errorf("run ends with\n%s\nwant %s", out, want)
	}
	return s
}

// said has a command say exactly this.
func (s *fixture) said(want string, args ...string) {
	s.t.Helper()
	if got := s.stable(s.ok(args...)); got != want {
		s.t.Errorf("%q said\n%s\nwant\n%s", args, got, want)
	}
}

// fails has a command refuse with exactly this.
func (s *fixture) fails(want string, args ...string) {
	s.t.Helper()
	out, fault, code := s.cli(args...)
	if got := s.stable(fault); code != 1 || out != "" || got != "autoresearchd: "+want {
		s.t.Errorf("%q ended with %d and said\n%s%s\nwant\n%s", args, code, out, got, want)
	}
}

// TestBest shows what the champion changes in all, and writes it into other
// work trees.
func TestBest(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.fails("no study in DIR/state yet: start one with `autoresearchd run`, or name its directory with --state", "best")
	s.ok("run", "--trials", "1")
	base := s.git("rev-parse", "main")
	s.said(fmt.Sprintf("champion  2.030000, one run of candidate 1 (%.7s): baseline\nbaseline  it is the champion: nothing has beaten it yet", base), "best")
	s.fails("candidate 1 is the baseline: it has no change to take back", "ablate")
	s.said("no change was kept: the baseline is the champion", "finalize")

	s = chained(t)
	base = s.git("rev-parse", "main")
	tip := s.git("rev-parse", "autoresearch/test")
	out := regexp.MustCompile(`± \d\.\d{6}`).ReplaceAllString(s.stable(s.ok("best")), "± E")
	want := fmt.Sprintf(`champion  2.000000, one run of candidate 4 (%.7s): suggested: DEPTH 5 -> 6
baseline  2.030000, one run of candidate 1 (gain 0.030000)
constants MATRIX_LR 0.04 -> 0.05
          DEPTH 4 -> 6
chain     #2 depth 4 → 5: gain 0.010000 ± E
          #3 matrix LR 0.04 → 0.05: gain 0.010000 ± E
          #4 depth 5 → 6: gain 0.010000 ± E

--- train.py (baseline)
+++ train.py (candidate 4)
@@ -2,8 +2,8 @@
 from torch.optim.optimizer import Optimizer
 from prepare import make_dataloader, evaluate_bpb, TIME_BUDGET
 
-MATRIX_LR = 0.04  # of the matrices
-DEPTH = 4
+MATRIX_LR = 0.05  # of the matrices
+DEPTH = 6
 FLAG = True
 
 optimizer = Optimizer()

have it   autoresearchd --config DIR/autoresearch.toml best --apply DIR # into a git work tree
          git -C DIR/workspace show autoresearch/test:./train.py # its train.py
          git -C DIR/workspace branch NAME autoresearch/test # a branch that begins there
next: autoresearchd --config DIR/autoresearch.toml ablate`, tip)
	if out != want {
		t.Errorf("best says\n%s\nwant\n%s", out, want)
	}
	var b champion
	must(t, json.Unmarshal([]byte(s.ok("best", "--json")), &b))
	if b.ID != 4 || b.Commit != tip || b.ValBPB != 2 || b.Runs != 1 || b.Baseline.ID != 1 || b.Baseline.Commit != base || len(b.Constants) != 2 || b.Constants[1].Change != "DEPTH 4 -> 6" ||
		len(b.Chain) != 3 || b.Chain[1].Change != "MATRIX_LR 0.04 -> 0.05" || b.Chain[2].Commit != tip || !strings.Contains(b.Diff, "+DEPTH = 6\n") || len(b.Commands) != 3 || b.Applied != nil {
		t.Errorf("best --json says %+v", b)
	}
	for i, command := range b.Commands[1:] { // they do what they say
		text, err := exec.Command("/bin/sh", "-c", strings.ReplaceAll(command, "NAME", "mine")).CombinedOutput()
		if err != nil || i == 0 && string(text) != s.git("show", tip+":train.py")+"\n" || i == 1 && s.git("rev-parse", "mine") != tip {
			t.Errorf("%s: %v\n%s", command, err, text)
		}
	}
	s.applies(tip)
}

// applies is best --apply in a clone, through all that it may find there.
func (s *fixture) applies(tip string) {
	t, clone := s.t, s.path("clone")
	t.Helper()
	must(t, exec.Command("git", "clone", "-q", s.path("workspace"), clone).Run())
	in := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("git", append([]string{"-C", clone, "-c", "user.name=ada", "-c", "user.email=ada@localhost"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	best := s.git("show", tip+":train.py") + "\n"
	commit := "next: git -C DIR/clone commit -m 'take candidate 4 of autoresearch/test: val_bpb 2.030000 -> 2.000000' -- train.py"
	wrote := func(how string, more string) string {
		return fmt.Sprintf("wrote DIR/clone/train.py: %s (candidate 4, %.7s, val_bpb 2.000000, one run); no other file has changed\n%s%s", how, tip, more, commit)
	}
	apply := []string{"best", "--apply", clone}
	holds := func(want string) {
		t.Helper()
		if got := s.read("clone/train.py"); got != want {
			t.Errorf("the clone's train.py is\n%s\nwant\n%s", got, want)
		}
	}
	s.said(wrote("the champion's, in place of the baseline's", ""), apply...)
	holds(best)
	s.said("DIR/clone/train.py is the champion's already, and not committed: nothing was written\n"+commit, apply...)
	in("commit", "-q", "-a", "-m", "take it")
	s.said("DIR/clone/train.py is the champion's already: nothing was written", apply...)
	if out := in("status", "--porcelain"); out != "" {
		t.Errorf("it left %s", out)
	}

	s.write("clone/train.py", "# mine\n"+best)
	s.fails("nothing is written over uncommitted work: open workspace DIR/clone: train.py differs from the last commit (uncommitted change): commit it, or restore it with `git checkout -- train.py`", apply...)
	holds("# mine\n" + best)

	ancestor := s.git("show", "refs/autoresearch/test/trial/3:train.py") + "\n"
	s.write("clone/train.py", ancestor)
	in("commit", "-q", "-a", "-m", "an ancestor")
	s.said(wrote("the champion's, in place of candidate 3's", ""), apply...)
	in("checkout", "-q", "--", "train.py")

	s.write("clone/train.py", "# mine\n"+script)
	s.write("clone/prepare.py", s.read("clone/prepare.py")+"# mine\n")
	in("commit", "-q", "-a", "-m", "my own")
	notes := "note: its train.py is none of the study's: the champion's change was made in it, and no trial has run the two together\nnote: its prepare.py is not the study's, so scores may not compare\n"
	s.said(wrote("its own train.py with the champion's change", notes), apply...)
	holds("# mine\n" + best)

	other := strings.Replace(script, "DEPTH = 4", "DEPTH = 9", 1)
	s.write("clone/train.py", other)
	in("commit", "-q", "-a", "-m", "deep")
	s.fails("DIR/clone/train.py is neither the baseline's nor that of an ancestor of the champion, and the champion's change does not apply to it cleanly (both change DEPTH): take it by hand with `autoresearchd --config DIR/autoresearch.toml diff 1 best > champion.diff` and `patch DIR/clone/train.py champion.diff`", apply...)
	holds(other)
	// By hand it is a matter for whoever reads the rejected part.
	if out := s.ok("diff", "1", "best"); !strings.Contains(out, "\n-DEPTH = 4\n") || !strings.Contains(out, "\n+DEPTH = 6\n") {
		t.Errorf("diff 1 best says\n%s", out)
	}
	s.fails("open workspace DIR/state: is not a git work tree: run `autoresearchd init` or `git init` and commit train.py, prepare.py and program.md", "best", "--apply", s.path("state"))
	s.git("checkout", "-q", "autoresearch/test~1")
	s.git("symbolic-ref", "HEAD", "refs/heads/autoresearch/test") // as if the study had moved it since
	s.fails("DIR/workspace has the study's own branch autoresearch/test checked out, which stands at the champion: `git -C DIR/workspace checkout HEAD -- train.py` brings its train.py", "best", "--apply", s.path("workspace"))
	s.git("checkout", "HEAD", "--", "train.py")
	if s.git("status", "--porcelain") != "" || s.read("workspace/train.py") != best {
		t.Errorf("what it advises leaves\n%s", s.git("status", "--porcelain"))
	}
	var b champion
	in("checkout", "-q", "HEAD~1", "--", "train.py")
	in("commit", "-q", "-m", "back")
	must(t, json.Unmarshal([]byte(s.ok("best", "--json", "--apply", clone)), &b))
	if a := b.Applied; a == nil || a.How != "merged" || a.File != s.path("clone/train.py") || len(a.Notes) != 2 {
		t.Errorf("--json says %+v", a)
	}
}

// TestFinalize puts each kept change on a branch, once, and leaves what it finds.
func TestFinalize(t *testing.T) {
	t.Parallel()
	s := chained(t)
	base := s.git("rev-parse", "main")
	study := func() string {
		return s.git("for-each-ref", "refs/heads/autoresearch", "refs/autoresearch", "refs/heads/main") + s.git("status", "--porcelain")
	}
	before := study()
	next := fmt.Sprintf("next: git -C DIR/workspace log --stat --reverse --branches='final/test/*' --not %.12s", base)
	s.said("#2    final/test/2-depth-4-to-5\n#3    final/test/3-matrix-lr-0.04-to-0.05\n#4    final/test/4-depth-5-to-6\n      applies only on top of #2, so it is stacked on that branch\n"+next, "finalize")
	refs := s.git("for-each-ref", "refs/heads/final")
	s.said("#2    final/test/2-depth-4-to-5, which was there\n#3    final/test/3-matrix-lr-0.04-to-0.05, which was there\n#4    final/test/4-depth-5-to-6, which was there\n      applies only on top of #2, so it is stacked on that branch\nnothing is new\n"+next, "finalize")
	if again := s.git("for-each-ref", "refs/heads/final"); again != refs || study() != before {
		t.Errorf("the second time changes\n%s\nto\n%s\nand\n%s\nto\n%s", refs, again, before, study())
	}
	tree := func(name string) string {
		return s.git("log", "--format=%s", "main.."+name) + ": " + strings.Join(regexp.MustCompile(`(?m)^\+[A-Z].*`).FindAllString(s.git("diff", "-U0", "main", name), -1), " ")
	}
	for name, want := range map[string]string{
		"final/test/2-depth-4-to-5":           "DEPTH 4 -> 5: +DEPTH = 5",
		"final/test/3-matrix-lr-0.04-to-0.05": "MATRIX_LR 0.04 -> 0.05: +MATRIX_LR = 0.05  # of the matrices",
		"final/test/4-depth-5-to-6":           "DEPTH 5 -> 6\nDEPTH 4 -> 5: +DEPTH = 6",
	} {
		if got := tree(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	says := regexp.MustCompile(`± \d\.\d{6}|commit there is \w{12}`).ReplaceAllString(s.git("log", "-1", "--format=%B", "final/test/4-depth-5-to-6"), "E")
	if want := "DEPTH 5 -> 6\n\nval_bpb 2.000000, one run; gain over candidate 3: 0.010000 E\nkeep: val_bpb 2.000000 is 0.010000 below the champion's 2.010000\n\nCandidate 4 of study test, by strategy suggestion; its E.\nIt does not apply without candidate 2, so it is stacked on that. It was measured on top of candidate 3; by itself it has not been run."; says != want {
		t.Errorf("the commit says\n%s\nwant\n%s", says, want)
	}

	// What a reviewer did to a branch stays, and what is stacked on it is as it was.
	s.git("checkout", "-q", "final/test/2-depth-4-to-5")
	s.git("commit", "-q", "--allow-empty", "-m", "reviewed")
	s.git("checkout", "-q", "main")
	reviewed := s.git("rev-parse", "final/test/2-depth-4-to-5")
	out := s.stable(s.ok("finalize"))
	if want := "#2    final/test/2-depth-4-to-5, which somebody has changed and stays as it is: `git -C DIR/workspace branch -m final/test/2-depth-4-to-5 NAME` and finalize again make it anew\n"; !strings.HasPrefix(out, want) || s.git("rev-parse", "final/test/2-depth-4-to-5") != reviewed {
		t.Errorf("after a review\n%s\nwant\n%s", out, want)
	}
	s.git("branch", "-m", "final/test/2-depth-4-to-5", "mine")
	var f finalized
	must(t, json.Unmarshal([]byte(s.ok("finalize", "--json")), &f))
	if len(f.Branches) != 3 || f.Branches[0].State != "made" || f.Branches[2].State != "there" || f.Branches[2].On != f.Branches[0].Branch || f.Branches[2].Stack != 2 || f.Baseline != base || study() != before {
		t.Errorf("--json says %+v", f)
	}
}

// TestAblate takes changes back, for the next run and while one goes on.
func TestAblate(t *testing.T) {
	t.Parallel()
	s := chained(t)
	next := "next: autoresearchd --config DIR/autoresearch.toml "
	table := func(three string, notes ...string) string {
		return "candidate 4 has val_bpb 2.000000, one run; without one of its changes:\nID EFFECT RESULT VAL_BPB CANDIDATE CHANGE TAKEN BACK\n 2 -- impossible -- -- depth 4 → 5\n 3 " + three +
			" matrix LR 0.04 → 0.05\n 4 +0.010000 ± E within luck 2.010000 3 depth 5 → 6\n#2: cannot be taken back alone: it and #4 both change DEPTH\n" + strings.Join(notes, "") + next
	}
	said := func(want string, args ...string) { // but for the columns' widths
		t.Helper()
		out := regexp.MustCompile(`± \d\.\d{6}`).ReplaceAllString(s.stable(s.ok(args...)), "± E")
		if out = regexp.MustCompile(` +`).ReplaceAllString(out, " "); out != want {
			t.Errorf("%q said\n%s\nwant\n%s", args, out, want)
		}
	}
	queued := "queued: without #3: MATRIX_LR 0.04 -> 0.05\n"
	untried := table("-- not tried -- --") + "ablate"
	waits := func(suggestion int) string {
		return table("-- waits -- --", fmt.Sprintf("#3: waits for a trial as suggestion %d\n", suggestion))
	}
	said(untried, "ablate", "--list")
	said(queued+waits(4)+"run", "ablate")
	said(waits(4)+"run", "ablate")
	if list := s.ok("suggest", "--list"); !strings.Contains(list, " 4  ") || !strings.Contains(list, "  without #3: MATRIX_LR 0.04 -> 0.05\n") {
		t.Errorf("suggest --list says\n%s", list)
	}
	s.ok("pause")
	said(waits(4)+"resume", "ablate")
	s.ok("resume")
	said("dropped: without #3: MATRIX_LR 0.04 -> 0.05", "suggest", "--drop", "4")
	said(untried, "ablate", "--list", "best")

	s.hold()
	d := s.start("--trials", "2")
	s.training(5)
	said(queued+waits(5)+"ablate --list", "ablate")
	s.open()
	if code := d.end(); code != 0 {
		t.Fatalf("ended with %d", code)
	}
	rows := s.trials()
	if last := rows[len(rows)-1]; len(rows) != 6 || last.Strategy != "ablation" || last.Parent != 4 || last.Description != "without #3: MATRIX_LR 0.04 -> 0.05" || last.Constants["MATRIX_LR"] != 0.04 || len(last.Constants) != 1 {
		t.Errorf("recorded %+v", last)
	}
	said(table("+0.010000 ± E within luck 2.010000 6")+"finalize", "ablate", "4")
	var all []takenBack
	must(t, json.Unmarshal([]byte(s.ok("ablate", "4", "--json")), &all))
	if len(all) != 3 || all[1].Candidate != 6 || *all[1].ValBPB != 2.01 || *all[1].Effect < 0.00999 || all[1].Interval <= 0 || all[0].Effect != nil {
		t.Errorf("--json says %+v", all)
	}
}

// TestChangesOfCode takes apart a study of edits that was run the upstream way.
func TestChangesOfCode(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.git("checkout", "-q", "-b", "autoresearch/test")
	results := header
	for i, change := range [][2]string{
		{"", ""}, {"evaluate_bpb(2 +", "evaluate_bpb(1.9 +"}, {"DEPTH = 4", "DEPTH = 5"}, {"FLAG = True\n", "FLAG = True\nWARM = 3  # steps\n"}, {"evaluate_bpb(1.9 +", "evaluate_bpb(1.8 + 0 * WARM +"},
	} {
		s.write("workspace/train.py", strings.Replace(s.read("workspace/train.py"), change[0], change[1], 1))
		if i > 0 {
			s.git("commit", "-q", "-a", "-m", "step")
		}
		results += fmt.Sprintf("%s\t%.6f\t0.0\tkeep\tstep %d\n", s.short("HEAD"), 2.03-0.01*float64(i), i)
	}
	s.write("workspace/results.tsv", results)
	s.ok("import", s.path("workspace"))

	// The last two: a new constant by itself, and what uses it on all before it.
	out := s.stable(s.ok("finalize"))
	want := "#2    final/test/2-step-1\n#3    final/test/3-depth-4-to-5\n#4    final/test/4-step-3\n#5    final/test/5-step-4\n      applies only on top of #2, so it is stacked on that branch\nnext: "
	if !strings.HasPrefix(out, want) {
		t.Errorf("finalize says\n%s\nwant\n%s", out, want)
	}
	if got := s.git("show", "final/test/4-step-3:train.py") + "\n"; got != strings.Replace(script, "FLAG = True\n", "FLAG = True\nWARM = 3  # steps\n", 1) {
		t.Errorf("a new constant alone is\n%s", got)
	}
	var b champion
	must(t, json.Unmarshal([]byte(s.ok("best", "--json")), &b))
	if len(b.Constants) != 2 || b.Constants[1].Change != "WARM = 3 (new)" || b.Constants[1].From != nil || len(b.Chain) != 4 || b.Chain[0].Change != "step 1" || b.Claim != "" {
		t.Errorf("best --json says %+v", b)
	}
	var all []takenBack
	must(t, json.Unmarshal([]byte(s.ok("ablate", "--json")), &all))
	words := ""
	for _, a := range all {
		words += fmt.Sprintf("%d %d %s %s; ", a.Without, a.Candidate, a.Result, a.Note)
	}
	want = "2 0 impossible cannot be taken back alone: it and #5 both change the same lines; 3 0 waits waits for a trial as suggestion 1; 4 0 waits waits for a trial as suggestion 2; 5 4 helps ; "
	if words != want {
		t.Errorf("ablate says\n%s\nwant\n%s", words, want)
	}
	// Without the constant nothing uses it: the run says so, and the study goes on.
	s.ok("run", "--trials", "2")
	must(t, json.Unmarshal([]byte(s.ok("ablate", "--list", "--json", "5")), &all))
	if all[1].Candidate == 0 || all[1].ValBPB == nil || all[2].Result != "failed" || all[2].Note != fmt.Sprintf("candidate %d: crashed", all[2].Candidate) {
		t.Errorf("once they have run: %+v", all)
	}
}

// TestTakenBack says what each outcome means.
func TestTakenBack(t *testing.T) {
	t.Parallel()
	h := search.History{}
	add := func(kind string, verdict search.Verdict, o search.Outcome) {
		id := int64(len(h.Done) + 1)
		o.TrainingSeconds = 300 // the noise is 0.0005 then
		h.Done = append(h.Done, search.Result{
			Trial:   search.Trial{ID: id, Candidate: id, Kind: kind, Proposal: search.Proposal{Parent: min(1, id-1), Source: []byte("x")}},
			Outcome: o, Decision: search.Decision{Verdict: verdict},
		})
	}
	score := func(bpb float64) search.Outcome { return search.Outcome{Status: search.Completed, ValBPB: bpb} }
	add("a", search.Keep, score(1))
	add("a", search.Discard, score(1.1))
	add("a", search.Discard, score(1.0001))
	add("a", search.Discard, score(0.9))
	add("b", search.Discard, score(1.1))
	add("a", search.Crash, search.Outcome{Status: search.OutOfMemory})
	add("a", search.Discard, search.Outcome{Status: search.Interrupted})
	h.Pending = []search.Trial{{ID: 8, Candidate: 8, Proposal: search.Proposal{Parent: 1}}}
	candidates := search.Candidates(h)
	for id, want := range map[int64]string{
		0: "not tried: ", -1: "waits: waits for a trial as suggestion 3", -2: "impossible: cannot be taken back alone: it and #4 both change DEPTH",
		2: "helps: ", 3: "within luck: ", 4: "better without: ", 5: "--: candidate 5 ran on another kind of devices, so the scores do not compare",
		6: "failed: candidate 6: crashed (out of memory)", 8: "runs: ",
	} {
		a := change.Ablation{Without: change.Step{Candidate: candidates[0]}}
		switch id {
		case 0:
		case -1:
			a.Suggestion = 3
		case -2:
			a.Conflict = "cannot be taken back alone: it and #4 both change DEPTH"
		default:
			a.Candidate = candidates[id-1]
		}
		got := newTakenBack(&change.Study{Done: h.Done}, a, 1)
		if words := got.Result + ": " + got.Note; words != want || (got.Effect != nil) != (id >= 2 && id <= 4) {
			t.Errorf("%d: %q %v, want %q", id, words, got.Effect, want)
		}
	}
}
