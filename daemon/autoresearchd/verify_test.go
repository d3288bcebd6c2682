package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"autoresearchd/daemon/faultpoint"
	"autoresearchd/daemon/study"
)

// damaged is a study with one or more of its parts made to disagree.
type damaged struct {
	*fixture
	rows []row
}

func (s *fixture) damage(t *testing.T, into string, rows []row) *damaged {
	t.Helper()
	d := &damaged{&fixture{t: t, dir: s.path(into), gate: s.gate}, rows}
	for _, name := range []string{"state", "workspace"} {
		must(t, os.CopyFS(d.path(name), os.DirFS(s.path(name))))
	}
	return d
}

func (d *damaged) sql(query string, args ...any) {
	d.t.Helper()
	db, err := sql.Open("sqlite", d.path("state/journal.db"))
	must(d.t, err)
	defer db.Close()
	_, err = db.Exec(query, args...)
	must(d.t, err)
}

// page overwrites the first page of a table or an index.
func (d *damaged) page(name string) {
	d.t.Helper()
	db, err := sql.Open("sqlite", d.path("state/journal.db"))
	must(d.t, err)
	defer db.Close()
	var number, size int64
	must(d.t, db.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = ?", name).Scan(&number))
	must(d.t, db.QueryRow("PRAGMA page_size").Scan(&size))
	f, err := os.OpenFile(d.path("state/journal.db"), os.O_RDWR, 0)
	must(d.t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("damaged, damaged, damaged"), (number-1)*size)
	must(d.t, err)
}

// champion is the row of the trial that was kept last, and another is one of
// those that were not.
func (d *damaged) champion() (kept, other row) {
	for _, r := range d.rows {
		if r.Decision == "keep" {
			kept = r
		} else if r.Commit != "" {
			other = r
		}
	}
	return kept, other
}

func (d *damaged) object(hash string) string {
	return d.path("workspace/.git/objects", hash[:2], hash[2:])
}

func (s *fixture) edit(name, from, to string) {
	s.t.Helper()
	text := s.read(name)
	if !strings.Contains(text, from) {
		s.t.Fatalf("%s lacks %q:\n%s", name, from, text)
	}
	s.write(name, strings.Replace(text, from, to, 1))
}

// proof is what verify says of it: a line a disagreement.
func (d *damaged) proof() (study.Proof, string, int) {
	d.t.Helper()
	out, fault, code := d.cli("--state", d.path("state"), "verify", "--workspace", d.path("workspace"), "--json")
	var p study.Proof
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		d.t.Fatalf("%v\n%s%s", err, out, fault)
	}
	var lines []string
	for _, x := range p.Disagreements {
		lines = append(lines, fmt.Sprintf("%s: %s: %s: %s", x.Check, x.Where, x.What, x.Do))
	}
	return p, d.hashless(strings.Join(append(lines, p.Notes...), "\n")), code
}

