package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"autoresearchd/daemon/supervisor"
	"autoresearchd/search/prune"
)

// curved is a train.py whose curve and score its one constant decides. With a
// hopeless one it waits at four fifths of its budget to be ended.
const curved = `import os, time
from torch.optim.optimizer import Optimizer
from prepare import make_dataloader, evaluate_bpb, STEP_BUDGET

MATRIX_LR = 0.04

optimizer = Optimizer()
batches = make_dataloader(None, 4, 8, "train")
far = abs(MATRIX_LR - 0.05)
for step in range(11 + STEP_BUDGET):
    next(batches)
    optimizer.step()
    print(f"\rstep {step:05d} ({step / (11 + STEP_BUDGET):.1%}) | loss: {4 - step / 100 + 5 * far:.6f} | tok/sec: 1,000 ", end="", flush=True)
    while step == 12 and os.path.exists(os.environ.get("GATE", "")):
        time.sleep(0.01)
    while step == 11 + 4 * STEP_BUDGET // 5 and far > 0.2:
        time.sleep(0.01)
print()
evaluate_bpb(2 + far, None, 4)
`

// TestHopelessTrialsEndEarly has real trainers: eight trials end at their
// score, the ninth at the rule's word.
func TestHopelessTrialsEndEarly(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("workspace/train.py", curved)
	s.commit()
	s.configure("[pruning]\nrule = \"median\"\n")
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), `budget = "450s"`, `budget = "100 steps"`, 1))
	s.ok("run", "--trials", "1")
	s.hold()
	d := s.start("--trials", "8") // the first is the strategy's
	for _, lr := range []float64{0.045, 0.05, 0.06, 0.07, 0.09, 0.1, 0.35} {
		s.ok("suggest", "--set", fmt.Sprintf("MATRIX_LR=%g", lr))
	}
	s.open()
	if code := d.end(); code != 0 {
		t.Fatalf("it ended with %d: %s", code, strings.Join(d.said, "\n"))
	}
	for _, r := range s.trials() {
		want := "completed"
		if r.ID == 9 {
			want = "pruned"
		}
		if r.Status != want {
			t.Errorf("trial %d is %s, not %s", r.ID, r.Status, want)
		}
	}
	if out := s.ok("show", "9"); !strings.Contains(out, "pruned before it had a score: at 70 % of its budget its loss of ") || !strings.Contains(out, "it would come to val_bpb 2.3") {
		t.Error(out)
	}
	var now supervisor.Status
	must(t, json.Unmarshal([]byte(s.ok("status", "--json")), &now))
	if now.Pruning == nil || *now.Pruning != (prune.Tally{Condemned: 1}) {
		t.Errorf("status: %+v", now.Pruning)
	}
	if out := s.ok("status"); !strings.Contains(out, "pruning   1 condemned, of which 0 ran on") {
		t.Error(out)
	}
}
