package main

import (
	"context"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
	"autoresearchd/search/tpe"
)

// TestReloadKnowsTheHistory goes over from evolution to tpe in mid-study: the
// next proposal is the one that tpe makes of the study's record.
func TestReloadKnowsTheHistory(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "10")
	s.hold()
	d := s.start()
	s.training(11)
	s.configure("\n[search]\nstrategy = \"tpe\"\n[http]\nlisten = \"\"\n")
	must(t, d.Process.Signal(syscall.SIGHUP))
	s.open()
	d.until("configuration reloaded")
	first, err := strconv.Atoi(regexp.MustCompile(`trial=(\d+)`).FindStringSubmatch(d.until("trial begins"))[1])
	must(t, err)

	r, err := journal.OpenReader(s.path("state"))
	must(t, err)
	defer r.Close()
	records, err := r.Trials()
	must(t, err)
	var h search.History
	for _, rec := range records[:first-1] {
		if rec.Trial.Proposal.Strategy == tpe.Name {
			t.Errorf("trial %d, before the reload, is by tpe", rec.Trial.ID)
		}
		h.Done = append(h.Done, rec.Result)
		if rec.Decision.Verdict == search.Keep {
			h.Champion = rec.Trial
		}
	}
	h.Space, err = search.NewSpace(h.Champion.Constants, nil)
	must(t, err)
	ask := func(h search.History) search.Proposal {
		t.Helper()
		fresh, err := tpe.New(search.Environment{Seed: 42}) // [study] seed
		must(t, err)
		p, err := fresh.Ask(context.Background(), h)
		must(t, err)
		return p
	}
	got, want := records[first-1].Trial.Proposal, ask(h)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("trial %d after the reload is\n%+v\nwant, of what is recorded,\n%+v", first, got, want)
	}
	// Were the good trials the bad ones, it would propose something else.
	mirrored := h
	mirrored.Done = slices.Clone(h.Done)
	for i := range mirrored.Done {
		o := &mirrored.Done[i].Outcome
		o.ValBPB = 2*h.Done[0].Outcome.ValBPB - o.ValBPB
	}
	if p := ask(mirrored); reflect.DeepEqual(p.Values, got.Values) {
		t.Errorf("tpe proposes %v whatever the scores are", p.Values)
	}
}
