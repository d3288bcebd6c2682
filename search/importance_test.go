package search

import (
	"math"
	"strings"
	"testing"
)

// TestImportance has one constant decide the scores, one change for nothing and
// one stay as it is.
func TestImportance(t *testing.T) {
	constants := func(lr, decay float64) []Constant {
		return []Constant{{Name: "MATRIX_LR", Value: FloatValue(lr)}, {Name: "WEIGHT_DECAY", Value: FloatValue(decay)}, {Name: "DEPTH", Value: IntValue(8)}}
	}
	space, err := NewSpace(constants(0.04, 0.2), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := History{Space: space}
	for i := range 24 {
		lr := 0.01 * math.Pow(1.12, float64(i))
		r := Result{Trial: Trial{ID: int64(i + 1), Constants: constants(lr, 0.1+0.01*float64(i*7%24))}}
		r.Outcome.Status, r.Outcome.ValBPB = Completed, 1+math.Abs(math.Log(lr/0.04))
		r.Decision.Verdict = Discard
		if i == minKnown-1 {
			if got := Importance(h); got != nil {
				t.Errorf("of %d scores: %v", i, got)
			}
		}
		h.Done = append(h.Done, r)
	}
	h.Done = append(h.Done, Result{Outcome: Outcome{Status: OutOfMemory}, Decision: Decision{Verdict: Crash}})
	got := Importance(h)
	if len(got) != 2 || got[0].Name != "MATRIX_LR" || got[1].Name != "WEIGHT_DECAY" {
		t.Fatalf("got %+v", got)
	}
	if got[0].Share < 0.5 || got[1].Share > 0.2 || got[0].Scores != 24 || !strings.HasPrefix(got[0].Best, "the best quarter lies in 0.0") {
		t.Errorf("got %+v", got)
	}
}
