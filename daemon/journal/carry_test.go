package journal

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"autoresearchd/search"
)

// version1 makes a state directory with the journal of a study of ten trials
// that the last program wrote which knew of trials only.
func version1(t *testing.T) (dir string) {
	t.Helper()
	f, err := os.Open("testdata/version1.db.gz")
	must(t, err)
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	must(t, err)
	data, err := io.ReadAll(unpacked)
	must(t, err)
	dir = t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, fileName), data, 0o640))
	return dir
}

// TestCarriedOver reads a journal of version 1 as it lies, and then opens it:
// no trial is lost, and each has its candidate.
func TestCarriedOver(t *testing.T) {
	dir := version1(t)
	before, err := os.ReadFile(filepath.Join(dir, fileName))
	must(t, err)
	const want = `1: baseline of 1, keep
2: confirm of 1, discard
3: scripted of 3, discard
4: confirm of 3, discard
5: scripted of 5, discard
6: confirm of 5, keep
7: scripted of 7, crash
8: scripted of 8, discard
9: scripted of 9, discard
10: confirm of 9, discard
`
	look := func(from interface {
		Trials() ([]Record, error)
		Replay(func(Record) error) error
		Sessions() ([]Session, error)
	}) {
		t.Helper()
		records, err := from.Trials()
		must(t, err)
		var got strings.Builder
		h := search.History{}
		for _, r := range records {
			fmt.Fprintf(&got, "%d: %s of %d, %s\n", r.Trial.ID, r.Trial.Proposal.Strategy, r.Trial.Candidate, r.Decision.Verdict)
			h.Done = append(h.Done, r.Result)
		}
		if got.String() != want {
			t.Errorf("got\n%s", got.String())
		}
		standings := ""
		for _, c := range search.Candidates(h) {
			standings += fmt.Sprintf("%d %s, ", c.ID, c.Standing)
		}
		if standings != "1 kept, 3 refuted, 5 kept, 7 crashed, 8 discarded, 9 pending, " {
			t.Error(standings)
		}
		sessions, err := from.Sessions()
		must(t, err)
		if got := fmt.Sprint(sessions); got != "[{2000-01-01 00:00:00 +0000 UTC 2000-01-01 00:43:50 +0000 UTC 1}]" {
			t.Errorf("sessions %s", got)
		}
		n := 0
		must(t, from.Replay(func(r Record) error {
			if n++; len(r.Trial.Source) == 0 || r.Stage != search.StageDone {
				t.Errorf("trial %d: source of %d bytes, %s", r.Trial.ID, len(r.Trial.Source), r.Stage)
			}
			return nil
		}))
		if n != len(records) {
			t.Errorf("%d of %d trials are replayed", n, len(records))
		}
	}
	r, err := OpenReader(dir)
	must(t, err)
	look(r)
	must(t, r.Close())
	if now, err := os.ReadFile(filepath.Join(dir, fileName)); err != nil || !bytes.Equal(now, before) || names(t, dir) != fileName {
		t.Errorf("reading changed it: %v, there are %s", err, names(t, dir))
	}
	for range 2 {
		j, err := Open(dir)
		must(t, err)
		look(j)
		must(t, j.Close())
	}
	r, err = OpenReader(dir)
	must(t, err)
	defer r.Close()
	look(r)
}
