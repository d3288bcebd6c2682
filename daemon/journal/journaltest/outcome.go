package journaltest

import (
	"fmt"
	"math"
	"time"

	"autoresearchd/search"
)

// endings are what befalls a trial by its id modulo 40, apart from what the
// modelled GPU does to it.
var endings = map[int64]search.Status{
	7: search.Crashed, 11: search.OutOfMemory, 13: search.Diverged, 19: search.TimedOut, 23: search.Pruned, 29: search.Interrupted, 31: search.Tampered,
}

const (
	steps         = 950
	tokensPerStep = 1 << 19
	points        = 48 // of a curve
)

// outcome is what happened to a trial.
func (s *study) outcome(t *search.Trial) search.Outcome {
	value, status := s.value(t)
	if ending, ok := endings[t.ID%40]; ok {
		status = ending
	}
	if t.ID == 1 {
		status = search.Completed
	}
	share := 1.0 // of the budget that was spent
	o := search.Outcome{Status: status, PeakVRAM: 48_400 << 20, ScriptPeakVRAM: 44_000 << 20}
	switch status {
	case search.Completed:
		o.ValBPB = value
		o.Summary = map[string]string{"val_bpb": fmt.Sprintf("%.6f", value), "peak_vram_mb": "45060.2", "mfu_percent": "39.80"}
	case search.Crashed:
		share, o.ExitCode, o.PeakVRAM = 0, 1, 0
		o.Detail = "Traceback (most recent call last):\n  File \"train.py\", line 24, in <module>\n    print(prepare)\nRuntimeError: the batch does not divide"
	case search.OutOfMemory:
		share, o.ExitCode, o.PeakVRAM = 0, 1, 80_900<<20
		o.Detail = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
	case search.Diverged:
		share, o.Detail = 0.2, "the loss is not a number at step 190"
	case search.TimedOut:
		share, o.Detail = 0.6, "no optimizer step for 60 s while training"
	case search.Pruned:
		share, o.Detail = 0.5, "above the median at half of the budget"
	case search.Interrupted:
		share, o.Detail = 0.3, "the daemon ended while it ran"
	case search.Tampered:
		o.Flags, o.Detail = []string{"evaluate_bpb was replaced"}, "evaluate_bpb is not prepare's"
	}
	o.TrainingSeconds = share * budget.Seconds
	o.Steps = int(share * steps)
	o.Tokens = int64(o.Steps) * tokensPerStep
	o.Phases = map[search.Phase]float64{search.Startup: 3.25, search.Compile: 11.5, search.Train: 6.5 + o.TrainingSeconds}
	if share == 1 {
		o.Phases[search.Evaluate], o.Phases[search.Exit] = 14.25, 0.5
	}
	if share == 1 && t.ID%7 == 5 { // it got ready beside the one before it
		o.Phases[search.Compile], o.Phases[search.Gate] = 9, 2.5
		at := t.StartedAt.Add(15 * time.Second)
		o.Gate = &search.GateRecord{After: t.ID - 1, Scored: at, Opened: at.Add(time.Millisecond), Waited: 2.5}
	}
	if status == search.Completed && t.ID%8 == 1 {
		o.Proof = proven(value)
		o.Fresh = &search.Audited{ValBPB: value, Proof: proven(value), Seconds: 17.5}
	}
	for _, seconds := range o.Phases {
		o.WallSeconds += seconds
	}
	o.Curve = curve(t.ID, value, share, status)
	return o
}

// proven is what a notary finds of an honest score, on a GPU.
func proven(value float64) *search.Proof {
	return &search.Proof{
		Verdict: search.Proven, ValBPB: value, Tokens: 20_971_520, Positions: 3204, Gap: -0.00012, GapError: 0.0002, GapLargest: 0.081, GapQuantiles: []float64{0.0021, 0.011, 0.031, 0.06},
		Fresh: 0.0031, FreshError: 0.0042, Unseen: -0.0054, UnseenError: 0.0071, Blind: 0.0102, BlindError: 0.0183, Weights: 84, Seconds: 8.25,
		Hashes: map[string]string{"prepare.py": "1fdf8899", "rows": "6dfaf074", "token_bytes": "eafc3568"},
	}
}

// curve falls from a guess among the vocabulary to what fits the score.
func curve(id int64, value, share float64, status search.Status) []search.Point {
	if share == 0 {
		return nil
	}
	n := max(2, int(share*points))
	out := make([]search.Point, n)
	for i := range out {
		at := share * float64(i+1) / float64(n)
		loss := 3.2*max(value, 0.9) + 6*math.Exp(-9*at) + 0.02*math.Sin(float64(int64(i)*7+id))
		if status == search.Diverged && i == n-1 {
			loss = math.NaN()
		}
		out[i] = search.Point{Step: int(at * steps), Seconds: at * budget.Seconds, Tokens: int64(at*steps) * tokensPerStep, Loss: loss}
	}
	return out
}
