package trainer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"autoresearchd/daemon/watchdog"
	"autoresearchd/search"
)

// evaluating is a script whose evaluation lasts until its folder holds "end".
const evaluating = training + `
train(19)
def model(batches):
    open("evaluates", "w").close()
    while not os.path.exists("end"): time.sleep(0.01)
    return 1.5
evaluate_bpb(model, None, 4)
`

// stepping is a script that says when each of its steps began, in seconds of the wall
// clock.
const stepping = `
import time
from torch.optim.optimizer import Optimizer
from prepare import make_dataloader, evaluate_bpb
optimizer, batches = Optimizer(), make_dataloader(None, 4, 8, "train")
with open("steps", "w") as file:
    for step in range(20):
        file.write(f"{time.time()}\n"); file.flush()
        next(batches); optimizer.step()
evaluate_bpb(1.25, None, 4)
`

// TestGate has a second trial get ready beside the evaluation of a first on the
// same trainer. No counted step of it begins before the first has its score,
// however many steps are not counted.
func TestGate(t *testing.T) {
	for _, of := range []int{0, 3} {
		t.Run(fmt.Sprint(of), func(t *testing.T) { testGate(t, search.Budget{Seconds: 60, Uncounted: of}) })
	}
}

func testGate(t *testing.T, budget search.Budget) {
	uncounted, held := budget.First(), trial(2)
	held.Budget = budget
	o := options(t)
	folder(t, o, 1, evaluating)
	folder(t, o, 2, stepping)
	p := newProcess(t, o)
	type ended struct {
		out search.Outcome
		err error
	}
	first, second := make(chan ended, 1), make(chan ended, 1)
	evaluates, stands, open := make(chan bool, 2), make(chan bool, 2), make(chan struct{})
	go func() {
		out, err := p.Run(context.Background(), Order{Trial: trial(1)}, func(e Event) {
			if e.Phase == search.Evaluate {
				evaluates <- true
			}
		})
		first <- ended{out, err}
	}()
	<-evaluates
	var phases []search.Phase
	counted := time.Time{} // when the first counted step was heard of
	go func() {
		out, err := p.Run(context.Background(), Order{Trial: held, Gate: &Gate{After: 1, Open: open}}, func(e Event) {
			if e.Phase != "" {
				phases = append(phases, e.Phase)
			}
			if e.Phase == search.Gate {
				stands <- true
			}
			if e.Step != nil && e.Step.Number > uncounted && counted.IsZero() {
				counted = time.Now()
			}
		})
		second <- ended{out, err}
	}()
	<-stands
	// The seat's word alone does not open it: the first still evaluates.
	close(open)
	steps := filepath.Join(o.work(2), "steps")
	if text, err := os.ReadFile(steps); err != nil || strings.Count(string(text), "\n") != uncounted {
		t.Errorf("at the gate it has begun %d steps, %v", strings.Count(string(text), "\n"), err)
	}
	if err := os.WriteFile(filepath.Join(o.work(1), "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a, b := <-first, <-second
	if a.err != nil || b.err != nil || a.out.Status != search.Completed || b.out.Status != search.Completed {
		t.Fatalf("%v %+v\n%v %+v", a.err, a.out, b.err, b.out)
	}
	g := b.out.Gate
	if a.out.Gate != nil || g == nil || g.After != 1 || g.Waited <= 0 || g.Scored.IsZero() || g.Opened.Before(g.Scored) {
		t.Fatalf("the gate's record is %+v", g)
	}
	if counted.Before(g.Opened) {
		t.Errorf("a counted step was heard of at %v, the gate was opened at %v", counted, g.Opened)
	}
	text, _ := os.ReadFile(steps)
	lines := strings.Fields(string(text))
	begun, err := strconv.ParseFloat(lines[uncounted], 64)
	if stamp := float64(g.Opened.UnixNano()) / 1e9; err != nil || begun < stamp-1e-3 {
		t.Errorf("the first counted step began at %v, the gate was opened at %v", begun, stamp)
	}
	if got := fmt.Sprint(phases); got != "[compile gate train evaluate exit exit]" {
		t.Errorf("phases %v", got)
	}
	if b.out.Phases[search.Gate] < g.Waited*0.9 || b.out.TrainingSeconds > b.out.WallSeconds-g.Waited {
		t.Errorf("the wait of %v s counts: %+v", g.Waited, b.out)
	}
}

// TestGateIsOpen passes a gate whose neighbour is over, by batches too, and one
// that is never reached.
func TestGateIsOpen(t *testing.T) {
	open := make(chan struct{})
	close(open)
	for name, c := range map[string]struct {
		script string
		passes bool
	}{
		"optimizer steps": {stepping, true},
		"batches":         {"from prepare import make_dataloader, evaluate_bpb\nbatches = make_dataloader(None, 4, 8, 'train')\nfor _ in range(30): next(batches)\nevaluate_bpb(1.25, None, 4)\n", true},
		"no step":         {"from prepare import evaluate_bpb\nevaluate_bpb(1.25, None, 4)\n", false},
		"ends before":     {training + "train(5)\nevaluate_bpb(1.25, None, 4)\n", false},
	} {
		o := options(t)
		folder(t, o, 1, c.script)
		out, err := newProcess(t, o).Run(context.Background(), Order{Trial: trial(1), Gate: &Gate{After: 7, Open: open}}, nil)
		if err != nil || out.Status != search.Completed || (out.Gate != nil) != c.passes || c.passes && (out.Gate.Waited != 0 || out.Gate.After != 7 || out.Gate.Opened.IsZero()) {
			t.Errorf("%s: %v %s, gate %+v", name, err, out.Status, out.Gate)
		}
	}
}

// TestGateThatStaysShut ends what waits beyond the neighbour's deadlines, and
// holds it against nobody.
func TestGateThatStaysShut(t *testing.T) {
	o := options(t)
	o.Limits = watchdog.Limits{Startup: time.Minute, Evaluate: 100 * time.Millisecond, Exit: 100 * time.Millisecond, Total: time.Minute}
	folder(t, o, 1, stepping)
	out, err := newProcess(t, o).Run(context.Background(), Order{Trial: trial(1), Gate: &Gate{After: 7, Open: make(chan struct{})}}, nil)
	if err != nil || out.Status != search.Interrupted || !strings.Contains(out.Detail, "the evaluation of the trial before it") || out.Steps != trial(1).Budget.First() {
		t.Errorf("%v %s after %d steps: %s", err, out.Status, out.Steps, out.Detail)
	}
}

// TestScriptsClockIsBlindToTheGate has upstream's form of the clock: steps 0 to
// 10 are not counted, and the gate stands within the eleventh.
func TestScriptsClockIsBlindToTheGate(t *testing.T) {
	o := options(t)
	folder(t, o, 1, `
import time
from torch.optim.optimizer import Optimizer
from prepare import make_dataloader, evaluate_bpb
optimizer, batches, total = Optimizer(), make_dataloader(None, 4, 8, "train"), 0
for step in range(20):
    t0 = time.time()
    next(batches); optimizer.step()
    if step > 10: total += time.time() - t0
evaluate_bpb(1.25, None, 4)
print(f"---\ntraining_seconds: {total}")
`)
	open := make(chan struct{})
	out, err := newProcess(t, o).Run(context.Background(), Order{Trial: trial(1), Gate: &Gate{After: 7, Open: open}}, func(e Event) {
		if e.Phase == search.Gate {
			time.AfterFunc(time.Second, func() { close(open) })
		}
	})
	clock, _ := strconv.ParseFloat(out.Summary["training_seconds"], 64)
	if err != nil || out.Gate == nil || out.Gate.Waited < 1 || clock > out.WallSeconds-out.Gate.Waited {
		t.Errorf("%v %s: of %v s it counts %v, gate %+v", err, out.Status, out.WallSeconds, clock, out.Gate)
	}
}

// TestDivergenceEndsAtOnce does not wait for the end of a loss that is none, and
// lets a script recover.
func TestDivergenceEndsAtOnce(t *testing.T) {
	line := func(losses string) string {
		return training + "for n, loss in enumerate([" + losses + "]):\n    train(1); print(f'step {n:05d} (1.0%) | loss: {loss} | lrm: 1.00', end='\\r', flush=True)\n"
	}
	for name, c := range map[string]struct {
		script string
		status search.Status
	}{
		"no number":            {line(`2.5, "nan", "nan", "nan", "nan", "nan"`) + "time.sleep(3600)", search.Diverged},
		"infinite":             {line(`2.5, "inf", "inf", "nan", "inf", "inf"`) + "time.sleep(3600)", search.Diverged},
		"above 100":            {line("2.5, 90, 101, 150, 1e3, 1e4, 1e5") + "time.sleep(3600)", search.Diverged},
		"it recovers":          {line(`2.5, "nan", "nan", "nan", "nan", 3.0, "nan", 2.0`) + "evaluate_bpb(1.25, None, 4)", search.Completed},
		"a sum from the first": {line("900, 800, 700, 600, 500, 400") + "evaluate_bpb(1.25, None, 4)", search.Completed},
	} {
		o := options(t)
		out, seen := play(t, o, c.script)
		killed := seen.kill != nil && seen.kill.Cause == watchdog.CauseDiverged
		if out.Status != c.status || killed != (c.status == search.Diverged) || killed && !strings.Contains(out.Detail, "the 5th in a row") {
			t.Errorf("%s: %s (kill %+v): %s", name, out.Status, seen.kill, out.Detail)
		}
	}
}