var hexadecimal = regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{12}|[0-9a-f]{7})\b`)

func (s *fixture) hashless(text string) string {
	text = regexp.MustCompile(`version \d+,`).ReplaceAllString(text, "version N,")
	return hexadecimal.ReplaceAllString(s.stable(text), "HASH")
}

// TestVerify makes the parts of a sound study disagree, one after the other, and
// has each named.
func TestVerify(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "5")
	rows := s.trials()
	golden(t, "verify.txt", s.hashless(s.ok("verify"))+"\n")
	for name, c := range map[string]struct {
		damage func(*damaged)
		want   []string // one of each disagreement's words, in order
	}{
		"none": {func(*damaged) {}, nil},
		"a row edited": {func(d *damaged) { d.edit("state/results.tsv", "baseline", "my baseline") },
			[]string{`results.tsv: DIR/state/results.tsv: line 2 is "HASH\t2.030000\t0.0\tkeep\tmy baseline\n", and by the journal "HASH\t2.030000\t0.0\tkeep\tbaseline\n": start the daemon, which writes it again`}},
		"a row torn": {func(d *damaged) {
			text := d.read("state/results.tsv")
			d.write("state/results.tsv", text[:len(text)-3])
		}, []string{"results.tsv: DIR/state/results.tsv: it lacks its end: 1 line of it"}},
		"rows added":        {func(d *damaged) { d.write("state/results.tsv", d.read("state/results.tsv")+"x\ny\n") }, []string{`2 lines more than the journal has, from line 7 on: "x\n"`}},
		"results.tsv gone":  {func(d *damaged) { must(d.t, os.Remove(d.path("state/results.tsv"))) }, []string{"results.tsv: DIR/state/results.tsv: it is missing"}},
		"the branch moved":  {func(d *damaged) { d.git("update-ref", "refs/heads/autoresearch/test", "HEAD") }, []string{"branch: refs/heads/autoresearch/test: it is at HASH, and by the journal at HASH, the champion, candidate"}},
		"the branch gone":   {func(d *damaged) { d.git("update-ref", "-d", "refs/heads/autoresearch/test") }, []string{"branch: refs/heads/autoresearch/test: it is missing, and by the journal at HASH, the champion, candidate"}},
		"a ref lost":        {func(d *damaged) { d.git("update-ref", "-d", "refs/autoresearch/test/trial/2") }, []string{"refs: refs/autoresearch/test/trial/2: it is missing, and by the journal at HASH: `git -C DIR/workspace update-ref refs/autoresearch/test/trial/2 HASH`"}},
		"a ref moved":       {func(d *damaged) { d.git("update-ref", "refs/autoresearch/test/trial/2", "HEAD") }, []string{"refs: refs/autoresearch/test/trial/2: it is at HASH, and by the journal at HASH"}},
		"a ref of nobody's": {func(d *damaged) { d.git("update-ref", "refs/autoresearch/test/trial/9", "HEAD") }, []string{"refs: refs/autoresearch/test/trial/9: it is at HASH, and the journal has no such trial"}},
		"a commit lost": {func(d *damaged) { _, other := d.champion(); must(d.t, os.Remove(d.object(other.Commit))) },
			[]string{"commits: candidate N, commit HASH: git does not have its commit: fetch it from a clone or a restored backup, and look with `git -C DIR/workspace fsck`"}},
		"a program lost": {func(d *damaged) {
			_, other := d.champion()
			must(d.t, os.Remove(d.object(d.git("rev-parse", other.Commit+":train.py"))))
		}, []string{"commits: candidate N, commit HASH: git does not have its train.py"}},
		"a program damaged": {func(d *damaged) {
			_, other := d.champion()
			blob := d.object(d.git("rev-parse", other.Commit+":train.py"))
			must(d.t, os.Chmod(blob, 0o644))
			must(d.t, os.WriteFile(blob, []byte("x"), 0o444))
		}, []string{"commits: candidate N, commit HASH: git does not have its train.py"}},
		"another commit": {func(d *damaged) {
			_, other := d.champion()
			again := d.git("commit-tree", "-p", other.Commit+"^", "-m", "mine", other.Commit+"^{tree}")
			d.git("update-ref", fmt.Sprint("refs/autoresearch/test/trial/", other.ID), again)
			d.sql("UPDATE trial SET commit_hash = ? WHERE id = ?", again, other.ID)
			d.edit("state/results.tsv", other.Commit[:7], again[:7])
		}, []string{`commits: candidate N, commit HASH: its message says "mine\n", and by the journal "`}},
		"another program": {func(d *damaged) {
			d.sql("UPDATE blob SET data = (SELECT data FROM blob WHERE trial = 1 AND kind = 'source') WHERE trial = 2 AND kind = 'source'")
		}, []string{"commits: candidate 2, commit HASH: its train.py is not the one that the journal has", "bundles: DIR/state/trials/2/train.py: it is not what the journal has"}},
		"another start": {func(d *damaged) { d.sql("UPDATE study SET prepare_hash = ?", strings.Repeat("a", 64)) },
			[]string{"start: prepare.py at HASH: its SHA-256 is HASH, and by the journal HASH: find out which repository this is"}},
		"a verdict turned": {func(d *damaged) {
			kept, _ := d.champion()
			d.sql("UPDATE trial SET verdict = 'discard' WHERE id = ?", kept.ID)
		}, []string{"branch: ", "results.tsv: "}},
		"a decision lost": {func(d *damaged) { d.sql("UPDATE trial SET decided_no = 9 WHERE decided_no = 5") },
			[]string{"trials: trial N: its decision is number 9, and should be number 5: restore a backup"}},
		"a trial lost": {func(d *damaged) { d.sql("DELETE FROM blob WHERE trial = 2; DELETE FROM trial WHERE id = 2") },
			[]string{"trials: trial N: its decision is number 3, and should be number 2", "trials: trial 2: the journal does not have it, and has later ones", "refs: refs/autoresearch/test/trial/2: it is at HASH, and the journal has no such trial", "results.tsv: "}},
		"a row of nobody's": {func(d *damaged) {
			d.sql("INSERT INTO suggestion (kind, text, vals, at, trial) VALUES ('text', 'x', '{}', '2026-01-01T00:00:00Z', 99)")
		}, []string{"journal: journal.db: suggestion 1 names a row of trial that is not there: stop the daemon"}},
		"trials damaged":   {func(d *damaged) { d.page("trial") }, []string{"journal: journal: list trials: the database is damaged (database disk image is malformed (11)): nothing was changed, and results.tsv and git still hold the record; restore a copy of journal.db, or recover with `sqlite3 DIR/state/journal.db .recover"}},
		"index damaged":    {func(d *damaged) { d.page("trial_candidate") }, []string{"journal: journal: check journal DIR/state/journal.db: the database is damaged (database disk image is malformed (11))"}},
		"no journal":       {func(d *damaged) { d.write("state/journal.db", strings.Repeat("no journal\n", 9999)) }, []string{"journal: journal: open journal DIR/state/journal.db: the database is damaged (file is not a database (26))"}},
		"a bundle edited":  {func(d *damaged) { d.write("state/trials/2/train.py", "x") }, []string{"bundles: DIR/state/trials/2/train.py: it is not what the journal has: 1 bytes, and"}},
		"constants gone":   {func(d *damaged) { must(d.t, os.Remove(d.path("state/trials/2/constants.json"))) }, []string{"bundles: DIR/state/trials/2/constants.json: it is missing"}},
		"seed edited":      {func(d *damaged) { d.edit("state/trials/2/environment.json", `"seed": `, `"seed": 1`) }, []string{"bundles: DIR/state/trials/2/environment.json: it names the seed"}},
		"a bundle removed": {func(d *damaged) { must(d.t, os.RemoveAll(d.path("state/trials/2"))) }, []string{"1 of 5 bundles are not there: removed, or lost; the journal has their programs and scores, and not their logs"}},
		"no repository":    {func(d *damaged) { must(d.t, os.RemoveAll(d.path("workspace/.git"))) }, []string{"git: git: open workspace DIR/workspace: is not a git work tree"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := s.damage(t, "copy/"+strings.ReplaceAll(name, " ", "-"), rows)
			c.damage(d)
			p, said, code := d.proof()
			said = regexp.MustCompile(`\b(candidate|trial) [3-5]\b`).ReplaceAllString(said, "$1 N")
			lines := strings.Split(said, "\n")
			if want := min(len(p.Disagreements), 1); code != want {
				t.Errorf("it ended with %d, want %d", code, want)
			}
			if said == "" {
				lines = nil
			}
			if len(lines) != len(c.want) {
				t.Fatalf("%d lines, want %d:\n%s", len(lines), len(c.want), said)
			}
			for i, line := range lines {
				if !strings.Contains(line, c.want[i]) {
					t.Errorf("it says\n%s\nwant\n%s", line, c.want[i])
				}
			}
		})
	}
}

