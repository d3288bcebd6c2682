package search_test

import (
	"math"
	"strings"
	"testing"

	"autoresearchd/search"
)

func TestGreedy(t *testing.T) {
	greedy, err := search.LookupJudge("greedy")
	if err != nil {
		t.Fatal(err)
	}
	done := []search.Result{{Trial: search.Trial{ID: 1}, Outcome: search.Outcome{Status: search.Completed, ValBPB: 0.9979}}}
	with := search.History{Champion: search.Trial{ID: 1}, Done: done}
	tests := []struct {
		name    string
		h       search.History
		o       search.Outcome
		verdict search.Verdict
		reason  string
	}{
		{"first", search.History{}, search.Outcome{Status: search.Completed, ValBPB: 0.9979}, search.Keep, "val_bpb 0.997900 is the first score, the one to beat"},
		{"lower", with, search.Outcome{Status: search.Completed, ValBPB: 0.99}, search.Keep, "val_bpb 0.990000 is 0.007900 below the champion's 0.997900"},
		{"a hair lower", with, search.Outcome{Status: search.Completed, ValBPB: 0.9979 - 1e-9}, search.Keep, "val_bpb 0.997900 is 1.0e-09 below the champion's 0.997900"},
		{"equal", with, search.Outcome{Status: search.Completed, ValBPB: 0.9979}, search.Discard, "val_bpb 0.997900 equals the champion's"},
		{"higher", with, search.Outcome{Status: search.Completed, ValBPB: 1.0}, search.Discard, "val_bpb 1.000000 is 0.002100 above the champion's 0.997900"},
		{"crashed", with, search.Outcome{Status: search.Crashed, ValBPB: 0.5, Detail: "Traceback\nValueError: no"}, search.Crash, "crashed: ValueError: no"},
		{"oom", with, search.Outcome{Status: search.OutOfMemory}, search.Crash, "out of memory"},
		{"timed out", with, search.Outcome{Status: search.TimedOut, Detail: "no step for 60 s"}, search.Crash, "timed out: no step for 60 s"},
		{"diverged", with, search.Outcome{Status: search.Diverged}, search.Crash, "diverged"},
		{"tampered", with, search.Outcome{Status: search.Tampered, ValBPB: 0.1}, search.Crash, "tampered"},
		{"pruned", with, search.Outcome{Status: search.Pruned}, search.Discard, "pruned before it had a score"},
		{"interrupted", with, search.Outcome{Status: search.Interrupted}, search.Discard, "interrupted before it had a score"},
		{"NaN", with, search.Outcome{Status: search.Completed, ValBPB: math.NaN()}, search.Crash, "completed, but val_bpb NaN is not a score: it must be above 0 and at most 20"},
		{"infinite", search.History{}, search.Outcome{Status: search.Completed, ValBPB: math.Inf(-1)}, search.Crash, ""},
		{"zero", search.History{}, search.Outcome{Status: search.Completed}, search.Crash, ""},
		{"absurd", search.History{}, search.Outcome{Status: search.Completed, ValBPB: 21}, search.Crash, ""},
		{"none", with, search.Outcome{}, search.Crash, "it has no outcome"},
	}
	for _, test := range tests {
		got := greedy.Judge(test.h, search.Result{Trial: search.Trial{ID: 2}, Outcome: test.o})
		if got.Verdict != test.verdict || test.reason != "" && got.Reason != test.reason {
			t.Errorf("%s: %s, %q; want %s, %q", test.name, got.Verdict, got.Reason, test.verdict, test.reason)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	if _, err := search.LookupJudge("fair"); err == nil || err.Error() != `unknown judge rule "fair": known are confirm, greedy` {
		t.Errorf("judge: %v", err)
	}
	r := search.NewRegistry()
	f := func(search.Environment) (search.Strategy, error) { return nil, nil }
	type options struct {
		Size   int      `toml:"size" doc:"how many"`
		Around string   `toml:"around"`
		Scale  float64  `toml:"scale" doc:"how far"`
		Models []string `toml:"models"`
		hidden int
	}
	r.Register("b", f, options{3, "here", 1, []string{"x"}, 0})
	r.Register("a", f, nil)
	if _, err := r.Lookup("c"); err == nil || err.Error() != `unknown strategy "c": known are a, b` {
		t.Errorf("strategy: %v", err)
	}
	want := "[search.b]\nsize = 3         # how many\naround = \"here\"\nscale = 1.0      # how far\nmodels = [\"x\"]\n"
	if got := r.TOML("b"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := r.TOML("a") + strings.Join(r.Names(), " "); got != "[search.a]\na b" {
		t.Errorf("got %s", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name taken twice: no panic")
		}
	}()
	r.Register("a", f, nil)
}

func TestStages(t *testing.T) {
	order := []search.Stage{"", search.StageBegun, search.StageEnded, search.StageDecided, search.StageCommitted, search.StageRecorded, search.StageDone}
	for i, from := range order {
		for k, to := range order {
			if got, want := from.CanBecome(to), k == i+1; got != want {
				t.Errorf("%q can become %q: %v", from, to, got)
			}
			if got, want := from.Reached(to), i >= k; got != want {
				t.Errorf("%q reached %q: %v", from, to, got)
			}
		}
	}
}
