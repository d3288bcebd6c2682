package lineage

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
)

// told is all that was read, a line each.
func told(f Foreign, err error) string {
	var b strings.Builder
	for _, p := range f.Rows {
		fmt.Fprintf(&b, "%d %s %.6f %.1f %s %s\n", p.Line, p.Commit, p.ValBPB, p.MemoryGB, p.Status, p.Description)
	}
	for _, r := range f.Left {
		fmt.Fprintf(&b, "left out: %s\n", r)
	}
	for _, r := range f.Notes {
		fmt.Fprintf(&b, "note: %s\n", r)
	}
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

const top = ResultsHeader

func utf16le(s string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune("\ufeff" + s)) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}

func TestReadForeign(t *testing.T) {
	two := "2 a1b2c3d 0.997900 44.0 keep baseline\n3 b2c3d4e 1.005000 44.0 discard switch to GeLU"
	body := "a1b2c3d\t0.997900\t44.0\tkeep\tbaseline\nb2c3d4e\t1.005000\t44.0\tdiscard\tswitch to GeLU\n"
	for _, c := range []struct{ name, in, want string }{
		{"upstream's", text, two + "\n4 c3d4e5f 0.000000 0.0 crash double width"},
		{"BOM and CRLF", "\ufeff" + strings.ReplaceAll(top+body, "\n", "\r\n"), two},
		{"lone CR", strings.ReplaceAll(top+body, "\n", "\r"), two},
		{"UTF-16", utf16le(top + body), two},
		{"trailing blanks", strings.ReplaceAll(top+body, "\n", "  \t \n"), two},
		{"quotes", strings.ReplaceAll(strings.ReplaceAll(top+body, "\t", "\"\t\""), "\n", "\"\n"), strings.Replace(two, "\n3", "\n3", 1)},
		{"any order, more columns", "timestamp\tstatus\tval_bpb\tparams_M\tmfu\tdescription\tcommit\n" +
			"2026-03-08\tkeep\t0.9979\t50.3\t39.8\tbaseline\ta1b2c3d\n2026-03-08\tdiscard\t1.005\t50.3\t39.8\tswitch to GeLU\tb2c3d4e\n",
			strings.ReplaceAll(two, "44.0", "0.0")},
		{"fewer columns", "commit\tval_bpb\tstatus\na1b2c3d\t0.9979\tkeep\n", "2 a1b2c3d 0.997900 0.0 keep no description"},
		{"no status", "commit\tval_bpb\tdescription\na1b2c3d\t0.9979\tbaseline\nb2c3d4e\t1.005\tworse\nc3d4e5f\t0.99\tbetter\nd4e5f6a\tnan\tboom\n",
			"2 a1b2c3d 0.997900 0.0 keep baseline\n3 b2c3d4e 1.005000 0.0 discard worse\n4 c3d4e5f 0.990000 0.0 keep better\n5 d4e5f6a 0.000000 0.0 crash boom\n" +
				"note: line 2: it does not say whether it was kept: taken for keep, its val_bpb being the lowest so far\n" +
				"note: line 3: it does not say whether it was kept: taken for discard, its val_bpb not being the lowest so far\n" +
				"note: line 4: it does not say whether it was kept: taken for keep, its val_bpb being the lowest so far\n" +
				"note: line 5: its score is nan: taken for a crash"},
		{"no header", body, strings.NewReplacer("3 b2", "2 b2", "2 a1", "1 a1").Replace(two) + "\nnote: it has no header: the columns are taken to be commit, val_bpb, memory_gb, status, description"},
		{"CSV", "commit,val_bpb,memory_gb,status,description\na1b2c3d,0.9979,44.0,keep,baseline\nb2c3d4e,1.005,44.0,discard,\"switch, to \"\"GeLU\"\"\"\nc3d4e5f,1.1,44.0,discard,a, b\n",
			"2 a1b2c3d 0.997900 44.0 keep baseline\n3 b2c3d4e 1.005000 44.0 discard switch, to \"GeLU\"\n4 c3d4e5f 1.100000 44.0 discard a, b"},
		{"semicolons and decimal commas", "commit;val_bpb;memory_gb;status;description\na1b2c3d;0,9979;44,0;keep;baseline\n", "2 a1b2c3d 0.997900 44.0 keep baseline"},
		{"aligned with blanks", "commit   val_bpb   memory_gb  status   description\na1b2c3d  0.997900  44.0       keep     baseline\nb2c3d4e  1.005000  44.0       discard  switch to GeLU\n", two},
		{"single blanks", "commit val_bpb memory_gb status description\na1b2c3d 0.9979 44.0 keep baseline\nb2c3d4e 1.005 44.0 discard switch to GeLU\n", two},
		{"a table in Markdown", "# What was tried\n\n| commit | val_bpb | memory_gb | status | description |\n|:---|---:|---|---|---|\n| `a1b2c3d` | **0.9979** | 44.0 | ✅ keep | baseline |\n| b2c3d4e | 1.005 | 44.0 | ❌ discard | a \\| b |\n",
			"5 a1b2c3d 0.997900 44.0 keep baseline\n6 b2c3d4e 1.005000 44.0 discard a | b"},
		{"echo without -e", top + `a1b2c3d\t0.9979\t44.0\tkeep\tbaseline` + "\n", "2 a1b2c3d 0.997900 44.0 keep baseline"},
		{"blanks for tabs in one row", top + "a1b2c3d 0.9979 44.0 keep baseline of all\n", "2 a1b2c3d 0.997900 44.0 keep baseline of all"},
		{"tabs in the words", top + "a1b2c3d\t1\t2\tkeep\tb\tc\n", "2 a1b2c3d 1.000000 2.0 keep b\\tc"},
		{"words before the last column", "commit\tdescription\tval_bpb\tstatus\na1b2c3d\tb\tc\t1\tkeep\n", "2 a1b2c3d 1.000000 0.0 keep b\\tc"},
		{"empty cells", top + "a1b2c3d\t1.095\t\tkeep\t\n\t0.000000\t0.0\tcrash\tnever committed\nb2c3d4e\t\t\tcrash\tran out\nc3d4e5f\t\t\tdiscard\tx\nd4e5f6a\t1\t\t\ty\n",
			"2 a1b2c3d 1.095000 0.0 keep no description\n4 b2c3d4e 0.000000 0.0 crash ran out\n" +
				"left out: line 3: it names no commit: \"\\t0.000000\\t0.0\\tcrash\\tnever committed\"\n" +
				"left out: line 5: it has no score, and its status is discard: \"c3d4e5f\\t\\t\\tdiscard\\tx\"\nleft out: line 6: its status is empty: \"d4e5f6a\\t1\\t\\t\\ty\""},
		{"words for nothing", top + "a1b2c3d\t1\t-\tkeep\tx\nb2c3d4e\tn/a\tN/A\tcrash\ty\nc3d4e5f\tnan\t0\tdiscard\tz\nd4e5f6a\t-\t-\tkeep\tw\n",
			"2 a1b2c3d 1.000000 0.0 keep x\n3 b2c3d4e 0.000000 0.0 crash y\n4 c3d4e5f 0.000000 0.0 crash z\n" +
				"left out: line 5: it has no score, and its status is keep: \"d4e5f6a\\t-\\t-\\tkeep\\tw\"\nnote: line 4: its score is nan: taken for a crash"},
		{"what is no score", top + "a1b2c3d\t0.000000\t1\tdiscard\tx\nb2c3d4e\t-1\t1\tkeep\ty\nc3d4e5f\t1e9\t1\tkeep\tz\nd4e5f6a\tfast\t1\tkeep\tw\ne5f6a7b\t68.6%\t1\tkeep\tw\n",
			"left out: line 2: 0.000000 cannot be a val_bpb: \"a1b2c3d\\t0.000000\\t1\\tdiscard\\tx\"\nleft out: line 3: -1 cannot be a val_bpb: \"b2c3d4e\\t-1\\t1\\tkeep\\ty\"\n" +
				"left out: line 4: 1e9 cannot be a val_bpb: \"c3d4e5f\\t1e9\\t1\\tkeep\\tz\"\nleft out: line 5: its score \"fast\" is not a number: \"d4e5f6a\\tfast\\t1\\tkeep\\tw\"\n" +
				"left out: line 6: its score \"68.6%\" is not a number: \"e5f6a7b\\t68.6%\\t1\\tkeep\\tw\""},
		{"deviations", top + "a1b2c3d\t0.9979 ± 0.001\t1\tkeep\tx\n", "2 a1b2c3d 0.997900 1.0 keep x"},
		{"commits", top + "A1B2C3D\t1\t1\tkeep\tx\n`a1b2c3d`\t1\t1\tkeep\tx\n" + strings.Repeat("ab", 20) + "\t1\t1\tkeep\tx\nhttps://github.com/u/r/commit/a1b2c3d4\t1\t1\tkeep\tx\n[a1b2c3d](../commit/a1b2c3d)\t1\t1\tkeep\tx\na1b2c3d (HEAD)\t1\t1\tkeep\tx\na1b2c3d-dirty\t1\t1\tkeep\tx\nworking tree\t1\t1\tkeep\tx\nHEAD~1\t1\t1\tkeep\tx\n-\t1\t1\tkeep\tx\nexp7\t1\t1\tkeep\tx\nabc\t1\t1\tkeep\tx\n0000000\t1\t1\tdiscard\tx\n",
			"2 a1b2c3d 1.000000 1.0 keep x\n3 a1b2c3d 1.000000 1.0 keep x\n4 " + strings.Repeat("ab", 20) + " 1.000000 1.0 keep x\n5 a1b2c3d4 1.000000 1.0 keep x\n6 a1b2c3d 1.000000 1.0 keep x\n7 a1b2c3d 1.000000 1.0 keep x\n" +
				"left out: line 8: it ran on changes to a1b2c3d that no commit holds: \"a1b2c3d-dirty\\t1\\t1\\tkeep\\tx\"\nleft out: line 9: its commit \"working tree\" is not a hash: \"working tree\\t1\\t1\\tkeep\\tx\"\n" +
				"left out: line 10: its commit \"HEAD~1\" is not a hash: \"HEAD~1\\t1\\t1\\tkeep\\tx\"\nleft out: line 11: it names no commit: \"-\\t1\\t1\\tkeep\\tx\"\nleft out: line 12: its commit \"exp7\" is not a hash: \"exp7\\t1\\t1\\tkeep\\tx\"\n" +
				"left out: line 13: its commit \"abc\" is not a hash: \"abc\\t1\\t1\\tkeep\\tx\"\nleft out: line 14: it names no commit: \"0000000\\t1\\t1\\tdiscard\\tx\""},
		{"a baseline without a commit", top + "baseline\t1.1\t1\tkeep\tstart\na1b2c3d\t1\t1\tkeep\tx\nbaseline\t1.1\t1\tkeep\tagain\n",
			"2  1.100000 1.0 keep start\n3 a1b2c3d 1.000000 1.0 keep x\nleft out: line 4: its commit \"baseline\" is not a hash: \"baseline\\t1.1\\t1\\tkeep\\tagain\""},
		{"the same by its words", top + "-\t1.1\t1\tkeep\tBaseline (H100)\n", "2  1.100000 1.0 keep Baseline (H100)"},
		{"units", "commit\tval_bpb\tpeak_vram_mb\tstatus\tdescription\na1b2c3d\t1\t45060.2\tkeep\tx\nb2c3d4e\t1\t44.0 GB\tkeep\tx\n", "2 a1b2c3d 1.000000 44.0 keep x\n3 b2c3d4e 1.000000 44.0 keep x"},
		{"no unit", "commit\tval_bpb\tvram\tstatus\tdescription\na1b2c3d\t1\t44.0\tkeep\tx\na1b2c3d\t1\t44.0\tkeep\tx\nb2c3d4e\t1\t44.0GB\tkeep\tx\n",
			"2 a1b2c3d 1.000000 0.0 keep x\n3 a1b2c3d 1.000000 0.0 keep x\n4 b2c3d4e 1.000000 44.0 keep x\nnote: the column vram does not say its unit, so it is not read: call it memory_gb or memory_mb"},
		{"megabytes under gigabytes", top + "a1b2c3d\t1\t45060.2\tkeep\tx\nb2c3d4e\t1\tlots\tkeep\tx\n",
			"2 a1b2c3d 1.000000 0.0 keep x\n3 b2c3d4e 1.000000 0.0 keep x\nnote: line 2: memory_gb \"45060.2\" is not read: it cannot be in that unit\nnote: line 3: memory_gb \"lots\" is not read"},
		{"comments, rules, fences", "// begun on Monday\n```tsv\n" + top + "# the second day\n\n-----\n" + body + "```\n", strings.NewReplacer("2 a1", "7 a1", "3 b2", "8 b2").Replace(two)},
		{"a header that is a comment", "# " + top + body, two},
		{"a conflict", top + "<<<<<<< HEAD\na1b2c3d\t1\t1\tkeep\tx\n=======\nb2c3d4e\t1\t1\tkeep\ty\n>>>>>>> other\n",
			"3 a1b2c3d 1.000000 1.0 keep x\n5 b2c3d4e 1.000000 1.0 keep y\nleft out: line 2: a git conflict's mark; the rows of both sides are read\nleft out: line 4: a git conflict's mark; the rows of both sides are read\nleft out: line 6: a git conflict's mark; the rows of both sides are read"},
		{"half of a last line", top + "a1b2c3d\t1\t1\tkeep\tx\nb2c3d4e\t0.9", "2 a1b2c3d 1.000000 1.0 keep x\nleft out: line 3: it has 2 of the 5 columns (the last line, without an end: half written): \"b2c3d4e\\t0.9\""},
		{"Windows-1252", top + "a1b2c3d\t1\t1\tkeep\tcaf\xe9 \x96 2\x80\n", "2 a1b2c3d 1.000000 1.0 keep café – 2€\nnote: line 2: it is not UTF-8: read as Windows-1252"},
		{"a column that came later", "commit\tval_bpb\tstatus\na1b2c3d\t1\tkeep\ncommit\tval_bpb\tmemory_gb\tstatus\tdescription\nb2c3d4e\t0.9\t2\tkeep\tx\n", "2 a1b2c3d 1.000000 0.0 keep no description\n4 b2c3d4e 0.900000 2.0 keep x"},
		{"too many cells", "commit\tval_bpb\tstatus\na1b2c3d\t1\tkeep\tx\n", "left out: line 2: it has 4 cells under 3 columns: \"a1b2c3d\\t1\\tkeep\\tx\""},
		{"bpb", "sha,bpb,verdict,notes\na1b2c3d,1,kept,x\n", "2 a1b2c3d 1.000000 0.0 keep x"},
		{"nothing", "", "it has no rows"},
		{"a header alone", top, ""},
		{"prose", "We tried a few things.\n", "line 1 is \"We tried a few things.\", neither the header \"commit\\tval_bpb\\tmemory_gb\\tstatus\\tdescription\" nor a row under it: write the header above the rows"},
		{"no commits", "experiment\tval_bpb\tstatus\n1\t1\tkeep\n", "line 1: no column is called commit (there are experiment, val_bpb, status): without one the train.py of a row cannot be found; add it, with each trial's commit hash"},
		{"a loss", "commit\tval_loss\tstatus\tdescription\na1b2c3d\t3.1\tkeep\tx\n", "line 1: no column is called val_bpb (there are commit, val_loss, status, description): if val_loss holds what this workspace's prepare.py evaluates, lower being better, add --score val_loss"},
		{"two scores", "commit\tbpb\teval_bpb\tstatus\n", "line 1: the columns bpb and eval_bpb could each be val_bpb: choose with --score bpb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := told(ReadForeign([]byte(c.in), "")); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	loss := "commit\tval_loss\tstatus\tdescription\na1b2c3d\t3.1\tkeep\tx\n"
	if got := told(ReadForeign([]byte(loss), "val_loss")); got != "2 a1b2c3d 3.100000 0.0 keep x" {
		t.Errorf("with --score: %s", got)
	}
	if got := told(ReadForeign([]byte(loss), "bits")); got != "line 1: no column is called bits; there are commit, val_loss, status, description" {
		t.Errorf("with another --score: %s", got)
	}
}

func TestStatusWords(t *testing.T) {
	for want, cells := range map[string]string{
		"keep":    "keep, KEEP , Kept, kept (best), **keep**, ✓, ✔️, ✅, ✅ KEEP, baseline, Baseline, keep-baseline, new best, accepted, improved, merged, yes, True, champion",
		"discard": "discard, Discarded, reverted, REVERT, rejected, rolled back, ✗, ❌, ❌ discard, no improvement, worse, dropped, discard - worse than 0.99, no, not kept",
		"crash":   "crash, CRASHED, oom, OOM, out of memory, Out-of-Memory, timeout, timed out, TIMED_OUT, error, crash (OOM), crash: timeout, diverged, nan, killed, 💥, runtime error",
		"failed":  "fail, FAILED, failure",
		"":        "ok, success, done, Completed",
		"?":       "pending, running, maybe, keep?discard, kept then reverted, not improved, queued, 0.99, baseline then crash then keep, skip",
	} {
		for cell := range strings.SplitSeq(cells, ",") {
			v, known := verdict(strings.TrimSpace(cell))
			if !known {
				v = "?"
			}
			if string(v) != want {
				t.Errorf("%q: %q, want %q", cell, v, want)
			}
		}
	}
	// A failure with a score had no gain; one without had no run.
	if got := told(ReadForeign([]byte(top+"a1b2c3d\t1.1\t1\tfailed\tx\nb2c3d4e\t0.0\t0\tfailed\ty\n"), "")); got != "2 a1b2c3d 1.100000 1.0 discard x\n3 b2c3d4e 0.000000 0.0 crash y" {
		t.Error(got)
	}
}

// Nothing is read as something else than it is written as: what is read,
// written as our own file and read again is the same.
func FuzzReadForeign(f *testing.F) {
	f.Add([]byte(text))
	f.Add([]byte(top + "abcd\t1e3\t0x1p4\tCRASH\t\"q\"\tx\r\n\n"))
	f.Add([]byte("sha,bpb,verdict\nabcde,1,ok\nabcdf,2,OOM\n"))
	f.Add([]byte("| commit | val_bpb | status | description |\n|--|--|--|--|\n| abcd | 1 | ✅ | \x00\xff\u2028 |\n"))
	f.Add([]byte(utf16le(text)))
	f.Fuzz(func(t *testing.T, in []byte) {
		first, _ := ReadForeign(in, "")
		out := top
		for i, p := range first.Rows {
			if p.Commit == "" && i == 0 {
				p.Commit = "abcd"
			}
			line := p.String()
			if strings.Count(line, "\t") != 4 || strings.Count(line, "\n") != 1 {
				t.Fatalf("not a row of five columns: %q", line)
			}
			out += line
		}
		if len(first.Rows) == 0 {
			return
		}
		second, err := ReadForeign([]byte(out), "")
		if err != nil || len(second.Rows)+len(second.Left) != len(first.Rows) {
			t.Fatalf("%q: %d rows, then %d: %v", in, len(first.Rows), len(second.Rows), err)
		}
		for _, r := range second.Left { // six decimals can make nothing of a tiny score
			if !strings.Contains(r.Text, "cannot be a val_bpb") {
				t.Fatalf("%q: %s", out, r)
			}
		}
	})
}
