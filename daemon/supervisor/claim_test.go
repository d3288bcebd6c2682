package supervisor

import (
	"context"
	"testing"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/search"
)

// TestClaimAfterwards says of a study that nobody runs what was said while it ran,
// also where no candidate had to run again.
func TestClaimAfterwards(t *testing.T) {
	ctx := context.Background()
	for rule, want := range map[string]string{search.Confirm: "unconfirmed (0 of 3 paired seeds)", "greedy": ""} {
		dir := scratch(t)
		newWorkspace(t, dir)
		c, err := settings(dir, "study.trials=2", "judge.rule="+rule)
		must(t, err)
		repo, err := lineage.Open(ctx, c.Study.Workspace)
		must(t, err)
		j, err := journal.Open(c.Study.State)
		must(t, err)
		ladder := &scripted{}
		ladder.push(func(h search.History) (search.Proposal, error) {
			return search.Proposal{Strategy: "scripted", Description: "DEPTH 8 -> 40", Parent: h.Champion.ID, Values: map[string]search.Value{"DEPTH": search.IntValue(40)}}, nil
		})
		s, err := begin(ctx, j, repo, Options{Config: c, Registry: registry(ladder), Devices: []device.Device{{Name: "cpu"}},
			Trainer: &swift{state: c.Study.State, journal: j}})
		must(t, err)
		must(t, s.Run(ctx))
		running := s.Now().Champion
		must(t, j.Close())
		r, err := journal.OpenReader(c.Study.State)
		must(t, err)
		board, err := Read(r)
		must(t, err)
		if after := board.Now().Champion; running.Claim != want || after.Claim != want || after.ID != 2 {
			t.Errorf("%s: candidate %d is %q, and was %q, want %q", rule, after.ID, after.Claim, running.Claim, want)
		}
		must(t, r.Close())
	}
}
