package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/search"
)

// TestTwoSeats runs real trials on two shares of the CPU: one of them is
// cancelled and the other goes on, the daemon is killed with two running, the
// next one reloads, pauses and goes on. Each trial is decided once, and has one
// row, in the order of decisions.
func TestTwoSeats(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), `devices = "cpu"`, `devices = ["cpu:0", "cpu:1"]`, 1))
	s.ok("run", "--trials", "1")
	s.hold()
	d := s.start()
	s.training(2)
	s.training(3)
	on := map[int64]string{}
	seats := s.now().Seats
	for _, seat := range seats {
		if seat.Trial != nil {
			on[seat.Trial.ID] = seat.Name
		}
	}
	if len(seats) != 2 || len(on) != 2 || on[2] == on[3] || !strings.HasPrefix(on[2], "cpu:") {
		t.Fatalf("seats %+v", seats)
	}
	if _, fault, code := s.cli("cancel"); code != 1 || !strings.Contains(fault, "2 on "+on[2]) || !strings.Contains(fault, "3 on "+on[3]) {
		t.Errorf("cancel of no one ended with %d: %s", code, fault)
	}
	s.ok("cancel", on[2])
	s.training(4) // in its place; 3 trains on
	s.training(3)
	must(t, d.Process.Kill())
	d.end()

	d = s.start()
	s.training(5)
	s.training(6)
	if left := s.seats(); len(left) < 2 {
		t.Errorf("of two running trials the processes are %v", left)
	}
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), `strategy = "evolution"`, `strategy = "random"`, 1))
	must(t, d.Process.Signal(syscall.SIGHUP))
	s.ok("pause")
	s.open()
	d.until("trial ends")
	d.until("trial ends")
	s.poll("both seats to rest", func() bool { return s.now().State == "paused" })
	s.ok("resume")
	d.until("configuration reloaded")
	for range 4 {
		d.until("trial ends")
	}
	s.ok("stop")
	if code := d.end(); code != 0 {
		t.Fatalf("ended with %d\n%s", code, strings.Join(d.said, "\n"))
	}

	r, err := journal.OpenReader(s.path("state"))
	must(t, err)
	defer r.Close()
	records, err := r.Trials()
	must(t, err)
	want := lineage.ResultsHeader
	var done []search.Result
	commits := map[int64]string{}
	seen := map[int64]bool{}
	by := map[string]int{}
	for i, rec := range records {
		done, commits[rec.Trial.Candidate] = append(done, rec.Result), rec.Commit
		id := rec.Trial.ID
		if seen[id] || rec.Decided != int64(i+1) || rec.Stage != search.StageDone || !strings.Contains(rec.Trial.Kind, "CPU core") {
			t.Errorf("record %d is trial %d on %q, decision %d, %s", i+1, id, rec.Trial.Kind, rec.Decided, rec.Stage)
		}
		seen[id] = true
		by[rec.Trial.Device]++
		interrupted := slices.Contains([]int64{2, 3, 4}, id)
		if (rec.Outcome.Status == search.Interrupted) != interrupted || !interrupted && rec.Outcome.Status != search.Completed {
			t.Errorf("trial %d is %s: %s", id, rec.Outcome.Status, rec.Outcome.Detail)
		}
		wanted := "evolution"
		switch {
		case id == 1:
			wanted = "baseline"
		case id > 6:
			wanted = "random"
		}
		if got := rec.Trial.Proposal.Strategy; got != wanted {
			t.Errorf("trial %d is by %s, want %s", id, got, wanted)
		}
	}
	for _, c := range search.Decided(done) {
		want += lineage.NewRow(commits[c.ID], c).String()
	}
	if got := s.read("state/results.tsv"); got != want {
		t.Errorf("results.tsv is\n%s\nwant\n%s", got, want)
	}
	if len(records) < 10 || by["cpu:0"] < 2 || by["cpu:1"] < 2 {
		t.Errorf("%d trials: %v", len(records), by)
	}
	refs := strings.Fields(s.git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/autoresearch/test/trial"))
	if decided := len(search.Decided(done)); len(refs) != decided {
		t.Errorf("git keeps %v of %d candidates", refs, decided)
	}
}
