package lineage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"autoresearchd/search"
)

var rows = []Row{
	{Commit: "a1b2c3d", ValBPB: 0.9979, MemoryGB: 44.0039, Status: search.Keep, Description: "baseline"},
	{Commit: "b2c3d4e", ValBPB: 1.005, MemoryGB: 44, Status: search.Discard, Description: "switch to GeLU"},
	{Commit: "c3d4e5f", Status: search.Crash, Description: "double width"},
}

const text = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n" +
	"a1b2c3d\t0.997900\t44.0\tkeep\tbaseline\n" +
	"b2c3d4e\t1.005000\t44.0\tdiscard\tswitch to GeLU\n" +
	"c3d4e5f\t0.000000\t0.0\tcrash\tdouble width\n"

func TestNewRow(t *testing.T) {
	result := func(status search.Status, verdict search.Verdict, description string) *search.Candidate {
		return search.Candidates(search.History{Done: []search.Result{{
			Trial:    search.Trial{ID: 1, Proposal: search.Proposal{Description: description}},
			Outcome:  search.Outcome{Status: status, ValBPB: 0.9697, PeakVRAM: 45 << 30, ScriptPeakVRAM: 44 << 30},
			Decision: search.Decision{Verdict: verdict},
		}}})[0]
	}
	hash := "0123456789012345678901234567890123456789"
	scriptOnly := result(search.Completed, search.Keep, "x")
	scriptOnly.Peak = 44 << 30
	for _, c := range []struct {
		row  Row
		want string
	}{
		{NewRow(hash, result(search.Completed, search.Keep, "depth 9")), "0123456\t0.969700\t45.0\tkeep\tdepth 9\n"},
		{NewRow(hash, scriptOnly), "0123456\t0.969700\t44.0\tkeep\tx\n"},
		{NewRow(hash, result(search.Crashed, search.Crash, "x")), "0123456\t0.000000\t0.0\tcrash\tx\n"},
		{NewRow(hash, result(search.Pruned, search.Discard, "x")), "0123456\t0.000000\t0.0\tcrash\tx\n"},
		{NewRow("", result(search.Interrupted, search.Crash, "")), "0000000\t0.000000\t0.0\tcrash\tno description\n"},
		{NewRow(hash, result(search.Completed, search.Discard, " a\tb\nc\r\x00\x1b[31m\u0085\u2028\u202e\xff ")),
			"0123456\t0.969700\t45.0\tdiscard\t" + `a\tb\nc\r\x00\x1b[31m\x85\u2028\u202e\xff` + "\n"},
		{NewRow(hash, result(search.Completed, search.Discard, `"quoted" é λ`)), "0123456\t0.969700\t45.0\tdiscard\t\\\"quoted\" é λ\n"},
	} {
		if got := c.row.String(); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

func TestRepairs(t *testing.T) {
	differs := "results.tsv differed from the journal: written again, the other one is kept as results.tsv.orig-1"
	lacked := "results.tsv lacked its end: written again from the journal"
	for _, c := range []struct{ name, have, repaired string }{
		{"whole", text, ""},
		{"missing", "", "results.tsv was missing: written again from the journal"},
		{"torn", text[:len(text)-9], lacked},
		{"rows missing", text[:strings.Index(text, "c3d")], lacked},
		{"edited", strings.Replace(text, "GeLU", "GELU", 1), differs},
		{"row removed", strings.Replace(text, "b2c3d4e\t1.005000\t44.0\tdiscard\tswitch to GeLU\n", "", 1), differs},
		{"row added", text + "x\t1\t1\tkeep\tmine\n", differs},
		{"zeros after power loss", text[:50] + strings.Repeat("\x00", 40), differs},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "results.tsv")
			if c.have != "" {
				must(t, os.WriteFile(path, []byte(c.have), 0o644))
			}
			r, repaired, err := OpenResults(path, rows)
			if err != nil || repaired != c.repaired {
				t.Errorf("repaired %q, want %q, %v", repaired, c.repaired, err)
			}
			if got := read(t, path); got != text {
				t.Errorf("got %q", got)
			}
			if c.repaired == differs && read(t, path+".orig-1") != c.have {
				t.Error("what was there is lost")
			}
			must(t, r.Set(append(rows[:3:3], rows[2])))
			if got := read(t, path); got != text+rows[2].String() {
				t.Errorf("after append %q", got)
			}
		})
	}
}

func TestEachEditIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.tsv")
	for n := 1; n <= 3; n++ {
		must(t, os.WriteFile(path, fmt.Appendf(nil, "edit %d", n), 0o644))
		_, _, err := OpenResults(path, rows)
		must(t, err)
	}
	for n := 1; n <= 3; n++ {
		if got := read(t, fmt.Sprintf("%s.orig-%d", path, n)); got != fmt.Sprintf("edit %d", n) {
			t.Errorf("orig-%d holds %q", n, got)
		}
	}
}

// What happens to the file while the daemon runs is put right by the next row.
func TestAppendAfterMeddling(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.tsv")
	r, _, err := OpenResults(path, rows[:1])
	must(t, err)
	must(t, os.Remove(path))
	must(t, r.Set(rows[:2]))
	must(t, os.WriteFile(path, []byte("mine"), 0o644))
	must(t, r.Set(rows[:3]))
	if got := read(t, path); got != text {
		t.Errorf("got %q", got)
	}
	if read(t, path+".orig-1") != "mine" {
		t.Error("what was there is lost")
	}
	directory := t.TempDir()
	_, _, err = OpenResults(directory, rows)
	if want := "rebuild " + directory + ": it is a directory: move it away"; fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A file-size limit cuts a write in half as a full disk does. It holds for the
// whole process, so that this one is a child: the test's own log would meet it.
func TestAppendThatIsCut(t *testing.T) {
	if os.Getenv("LINEAGE_TEST_LIMIT") == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestAppendThatIsCut$")
		child.Env = append(os.Environ(), "LINEAGE_TEST_LIMIT=1")
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "results.tsv")
	r, _, err := OpenResults(path, rows)
	must(t, err)
	var before syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	limit := before
	limit.Cur = uint64(len(text) + 17)
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	err = r.Set(append(rows[:3:3], rows[1]))
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before))
	if want := "write to " + path + ": write " + path + ": file too large"; fmt.Sprint(err) != want || !errors.Is(err, syscall.EFBIG) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if got := read(t, path); got != text {
		t.Errorf("half a row was left: %q", got)
	}
	must(t, r.Set(append(rows[:3:3], rows[1])))
	if got := read(t, path); got != text+rows[1].String() {
		t.Errorf("got %q", got)
	}
}

// TestRowThatChanges has a row follow its candidate's mean. The file as it was
// is nobody's, and is not kept.
func TestRowThatChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.tsv")
	r, _, err := OpenResults(path, rows[:2])
	must(t, err)
	changed := []Row{rows[0], rows[1], rows[2]}
	changed[0].ValBPB = 0.9981
	must(t, r.Set(changed))
	if got, want := read(t, path), strings.Replace(text, "0.997900", "0.998100", 1); got != want {
		t.Errorf("got\n%s", got)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	must(t, os.WriteFile(path, []byte("mine"), 0o644))
	must(t, r.Set(rows))
	if read(t, path) != text || read(t, path+".orig-1") != "mine" {
		t.Errorf("somebody's file: %q, kept %q", read(t, path), read(t, path+".orig-1"))
	}
}

// FuzzResults: whatever results.tsv has become, it is put right, and what
// somebody wrote there is kept beside it.
func FuzzResults(f *testing.F) {
	rows := []Row{{"aaaaaaa", 1.5, 2.5, search.Keep, "baseline"}, {"bbbbbbb", 0, 0, search.Crash, "no\\ttabs"}}
	want := string(Table(rows))
	for _, seed := range []string{"", want, want[:len(want)-3], want + "x\n", strings.ToUpper(want), "\xff\x00", want[:20] + "\x1b[1m" + want[20:]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "results.tsv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		how, err := Differs(path, rows)
		if err != nil || (how == "") != (text == want) || strings.ContainsAny(how, "\n\r\x00\x1b") {
			t.Errorf("%q differs: %q, %v", text, how, err)
		}
		_, repaired, err := OpenResults(path, rows)
		if have, _ := os.ReadFile(path); err != nil || (repaired == "") != (text == want) || string(have) != want {
			t.Errorf("%q: %q, %v", text, repaired, err)
		}
		if kept, _ := os.ReadFile(path + ".orig-1"); !strings.HasPrefix(want, text) && string(kept) != text {
			t.Errorf("%q is kept as %q", text, kept)
		}
	})
}
