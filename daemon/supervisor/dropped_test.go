package supervisor

import (
	"bytes"
	"context"
	"testing"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// dropping is a trainer under whose inspection a suggestion is taken back.
type dropping struct {
	swift
	drop func()
}

func (d *dropping) Inspect(ctx context.Context, source []byte) (trainer.Inspection, error) {
	if bytes.Contains(source, []byte("DEPTH = 9")) && d.drop != nil {
		d.drop()
		d.drop = nil
	}
	return d.swift.Inspect(ctx, source)
}

// TestDroppedWhileItsTurnCame takes a suggestion back between the moment when it
// is chosen and the one when its trial begins: the study goes on with another.
func TestDroppedWhileItsTurnCame(t *testing.T) {
	ctx := context.Background()
	dir := scratch(t)
	newWorkspace(t, dir)
	c, err := settings(dir, "study.trials=3")
	must(t, err)
	repo, err := lineage.Open(ctx, c.Study.Workspace)
	must(t, err)
	j, err := journal.Open(c.Study.State)
	must(t, err)
	defer j.Close()
	var s *Supervisor
	tr := &dropping{swift: swift{state: c.Study.State, journal: j}}
	suggested, said := false, ""
	finished := func(study.Ending) {
		if !suggested && s.study.Champion() != nil {
			suggested = true
			_, err := s.Suggest(ctx, map[string]search.Value{"DEPTH": search.IntValue(9)})
			must(t, err)
			tr.drop = func() {
				var err error
				said, err = s.Drop(ctx, 1)
				must(t, err)
			}
		}
	}
	ladder := &scripted{}
	for range 3 {
		ladder.push(climb)
	}
	s, err = begin(ctx, j, repo, Options{Config: c, Registry: registry(ladder), Devices: []device.Device{{Name: "cpu"}}, Finished: finished, Trainer: tr})
	must(t, err)
	must(t, s.Run(ctx))
	records, err := j.Trials()
	must(t, err)
	if said != "dropped: DEPTH 8 -> 9" || len(records) != 3 {
		t.Errorf("said %q, and %d trials ran", said, len(records))
	}
	for _, r := range records {
		if r.Trial.Proposal.Strategy == "suggestion" {
			t.Errorf("trial %d is what was dropped", r.Trial.ID)
		}
	}
	if _, err := s.Drop(ctx, 1); err == nil || err.Error() != "there is no suggestion 1: `autoresearchd suggest --list` shows those that wait" {
		t.Errorf("a second time: %v", err)
	}
}