// TestVerifyAll names all disagreements at once, in words.
func TestVerifyAll(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "2")
	d := s.damage(t, "copy", s.trials())
	d.edit("state/results.tsv", "baseline", "mine")
	d.git("update-ref", "-d", "refs/autoresearch/test/trial/1")
	d.write("state/trials/1/train.py", "x\n")
	out, fault, code := d.cli("--state", d.path("state"), "verify", "--workspace", d.path("workspace"))
	if code != 1 || fault != "" {
		t.Errorf("it ended with %d and said %s", code, fault)
	}
	golden(t, "verify-all.txt", d.hashless(out)+"\n")
}

// TestVerifyBeside looks again and again at a study that goes on, and at one
// that nobody may write.
func TestVerifyBeside(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	d := s.start("--trials", "12")
	for looks := 0; ; looks++ {
		if out, fault, code := s.cli("verify"); code != 0 {
			t.Fatalf("look %d:\n%s%s", looks, out, fault)
		}
		select {
		case err := <-d.ended:
			d.ended <- err
			must(t, err)
			if looks < 2 {
				t.Fatalf("%d looks beside it", looks)
			}
			s.readOnly("state")
			s.readOnly("workspace")
			s.ok("verify")
			return
		default:
		}
	}
}

// TestVerifyNothing says where there is nothing to verify.
func TestVerifyNothing(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.refused(1, "verify")
}

