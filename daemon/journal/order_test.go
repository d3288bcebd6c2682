package journal

import (
	"slices"
	"testing"
	"time"

	"autoresearchd/search"
)

// TestOrderOfDecisions runs two trials at a time: what is done is ordered by
// decisions wherever it is read, and what is not decided comes last.
func TestOrderOfDecisions(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(j.SetStudy(Study{Tag: "t", Workspace: "/w", BaseCommit: "c0", StartedAt: time.Unix(0, 0).UTC(), Budget: search.Budget{Seconds: 1}}))
	decide := func(id int64) {
		t.Helper()
		must(j.End(id, search.Outcome{Status: search.Completed, ValBPB: 1}))
		must(j.Decide(id, search.Decision{Verdict: search.Discard, Reason: "slow"}))
	}
	for id := range int64(4) {
		must(begin(j, search.Trial{ID: id + 1, Source: []byte("x = 1\n"), StartedAt: time.Unix(id, 0).UTC()}, "c0", 0))
	}
	decide(3)
	decide(1)
	want := []int64{3, 1, 2, 4}
	ids := func(all []Record, err error) []int64 {
		t.Helper()
		must(err)
		var out []int64
		for _, r := range all {
			out = append(out, r.Trial.ID)
		}
		return out
	}
	var replayed []Record
	must(j.Replay(func(r Record) error { replayed = append(replayed, r); return nil }))
	for name, got := range map[string][]int64{
		"trials": ids(j.Trials()), "unfinished": ids(j.Unfinished()), "some": ids(j.Some([]int64{1, 2, 3, 4})), "replay": ids(replayed, nil),
	} {
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
