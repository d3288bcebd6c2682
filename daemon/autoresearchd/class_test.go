package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"autoresearchd/daemon/record"
	"autoresearchd/daemon/supervisor"
)

// TestClassesInWords has hosts and classes named where there are several, and
// nowhere else.
func TestClassesInWords(t *testing.T) {
	score := 0.99
	now := supervisor.Status{
		State: "running", Champion: &supervisor.TrialStatus{ID: 3, ValBPB: score, Runs: 1, Class: "NVIDIA H200"},
		Seats: []supervisor.SeatStatus{{Name: "cuda:0", State: supervisor.SeatIdle, Class: "NVIDIA H200"}, {Name: "cuda:1", State: supervisor.SeatIdle, Class: "NVIDIA H200"}},
	}
	rows := []record.Candidate{{ID: 1, ValBPB: &score, Scores: 1, Class: "NVIDIA H200"}, {ID: 2}}
	words := func() string {
		var b strings.Builder
		printStatus(&b, now)
		for _, line := range candidateTable(rows, func(int64) time.Duration { return 0 }, 0) {
			for _, part := range line {
				b.WriteString(part.Text + " ")
			}
		}
		return b.String()
	}
	if got := words(); strings.Contains(got, "NVIDIA") || strings.Contains(got, "CLASS") {
		t.Errorf("of one class:\n%s", got)
	}
	now.Seats[1].Class, now.Seats[1].Host = "NVIDIA A100", "n1"
	now.Confirm = &supervisor.ConfirmStatus{On: "NVIDIA H200", Waiting: 2, Seats: 1}
	rows[0].Class = "NVIDIA A100"
	rows = append(rows, record.Candidate{ID: 3, Class: "NVIDIA H200", Scores: 1, Elsewhere: []record.Elsewhere{{Class: "NVIDIA A100", ValBPB: 1.01, Scores: 2}}})
	got := words()
	for _, want := range []string{
		"0.990000, one run on NVIDIA H200 of candidate 3", "idle (here, NVIDIA H200)", "idle (n1, NVIDIA A100)",
		"on NVIDIA H200, for which 2 waiting", "CLASS", "NVIDIA A100",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
	now.Confirm.Seats, now.Confirm.Why = 0, "cuda:0 is quarantined (lost)"
	if got, want := words(), "nothing can be confirmed on NVIDIA H200 now, and 2 candidates wait for it: cuda:0 is quarantined (lost)"; !strings.Contains(got, want) {
		t.Errorf("%q is missing:\n%s", want, got)
	}
	if got := elsewhere(rows[2]); got != " on NVIDIA H200; 1.010000, the mean of 2 runs on NVIDIA A100" {
		t.Error(got)
	}
}

// TestClassOfNoSeat has a class to confirm on that this machine has not refused
// by doctor, and at start with the one that there is, in which case nothing runs.
func TestClassOfNoSeat(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	set := func(class string) {
		text := regexp.MustCompile(`(?s)\n\[judge\].*?(\n\[|$)`).ReplaceAllString(s.read("autoresearch.toml"), "$1")
		s.write("autoresearch.toml", text+fmt.Sprintf("\n[judge]\nrule = \"confirm\"\nconfirm_on = %q\n", class))
	}
	set("NVIDIA H200")
	out, fault, code := s.cli("run", "--trials", "1")
	at := strings.Index(fault, `judge.confirm_on "NVIDIA H200" is the class of no seat: there is "`)
	if code == 0 || at < 0 {
		t.Fatalf("ended with %d: %s%s", code, out, fault)
	}
	there, _, _ := strings.Cut(fault[at+len(`judge.confirm_on "NVIDIA H200" is the class of no seat: there is "`):], `"`)
	report, _, _ := s.cli("doctor")
	if !strings.Contains(report, "cpu ("+there+") runs one trial at a time") || !strings.Contains(report, `judge.confirm_on "NVIDIA H200" is the class of none`) {
		t.Errorf("doctor on %q: %s", there, report)
	}
	set(there)
	s.ok("run", "--trials", "1")
	if shown := s.ok("show", "1"); !strings.Contains(shown, "on cpu ("+there+")") {
		t.Error(shown)
	}
}
