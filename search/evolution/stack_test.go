package evolution_test

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/evolution"
	"autoresearchd/search/simulate"
)

// TestStack runs four changes of one champion at once, of which three help: the
// best becomes the champion, and what the other two gained is soon tried on it,
// by itself, further, and under moves of other constants.
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
	stacked, further, under := 0, 0, 0
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
			Move    *struct {
				Dim      string
				By, From float64
			}
		}
		if err := json.Unmarshal(p.Memo, &memo); err != nil {
			t.Fatal(err)
		}
		if m := memo.Move; m != nil {
			under++
			want := start - 0.004
			for i, much := range map[int]float64{0: 0.002, 2: 0.001} {
				if slices.Contains(memo.Parents, trials[i].ID) {
					want -= much
				}
			}
			if math.Abs(m.From-want) > 1e-9 || want > start-0.0045 || m.By == 0 || len(trial.Changed) < 2 {
				t.Errorf("a move from where the gains lead: %+v, which changes %v", *m, trial.Changed)
			}
		}
		if memo.Op != "stack" {
			continue
		}
		stacked++
		if v, ok := p.Values["EMBEDDING_LR"]; ok && v.Number() > 0.8 {
			further++
		}
		slices.Sort(memo.Parents)
		changed := slices.Sorted(slices.Values(trial.Changed))
		if stacked == 1 && (!slices.Equal(memo.Parents, []int64{trials[0].ID, trials[2].ID}) || !slices.Equal(changed, []string{"MATRIX_LR", "WARMDOWN_RATIO"})) {
			t.Errorf("stacked trials %v, which changes %v", memo.Parents, changed)
		}
	}
	if stacked < 1 || stacked > 5 || further < 1 || under < 1 || under > 2 {
		t.Errorf("of 8 proposals %d stack what two trials gained, %d of them further, and %d move a constant from there", stacked, further, under)
	}
}
