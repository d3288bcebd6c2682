package supervisor

import (
	"context"
	"testing"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/search"
)

// TestAnew has the trial that others are held against run again, before anything
// else, when what is known of it is lost.
func TestAnew(t *testing.T) {
	ctx := context.Background()
	dir := scratch(t)
	newWorkspace(t, dir)
	c, err := settings(dir, "study.trials=4", `judge.audit="fresh"`)
	must(t, err)
	repo, err := lineage.Open(ctx, c.Study.Workspace)
	must(t, err)
	j, err := journal.Open(c.Study.State)
	must(t, err)
	defer j.Close()
	ladder := &scripted{}
	for range 4 {
		ladder.push(climb)
	}
	var s *Supervisor
	lost := func() int64 {
		done := s.study.History().Done
		if len(done) == 2 { // until it has run again
			return 1
		}
		return 0
	}
	s, err = begin(ctx, j, repo, Options{
		Config: c, Registry: registry(ladder), Devices: []device.Device{{Name: "cpu"}}, Anew: lost, Finished: func(study.Ending) {},
		Trainer: &swift{state: c.Study.State, journal: j},
	})
	must(t, err)
	must(t, s.Run(ctx))
	records, err := j.Trials()
	must(t, err)
	if len(records) != 4 {
		t.Fatalf("%d trials ran", len(records))
	}
	for _, r := range records {
		of := r.Trial
		if again := search.IsRerun(of) && of.Proposal.Parent == 1; again != (of.ID == 3) || again && (of.Seed != records[0].Trial.Seed || of.Proposal.Why != "what others are held against was lost") {
			t.Errorf("trial %d: %+v", of.ID, of.Proposal)
		}
		// What may be kept is scored in a fresh process: a re-run, whatever it scores.
		if of.Fresh == nil || of.Fresh.Must || (of.Fresh.Bar == search.MaxPlausibleBPB) != (of.ID == 1 || of.ID == 3) {
			t.Errorf("trial %d is to be audited: %+v", of.ID, of.Fresh)
		}
	}
}
