package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const header = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"

// past is a study whose tag nobody chose, with commits made the upstream way.
func past(t *testing.T) *fixture {
	s := newStudy(t)
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), "tag = \"test\"\n", "", 1))
	return s
}

var rate = regexp.MustCompile(`MATRIX_LR = \S+`)

// try commits another rate and returns the commit's short hash.
func (s *fixture) try(lr string) string {
	s.t.Helper()
	s.write("workspace/train.py", rate.ReplaceAllString(s.read("workspace/train.py"), "MATRIX_LR = "+lr))
	s.git("commit", "-q", "-a", "-m", "rate "+lr)
	return s.short("HEAD")
}

// drop is try for a trial that is not kept: its commit is left behind.
func (s *fixture) drop(lr string) string {
	s.t.Helper()
	hash := s.try(lr)
	s.git("reset", "-q", "--hard", "HEAD~1")
	return hash
}

func (s *fixture) short(commit string) string { return s.git("rev-parse", "--short=7", commit) }

// imports runs import and compares what it prints, hashes by name.
func (s *fixture) imports(want string, names map[string]string, args ...string) {
	s.t.Helper()
	out, fault, _ := s.cli(append([]string{"import", s.path("workspace")}, args...)...)
	got := s.stable(out + fault)
	for hash, name := range names {
		got = strings.ReplaceAll(got, hash, name)
	}
	got = regexp.MustCompile(`\nnext: autoresearchd --config DIR/autoresearch.toml (--state \S+ )?run$`).ReplaceAllString(got, "")
	if got != want {
		s.t.Errorf("import %q said\n%s\nwant\n%s", args, got, want)
	}
}

// A record as upstream published its own: under a branch of another name, with
// a baseline that names no commit, discarded commits that nobody has, and a
// trial on top that was begun and taken back.
func TestImportPublishedBranch(t *testing.T) {
	t.Parallel()
	s := past(t)
	base := s.short("HEAD")
	s.git("checkout", "-q", "-b", "exp/H100/mar8")
	one, gone, two := s.try("0.041"), s.drop("0.06"), s.try("0.045")
	s.try("0.07")
	s.write("workspace/results.tsv", header+"baseline\t2.010000\t44.0\tkeep\tbaseline\n"+one+"\t2.009000\t43.9\tkeep\trate up\n"+
		gone+"\t2.020000\t43.9\tdiscard\ttoo high\n"+two+"\t2.005000\t60.2\tkeep\tmore\n")
	s.git("add", "-A")
	s.git("commit", "-q", "-m", "the record")
	s.try("0.045") // back again
	s.git("reflog", "expire", "--expire=now", "--all")
	s.git("gc", "-q", "--prune=now")
	s.imports("imported 3 trials of study mar8; the champion is TWO with val_bpb 2.005000: more\n"+
		"note: line 2: it names no commit: taken for BASE, on which line 3's was made\n"+
		"left out: line 4: GONE discard \"too high\": git does not have the commit", map[string]string{base: "BASE", one: "ONE", two: "TWO", gone: "GONE"})
	if got := s.short("refs/heads/autoresearch/mar8"); got != two {
		t.Errorf("the branch stands at %s", got)
	}
	s.ok("run", "--trials", "1")
	if rows := s.trials(); len(rows) != 4 || rows[3].Parent != 3 || !strings.HasPrefix(rows[0].Commit, base) {
		t.Errorf("recorded %+v", rows)
	}
}