// TestKilledAtReserve kills a daemon that has taken a tag for itself and begun no
// study yet: the next takes another, and leaves that branch alone.
func TestKilledAtReserve(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.edit("autoresearch.toml", "tag = \"test\"\n", "")
	cmd := s.command("run", "--trials", "1")
	cmd.Env = append(cmd.Env, faultpoint.Variable+"=lineage.reserve.after")
	err := cmd.Run()
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
		t.Fatalf("the daemon was to be killed: %v", err)
	}
	first := s.git("for-each-ref", "--format=%(refname)", "refs/heads/autoresearch")
	s.ok("run", "--trials", "1")
	s.ok("verify")
	if refs := s.git("for-each-ref", "--format=%(refname)", "refs/heads/autoresearch"); refs != first+"\n"+first+"-2" {
		t.Errorf("the branches are %q, and were %q", refs, first)
	}
}

// TestMend has git lose what keeps candidates, and the next start make it again:
// a ref, and a commit with its tree and program.
func TestMend(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "4")
	d := &damaged{s, s.trials()}
	refs := s.git("for-each-ref", "refs/autoresearch/test")
	_, other := d.champion()
	for _, hash := range []string{s.git("rev-parse", other.Commit+":train.py"), s.git("rev-parse", other.Commit+"^{tree}"), other.Commit} {
		must(t, os.Remove(d.object(hash)))
	}
	s.git("update-ref", "-d", "refs/autoresearch/test/trial/1")
	must(t, os.Remove(s.path("workspace/.git/refs/autoresearch/test/trial", fmt.Sprint(other.ID))))
	_, said, code := s.cli("run", "--trials", "1")
	for _, id := range []int64{1, other.ID} {
		if want := fmt.Sprintf(`level=WARN msg="git had lost a candidate's ref: it is set again" candidate=%d`, id); code != 0 || !strings.Contains(said, want) {
			t.Errorf("run ended with %d and lacks %q:\n%s", code, want, said)
		}
	}
	if got := s.git("for-each-ref", "refs/autoresearch/test"); !strings.HasPrefix(got, refs) {
		t.Errorf("the refs are\n%s\nand were\n%s", got, refs)
	}
	s.ok("verify")

	// What another program wrote cannot be made again.
	d.sql("UPDATE trial SET commit_hash = ? WHERE id = ?", strings.Repeat("a", 40), other.ID)
	s.git("update-ref", "-d", fmt.Sprint("refs/autoresearch/test/trial/", other.ID))
	_, said, code = s.cli("run", "--trials", "1")
	if want := fmt.Sprintf("level=ERROR msg=\"git has lost a candidate's commit: fetch it from a clone, or restore a backup; `autoresearchd verify` says more\" candidate=%d", other.ID); code != 0 || !strings.Contains(said, want) {
		t.Errorf("run ended with %d and lacks %q:\n%s", code, want, said)
	}
}
