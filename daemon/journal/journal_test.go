package journal

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"autoresearchd/search"
)

func open(t *testing.T) *Journal {
	t.Helper()
	j, err := Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sameRecord(rec Record, id int64) error {
	want := Record{
		Result: search.Result{Trial: testTrial(id), Outcome: testOutcome(id), Decision: testDecision(id)},
		Stage:  search.StageDone, Commit: testCommit(id), ParentCommit: testCommit(id - 1),
		Seat: fmt.Sprintf(`{"cgroup":"trial-%d"}`, id), Decided: id,
	}
	want.Trial.Candidate = id
	if !reflect.DeepEqual(rec, want) {
		return fmt.Errorf("trial %d:\n got %+v\nwant %+v", id, rec, want)
	}
	return nil
}

func TestSteps(t *testing.T) {
	j := open(t)
	writes := 0
	j.Observe = func(seconds float64) {
		if seconds <= 0 || seconds > 60 {
			t.Errorf("a write took %v s", seconds)
		}
		writes++
	}
	steps := []struct {
		name        string
		do, differs func() error // differs repeats the step with other content
	}{
		{"begin", func() error { return begin(j, testTrial(1), "p", 0) }, func() error { return begin(j, testTrial(1), "q", 0) }},
		{"end", func() error { return j.End(1, testOutcome(1)) }, func() error { return j.End(1, testOutcome(2)) }},
		{"decide", func() error { return j.Decide(1, testDecision(1)) }, func() error { return j.Decide(1, testDecision(2)) }},
		{"commit", func() error { return j.Commit(1, map[int64]string{1: "c"}) }, func() error { return j.Commit(1, map[int64]string{1: "d"}) }},
		{"record", func() error { return j.Recorded(1) }, nil},
		{"done", func() error { return j.Done(1) }, nil},
	}
	for i, step := range steps {
		// Whatever comes after the next step is refused.
		for _, later := range steps[i+1:] {
			err := later.do()
			if want := ErrStage; i == 0 {
				want = ErrUnknown
				if !errors.Is(err, want) {
					t.Errorf("%s before %s: %v", later.name, step.name, err)
				}
			} else if !errors.Is(err, want) {
				t.Errorf("%s before %s: %v", later.name, step.name, err)
			}
		}
		must(t, step.do())
		// Whatever was done may be repeated, with the same content alone.
		for _, earlier := range steps[:i+1] {
			if err := earlier.do(); err != nil {
				t.Errorf("%s again after %s: %v", earlier.name, step.name, err)
			}
			if earlier.differs == nil {
				continue
			}
			if err := earlier.differs(); !errors.Is(err, ErrConflict) {
				t.Errorf("%s otherwise after %s: %v", earlier.name, step.name, err)
			}
		}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{begin(j, testTrial(3), "p", 0), "begin trial 3: out of order: the next trial is 2"},
		{begin(j, testTrial(2), "p", 0), ""},
		{j.Decide(2, testDecision(2)), "decide trial 2: out of order: it is begun and cannot become decided"},
		{j.SetSeat(1, "{}"), "store the seat of trial 1: out of order: the trial is done"},
		{j.SetSeat(2, "{"), `store the seat of trial 2: "{" is not JSON`},
		{j.Done(9), "finish trial 9: not in the journal"},
		{j.End(2, search.Outcome{}), "end trial 2: the outcome has no status"},
	} {
		if got := fmt.Sprint(c.err); got != c.want && (c.err != nil || c.want != "") {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if writes == 0 {
		t.Error("no write was observed")
	}
	open, err := j.Unfinished()
	if err != nil || len(open) != 1 || open[0].Trial.ID != 2 {
		t.Errorf("unfinished: %+v %v", open, err)
	}
	if open[0].Trial.Source != nil || open[0].Outcome.ValBPB != 0 || open[0].Outcome.Status != "" {
		t.Errorf("a begun trial in a list: %+v", open[0])
	}
	if source, err := j.Source(2); err != nil || string(source) != string(testTrial(2).Source) {
		t.Errorf("source: %q %v", source, err)
	}
	if _, err := j.Source(7); !errors.Is(err, ErrUnknown) {
		t.Errorf("source of no trial: %v", err)
	}
	if _, err := j.Trial(7); !errors.Is(err, ErrUnknown) {
		t.Errorf("no trial: %v", err)
	}
}

// The champion is the last decided keep, not the greatest id: devices finish in any order.
func TestChampionFollowsDecisions(t *testing.T) {
	j := open(t)
	if _, found, err := j.Champion(); found || err != nil {
		t.Fatalf("an empty journal has a champion: %v", err)
	}
	keep := search.Decision{Verdict: search.Keep, Reason: "r"}
	for id := int64(1); id <= 3; id++ {
		must(t, begin(j, testTrial(id), "p", 0))
		must(t, j.End(id, testOutcome(1)))
	}
	for _, id := range []int64{1, 3, 2} {
		must(t, j.Decide(id, keep))
		must(t, j.Decide(1, keep)) // a repetition decides nothing anew
		rec, found, err := j.Champion()
		if err != nil || !found || rec.Trial.ID != id || len(rec.Outcome.Curve) != 2 || rec.Trial.Source == nil {
			t.Errorf("champion after keep %d: %+v %v %v", id, rec, found, err)
		}
	}
	if err := j.Decide(3, search.Decision{Verdict: "maybe"}); !errors.Is(err, ErrConflict) {
		t.Errorf("a foreign verdict: %v", err)
	}
}

func begin(j *Journal, t search.Trial, parentCommit string, suggestion int64) error {
	_, err := j.Begin(t, parentCommit, suggestion)
	return err
}

// TestIdsAreGivenByTheJournal begins trials from several goroutines.
func TestIdsAreGivenByTheJournal(t *testing.T) {
	j := open(t)
	ids := make(chan int64)
	for range 8 {
		go func() {
			id, err := j.Begin(search.Trial{Source: []byte("x = 1\n"), StartedAt: epoch}, "p", 0)
			if err != nil {
				t.Error(err)
			}
			ids <- id
		}()
	}
	seen := map[int64]bool{}
	for range 8 {
		seen[<-ids] = true
	}
	records, err := j.Trials()
	must(t, err)
	for i, rec := range records {
		if id := int64(i + 1); rec.Trial.ID != id || !seen[id] {
			t.Errorf("record %d is trial %d; given were %v", i+1, rec.Trial.ID, seen)
		}
	}
}

func TestNumbersThatJSONLacks(t *testing.T) {
	j := open(t)
	must(t, begin(j, testTrial(1), "p", 0))
	o := search.Outcome{Status: search.Diverged, ValBPB: math.NaN(), Curve: []search.Point{{Step: 1, Loss: math.NaN()}, {Step: -2, Loss: math.Inf(1)}}}
	must(t, j.End(1, o))
	must(t, j.End(1, o))
	rec, err := j.Trial(1)
	must(t, err)
	if !math.IsNaN(rec.Outcome.ValBPB) || !math.IsNaN(rec.Outcome.Curve[0].Loss) || !math.IsInf(rec.Outcome.Curve[1].Loss, 1) || rec.Outcome.Curve[1].Step != -2 {
		t.Errorf("got %+v", rec.Outcome)
	}
}

func TestSuggestionsAreTakenOnce(t *testing.T) {
	j := open(t)
	first, err := j.Suggest(Suggestion{Kind: "values", Values: map[string]search.Value{"DEPTH": search.IntValue(9)}, At: epoch})
	must(t, err)
	second, err := j.Suggest(Suggestion{Kind: "text", Text: "wider", At: epoch})
	must(t, err)
	g, found, err := j.NextSuggestion()
	if err != nil || !found || g.ID != first || !g.Values["DEPTH"].Equal(search.IntValue(9)) || !g.At.Equal(epoch) {
		t.Fatalf("next: %+v %v %v", g, found, err)
	}
	must(t, begin(j, testTrial(1), "p", first))
	must(t, begin(j, testTrial(1), "p", first))
	err = begin(j, testTrial(2), "p", first)
	if want := "begin trial 2: take suggestion 1: already differs: another trial took it, or it never was"; fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if id, err := j.NextID(); err != nil || id != 2 {
		t.Errorf("the refused trial left a trace: next id %d %v", id, err)
	}
	if g, found, err = j.NextSuggestion(); err != nil || !found || g.ID != second {
		t.Errorf("next: %+v %v %v", g, found, err)
	}
	must(t, begin(j, testTrial(2), "p", second))
	if _, found, err = j.NextSuggestion(); found || err != nil {
		t.Errorf("one is left: %v", err)
	}
	third, err := j.Suggest(Suggestion{Kind: "text", Text: "deeper", Parent: 1, Source: []byte("x = 1\n"), At: epoch})
	must(t, err)
	if g, _, err = j.NextSuggestion(); err != nil || g.Parent != 1 || string(g.Source) != "x = 1\n" {
		t.Errorf("with a train.py: %+v %v", g, err)
	}
	if _, err := j.Drop(second); fmt.Sprint(err) != "suggestion 2 was taken by trial 2" {
		t.Errorf("drop what was taken: %v", err)
	}
	if g, err := j.Drop(third); err != nil || g.Text != "deeper" {
		t.Errorf("drop: %+v %v", g, err)
	}
	if err := begin(j, testTrial(3), "p", third); !errors.Is(err, ErrConflict) {
		t.Errorf("a trial took what was dropped: %v", err)
	}
}

func TestStudyAndFlagsSurvive(t *testing.T) {
	j := open(t)
	if _, found, err := j.Study(); found || err != nil {
		t.Fatalf("a study in a new journal: %v", err)
	}
	must(t, j.SetStudy(testStudy()))
	must(t, j.SetStudy(testStudy()))
	other := testStudy()
	other.Tag = "dec1"
	if err := j.SetStudy(other); !errors.Is(err, ErrConflict) {
		t.Errorf("a second study: %v", err)
	}
	must(t, j.SetFlag(Paused, true))
	must(t, j.SetFlag(Paused, true))
	must(t, j.SetFlag(Ended, true))
	must(t, j.SetFlag(Ended, false))
	must(t, j.Relocate("/srv/moved"))
	must(t, j.Close())
	j, err := Open(j.dir)
	must(t, err)
	defer j.Close()
	st, found, err := j.Study()
	want := testStudy()
	want.Workspace = "/srv/moved"
	if err != nil || !found || st != want {
		t.Errorf("study: %+v %v %v", st, found, err)
	}
	paused, err1 := j.Flag(Paused)
	ended, err2 := j.Flag(Ended)
	if err1 != nil || err2 != nil || !paused || ended {
		t.Errorf("flags: %v %v, %v %v", paused, err1, ended, err2)
	}
}

func fill3(t *testing.T, dir string) {
	t.Helper()
	if out, err := child("study", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestReaderCreatesNothing(t *testing.T) {
	empty := t.TempDir()
	for _, dir := range []string{empty, filepath.Join(empty, "missing")} {
		_, err := OpenReader(dir)
		want := "no study in " + dir + " yet: start one with `autoresearchd run`, or name its directory with --state"
		if !errors.Is(err, ErrNoStudy) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if got := names(t, empty); got != "" {
		t.Errorf("created %s", got)
	}

	dir := filepath.Join(t.TempDir(), "a dir?with#odd%41 characters")
	fill3(t, dir)
	before := names(t, dir)
	if before != "journal.db lock" {
		t.Fatalf("a closed journal consists of %s", before)
	}
	checkWhole(t, dir)
	if got := names(t, dir); got != before {
		t.Errorf("reading left %s", got)
	}
}

// One reader beside a writer sees what is acknowledged at once, also when it
// was opened before the writer came, and after the writer went.
func TestReaderBesideWriter(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir)
	must(t, err)
	must(t, j.Close())
	r, err := OpenReader(dir)
	must(t, err)
	defer r.Close()
	for round := range int64(2) {
		if id, err := r.NextID(); err != nil || id != 3*round+1 {
			t.Fatalf("before the writer: %d %v", id, err)
		}
		j, err = Open(dir)
		must(t, err)
		for id := 3*round + 1; id <= 3*round+3; id++ {
			must(t, begin(j, testTrial(id), "p", 0))
			records, err := r.Trials()
			if err != nil || len(records) != int(id) {
				t.Fatalf("beside the writer: %d trials, want %d: %v", len(records), id, err)
			}
		}
		must(t, j.Close())
	}
	if id, err := r.NextID(); err != nil || id != 7 {
		t.Fatalf("after the writer: %d %v", id, err)
	}
}

// A copy that was taken of a running journal has a log and no shared memory.
func TestReaderOfCopy(t *testing.T) {
	dir, backup := t.TempDir(), t.TempDir()
	j, err := Open(dir)
	must(t, err)
	must(t, j.SetStudy(testStudy()))
	must(t, begin(j, testTrial(1), "p", 0))
	// A child copies: closing the files in this process would drop SQLite's locks.
	if out, err := command("cp", filepath.Join(dir, "journal.db"), filepath.Join(dir, "journal.db-wal"), backup); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	must(t, j.Close())
	before := names(t, backup)
	if before != "journal.db journal.db-wal" {
		t.Fatalf("the copy holds %s", before)
	}
	r, err := OpenReader(backup)
	must(t, err)
	rec, err := r.Trial(1)
	if err != nil || string(rec.Trial.Source) != string(testTrial(1).Source) {
		t.Errorf("trial: %+v %v", rec, err)
	}
	must(t, r.Close())
	if got := names(t, backup); got != before {
		t.Errorf("reading left %s", got)
	}
}

func TestRefusals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	foreign := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(foreign, fileName))
	must(t, err)
	_, err = db.Exec("CREATE TABLE x (y)")
	must(t, errors.Join(err, db.Close()))
	newer := t.TempDir()
	j, err := Open(newer)
	must(t, err)
	_, err = j.db.Exec("PRAGMA user_version = 99")
	must(t, errors.Join(err, j.Close()))
	directory := t.TempDir()
	must(t, os.Mkdir(filepath.Join(directory, fileName), 0o700))

	for _, c := range []struct{ dir, want string }{
		{file, "open state directory " + file + ": it is not a directory: set [study] state or --state to a directory"},
		{file + "/below", "open state directory " + file + "/below: a part of the path is a file: set [study] state or --state to a directory"},
		{foreign, "open journal " + foreign + "/journal.db: " + foreign + "/journal.db is the database of another program: set [study] state or --state to another directory"},
		{newer, "open journal " + newer + "/journal.db: it was written by a newer autoresearchd (its version is 99, this program knows 5): install that one again, or use another state directory"},
		{directory, "open journal " + directory + "/journal.db: it is not a regular file: move it away"},
	} {
		for range 2 { // a refusal leaves no lock behind
			if _, err := Open(c.dir); fmt.Sprint(err) != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		}
	}
	if _, err := OpenReader(newer); !errors.Is(err, ErrNewer) {
		t.Errorf("a reader of a newer journal: %v", err)
	}
}

func TestDamageIsRefused(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"page":   func(b []byte) []byte { copy(b[4096*2:], make([]byte, 4096)); return b },
		"header": func(b []byte) []byte { copy(b, "not a database at all"); return b },
		"cut":    func(b []byte) []byte { return b[:len(b)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fill3(t, dir)
			path, results := filepath.Join(dir, fileName), filepath.Join(dir, "results.tsv")
			must(t, os.WriteFile(results, []byte("precious"), 0o600))
			data, err := os.ReadFile(path)
			must(t, err)
			data = damage(data)
			must(t, os.WriteFile(path, data, 0o600))
			_, err = Open(dir)
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v", err)
			}
			head, tail, _ := strings.Cut(err.Error(), " (")
			_, tail, _ = strings.Cut(tail, "): ")
			if head != "open journal "+path+": the database is damaged" {
				t.Errorf("message begins %s", head)
			}
			if want := "nothing was changed, and results.tsv and git still hold the record; restore a copy of journal.db, or recover with `sqlite3 " + path + " .recover | sqlite3 recovered.db`, or move journal.db, journal.db-wal and journal.db-shm away to begin anew"; !strings.HasSuffix(tail, want) {
				t.Errorf("message ends %s", tail)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(data) {
				t.Errorf("the damaged file was changed: %v", err)
			}
			if after, err := os.ReadFile(results); err != nil || string(after) != "precious" {
				t.Errorf("results.tsv was changed: %v", err)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	for i, got := range provoke(t, "full", dirs...) {
		dir := dirs[i]
		want := "[the disk is full] end trial 1: the disk is full: free some space on the file system of " + dir +
			"; nothing recorded is lost (database or disk is full (13))\nstage begun\nstage ended"
		if got != "" && got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	line := "[it cannot be written] open state directory %s: it cannot be written: make the state directory %[1]s writable for this user, or set [study] state or --state to another one (%s)\n"
	for i, got := range provoke(t, "readonly", dirs...) {
		dir := dirs[i]
		want := fmt.Sprintf(line, dir, "open "+dir+"/lock: read-only file system") +
			fmt.Sprintf(line, dir+"/new", "mkdir "+dir+"/new: read-only file system") + "true true <nil>"
		if got != "" && got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// Fault 47: after a failed fsync nobody knows what is on the disk.
func TestFsyncErrorStops(t *testing.T) {
	dir := t.TempDir()
	out, err := child("fsync", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line := "[the disk reports errors] begin trial 1: the disk reports errors: look at the kernel's log and the disk under " + dir + ", then start again: the journal is read back as it then is (disk I/O error (1034))\n"
	if string(out) != line+line {
		t.Errorf("got  %swant %s", out, line+line)
	}
	j, err := Open(dir)
	must(t, err)
	defer j.Close()
	if st, found, err := j.Study(); err != nil || !found || st != testStudy() {
		t.Errorf("the acknowledged study: %+v %v %v", st, found, err)
	}
	id, err := j.NextID()
	must(t, err)
	if id == 2 { // it reached the disk after all: then it is there whole
		rec, err := j.Trial(1)
		if err != nil || string(rec.Trial.Source) != string(testTrial(1).Source) {
			t.Errorf("trial 1: %+v %v", rec, err)
		}
	}
}

func BenchmarkStep(b *testing.B) {
	j, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	for i := range b.N {
		if err := begin(j, testTrial(int64(i+1)), "p", 0); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLockOfADeadHolder waits for a lock that a killed daemon's child still has.
func TestLockOfADeadHolder(t *testing.T) {
	dir := t.TempDir()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	fmt.Fprintln(lock, gone.Process.Pid)
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("cat")
	child.ExtraFiles = []*os.File{lock}
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Close() // only the child has it now
	opened := make(chan error, 1)
	go func() {
		j, err := Open(dir)
		if err == nil {
			err = j.Close()
		}
		opened <- err
	}()
	in.Close() // the child ends
	if err := errors.Join(child.Wait(), <-opened); err != nil {
		t.Error(err)
	}
}