func TestImportOddRows(t *testing.T) {
	t.Parallel()
	s := past(t)
	base := s.short("HEAD")
	s.git("checkout", "-q", "-b", "autoresearch/odd")
	one, low := s.try("0.041"), s.drop("0.03")
	s.write("workspace/train.py", "MATRIX_LR = (\n")
	s.git("commit", "-q", "-a", "-m", "broken")
	broken := s.short("HEAD")
	s.git("reset", "-q", "--hard", "HEAD~1")
	s.write("workspace/helper.py", "X = 1\n")
	s.git("add", "-A")
	s.git("commit", "-q", "-m", "a helper")
	two := s.try("0.045")
	s.git("commit", "-q", "--allow-empty", "-m", "notes")
	tip := s.short("HEAD")
	s.write("workspace/results.csv", "Status,Commit Hash,BPB,Peak VRAM (MB),Notes\n"+
		"kept,"+base+",2.010,45060.2,baseline\n"+
		"KEEP,"+strings.ToUpper(one)+",2.009,45060.2,rate up\n"+
		"reverted,"+low+",2.03,45060.2,\"down, again\"\n"+
		"OOM,"+broken+",-,,too wide\n"+
		"discard,"+one+",2.2,1,on top of the last one\n"+
		"KEEP,"+one+",2.009,45060.2,rate up\n"+
		"kept,"+broken+",1.9,1,cannot be\n"+
		"kept,"+two+",2.005,1,more\n"+
		"who,knows\n"+
		"kept,"+strings.Repeat("ab", 20)+",1.8,1,rebased\n"+
		"kept,"+one)
	s.imports("imported 5 trials of study odd; the champion is TWO with val_bpb 2.005000: more\n"+
		"note: line 9: the study continues from here: what was kept after it cannot be imported\n"+
		"note: line 9: the branch autoresearch/odd stands at TIP with the train.py of TWO: the study continues from there\n"+
		"note: line 9: trials get the files beside train.py as they are here; since line 2 these changed: helper.py\n"+
		"left out: line 6: ONE discard \"on top of the last one\": its commit is line 3's: what ran here was not committed\n"+
		"left out: line 7: ONE keep \"rate up\": it is line 3 again\n"+
		"left out: line 8: BROKEN keep \"cannot be\": train.py: line 1: '(' was never closed\n"+
		"left out: line 10: it has 2 of the 5 columns: \"who,knows\"\n"+
		"left out: line 11: "+strings.Repeat("ab", 20)+" keep \"rebased\": git does not have the commit\n"+
		"left out: line 12: it has 2 of the 5 columns (the last line, without an end: half written): \"kept,ONE\"",
		map[string]string{base: "BASE", one: "ONE", two: "TWO", low: "LOW", broken: "BROKEN", tip: "TIP"})
	s.ok("run", "--trials", "1")
	rows := s.trials()
	if len(rows) != 6 || rows[2].Description != "down, again" || rows[3].Decision != "crash" {
		t.Errorf("recorded %+v", rows)
	}
	s.git("merge-base", "--is-ancestor", tip, "autoresearch/odd") // nothing of the branch is lost
	if got := s.git("show", "autoresearch/odd:helper.py"); got != "X = 1" {
		t.Errorf("the helper is %q", got)
	}
}

// Each remedy that import prints is typed as it stands.
func TestImportRemedies(t *testing.T) {
	t.Parallel()
	s := newStudy(t) // its tag is asked for
	base := s.short("HEAD")
	s.git("checkout", "-q", "-b", "autoresearch/test")
	one := s.try("0.041")
	other := s.try("0.06")
	names := map[string]string{base: "BASE", one: "ONE", other: "OTHER"}

	s.imports("autoresearchd: read what was tried: DIR/workspace has no results.tsv: name the record with --results FILE", names)
	s.write("record", "commit\tval_loss\tstatus\tdescription\n"+base+"\t2.01\tkeep\tbaseline\n"+one+"\t2.00\tkeep\tup\n")
	record := s.path("record")
	s.imports("autoresearchd: read DIR/record: line 1: no column is called val_bpb (there are commit, val_loss, status, description): "+
		"if val_loss holds what this workspace's prepare.py evaluates, lower being better, add --score val_loss", names, "--results", record)
	s.imports("autoresearchd: import DIR/record: the branch autoresearch/test stands at OTHER and not at the last kept row's ONE (line 3): "+
		"give this study a tag of its own with --tag test-2, which makes the branch autoresearch/test-2 at ONE and leaves the other as it is", names, "--results", record, "--score", "val_loss")
	took := "imported 2 trials of study test-2; the champion is ONE with val_bpb 2.000000: up"
	s.imports(took, names, "--results", record, "--score", "val_loss", "--tag", "test-2")
	if s.short("autoresearch/test") != other || s.short("autoresearch/test-2") != one {
		t.Error("the branches moved")
	}
	s.imports(took, names, "--results", record, "--score", "val_loss", "--tag", "test-2")

	s.write("record", header+base+"\t2.01\t1\tkeep\tanother\n"+one+"\t2.00\t1\tkeep\tup\n")
	s.imports("autoresearchd: import DIR/record: the state directory DIR/state holds an import of other rows: name an empty one with --state", names, "--results", record, "--tag", "test-2")
	// Another study of the same tag would write the same refs.
	s.write("record", header+one+"\t2.00\t1\tkeep\tup\n")
	s.imports("autoresearchd: import DIR/record: git keeps trials of an earlier study test-2: give this study a tag of its own with --tag test-2-2, "+
		"which makes the branch autoresearch/test-2-2 at ONE and leaves the other as it is", names, "--results", record, "--tag", "test-2", "--state", s.path("second"))
	s.imports(strings.NewReplacer("2 trials", "1 trial", "test-2", "test-2-2").Replace(took), names, "--results", record, "--tag", "test-2-2", "--state", s.path("second"))

	// Where nobody chose the tag, the next free one is taken.
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), "tag = \"test\"\n", "", 1))
	s.git("branch", "-D", "autoresearch/test-2", "autoresearch/test-2-2")
	s.imports("imported 1 trial of study test-3; the champion is ONE with val_bpb 2.000000: up\n"+
		"note: the branch autoresearch/test stands at OTHER and not at the last kept row's ONE (line 2): this study is test-3, on a branch of its own",
		names, "--results", record, "--state", s.path("third"))

	// Nothing to take over: one message, and the state is as it was.
	s.write("record", header+"abcdef1\t2.01\t1\tkeep\tbaseline\nabcdef2\t2.00\t1\tdiscard\tup\n")
	s.imports("left out: line 2: abcdef1 keep \"baseline\": git does not have the commit\nleft out: line 3: abcdef2 discard \"up\": git does not have the commit\n"+
		"autoresearchd: import DIR/record: none of its rows can be imported: fetch the branch that the commits were on, or start a study with `autoresearchd run`", names, "--results", record, "--state", s.path("fourth"))
	s.write("record", header+base+"\t2.01\t1\tdiscard\tbaseline\n")
	s.imports("autoresearchd: import DIR/record: no row that can be imported was kept, so there is no champion to continue from: "+
		"write keep as the status of the row to continue from, or start a study with `autoresearchd run`", names, "--results", record, "--state", s.path("fourth"))
	s.write("record", strings.Replace(s.read("record"), "discard", "keep", 1))
	s.imports("imported 1 trial of study fourth; the champion is BASE with val_bpb 2.010000: baseline", names, "--results", record, "--state", s.path("fourth"), "--tag", "fourth")

	// A state directory that has a study of its own.
	s.ok("--state", s.path("own"), "run", "--trials", "1")
	out, fault, code := s.cli("--state", s.path("own"), "import", s.path("workspace"), "--results", record)
	if code != 1 || out != "" || !strings.Contains(fault, "has trials of its own already: name an empty one with --state") {
		t.Errorf("%d %s %s", code, out, fault)
	}
	s.imports("imported 1 trial of study fifth; the champion is BASE with val_bpb 2.010000: baseline", names, "--results", record, "--state", s.path("fifth"), "--tag", "fifth")
}

