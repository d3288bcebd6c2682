package evolution_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/evolution"
	"autoresearchd/search/simulate"
)

// TestStack runs four changes of one champion at once, of which three help: the
// best becomes the champion, and what the other two gained is soon tried on it.
func TestStack(t *testing.T) {
	s, err := evolution.New(search.Environment{Seed: 4})
	if err != nil {
		t.Fatal(err)
	}
	study, err := simulate.NewStudy(simulate.NewTask(4, 0), s, 4)
	if err != nil {
		t.Fatal(err)
	}
	start := study.History.Done[0].Outcome.ValBPB
	values := []map[string]search.Value{
		{"MATRIX_LR": search.FloatValue(0.06)}, {"EMBEDDING_LR": search.FloatValue(0.8)},
		{"WARMDOWN_RATIO": search.FloatValue(0.7)}, {"WEIGHT_DECAY": search.FloatValue(0.1)},
	}
	var trials []search.Trial
	for _, v := range values {
		trial, err := study.Admit(search.Proposal{Strategy: evolution.Name, Description: "a change", Parent: 1, Values: v})
		if err != nil {
			t.Fatal(err)
		}
		trials = append(trials, trial)
	}
	study.History.Pending = trials
	for i, gain := range []float64{0.002, 0.004, 0.001, -0.001} {
		if err := study.Finish(trials[i], search.Outcome{Status: search.Completed, ValBPB: start - gain}); err != nil {
			t.Fatal(err)
		}
	}
	if study.History.Champion.ID != trials[1].ID {
		t.Fatalf("the champion is trial %d", study.History.Champion.ID)
	}
	stacked := 0
	for range 8 {
		p, err := s.Ask(context.Background(), study.History)
		if err != nil {
			t.Fatal(err)
		}
		trial, err := study.Admit(p)
		if err != nil {
			t.Fatal(err)
		}
		study.History.Pending = append(study.History.Pending, trial)
		var memo struct {
			Op      string
			Parents []int64
		}
		if err := json.Unmarshal(p.Memo, &memo); err != nil || memo.Op != "stack" {
			continue
		}
		stacked++
		slices.Sort(memo.Parents)
		changed := slices.Sorted(slices.Values(trial.Changed))
		if stacked == 1 && (!slices.Equal(memo.Parents, []int64{trials[0].ID, trials[2].ID}) || !slices.Equal(changed, []string{"MATRIX_LR", "WARMDOWN_RATIO"})) {
			t.Errorf("stacked trials %v, which changes %v", memo.Parents, changed)
		}
	}
	if stacked < 1 || stacked > 4 {
		t.Errorf("%d of 8 proposals stack what two trials gained", stacked)
	}
}
