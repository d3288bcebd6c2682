package study

import (
	"strings"
	"testing"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

func TestEarlierStudies(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close() // read beside its daemon
	if err := j.SetStudy(journal.Study{Tag: "mar8", Workspace: "/w", BaseCommit: strings.Repeat("a", 40), StartedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	source, consts := simulate.Source(simulate.Upstream())
	for id, bpb := range []float64{0.9979, 0.99} {
		trial := search.Trial{ID: int64(id) + 1, Source: source, Constants: consts, StartedAt: time.Now(), Proposal: search.Proposal{Strategy: "x", Description: "x"}}
		for _, step := range []func() error{
			func() error { _, err := j.Begin(trial, strings.Repeat("a", 40), 0); return err },
			func() error { return j.End(trial.ID, search.Outcome{Status: search.Completed, ValBPB: bpb}) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := j.Decide(1, search.Decision{Verdict: search.Keep, Reason: "first"}); err != nil {
		t.Fatal(err)
	}
	got, err := Earlier([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	// The second trial has no decision yet.
	if len(got) != 1 || got[0].Name != "mar8" || len(got[0].Done) != 1 || len(got[0].Done[0].Trial.Constants) != len(consts) {
		t.Errorf("%+v", got)
	}
	missing := t.TempDir()
	if _, err := Earlier([]string{dir, missing}); err == nil || !strings.Contains(err.Error(), "search.warm_start: ") || !strings.Contains(err.Error(), missing) {
		t.Errorf("an empty folder: %v", err)
	}
}