// A branch called autoresearch leaves no place for the study's.
func TestImportBesideBranch(t *testing.T) {
	t.Parallel()
	s := past(t)
	base := s.short("HEAD")
	s.git("branch", "autoresearch")
	s.write("workspace/results.tsv", header+base+"\t2.01\t1\tkeep\tbaseline\n")
	_, fault, code := s.cli("import", s.path("workspace"))
	if code != 1 || strings.Count(fault, "\n") != 1 {
		t.Errorf("%d %s", code, fault)
	}
	s.typed(fault)
	if out := s.ok("import", s.path("workspace")); !strings.HasPrefix(out, "imported 1 trial ") {
		t.Error(out)
	}
}

// An agent that amends a kept commit with the row that names it leaves hashes
// behind that no branch has any more.
func TestImportAmendedCommits(t *testing.T) {
	t.Parallel()
	s := past(t)
	base := s.short("HEAD")
	s.git("checkout", "-q", "-b", "autoresearch/mlx")
	record := header + base + "\t2.01\t1\tkeep\tbaseline\n"
	one := s.try("0.041")
	record += one + "\t2.009\t1\tkeep\tup\n"
	s.write("workspace/results.tsv", record)
	s.git("add", "-A")
	s.git("commit", "-q", "--amend", "--no-edit")
	two := s.try("0.042")
	s.write("workspace/results.tsv", record+two+"\t2.008\t1\tkeep\tup again\n")
	s.git("commit", "-q", "-a", "--amend", "--no-edit")
	tip := s.short("HEAD")
	s.imports("imported 3 trials of study mlx; the champion is TWO with val_bpb 2.008000: up again\n"+
		"note: line 4: the branch autoresearch/mlx stands at TIP with the train.py of TWO: the study continues from there",
		map[string]string{base: "BASE", one: "ONE", two: "TWO", tip: "TIP"})
	s.ok("run", "--trials", "1")
	if s.short("autoresearch/mlx~0") != tip && s.short("autoresearch/mlx~1") != tip {
		t.Error("the branch lost its tip")
	}
}

// A clone without its older files: the command that is named brings them.
func TestImportPartialClone(t *testing.T) {
	t.Parallel()
	from := past(t)
	base := from.short("HEAD")
	from.git("checkout", "-q", "-b", "autoresearch/far")
	one := from.try("0.041")
	from.git("config", "uploadpack.allowFilter", "true")
	s := past(t)
	must(t, os.RemoveAll(s.path("workspace")))
	from.git("clone", "-q", "-c", "gc.auto=0", "--filter=blob:none", "file://"+from.path("workspace"), s.path("workspace"))
	s.write("workspace/results.tsv", header+base+"\t2.01\t1\tkeep\tbaseline\n"+one+"\t2.00\t1\tkeep\tup\n")
	s.imports("autoresearchd: import DIR/workspace/results.tsv: read train.py at BASE: this partial clone does not have it (missing object): "+
		"fetch what it lacks with `git fetch --refetch --no-filter` in DIR/workspace", map[string]string{base: "BASE", one: "ONE"})
	s.git("fetch", "-q", "--refetch", "--no-filter")
	s.imports("imported 2 trials of study far; the champion is ONE with val_bpb 2.000000: up", map[string]string{base: "BASE", one: "ONE"})
}
