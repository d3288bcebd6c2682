package trainer

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"autoresearchd/daemon/watchdog"
	"autoresearchd/pyembed"
	"autoresearchd/search"
)

// ending is how a trial's process came to its end.
type ending struct {
	code        int              // exit status, or -1 for a signal
	signal      string           // its name
	firing      *watchdog.Firing // the watchdog ended it
	cancelled   bool             // the daemon or a person ended it
	outOfMemory bool             // the kernel ended it for the host's memory
	quota       bool             // it wrote more than it may
	flags       []string
}

// collector turns what a seat tells into an Outcome.
type collector struct {
	out    search.Outcome
	exit   *pyembed.Exit
	score  string // a float's repr; "" when evaluate_bpb was never done
	scores int
	first  event // the first step: tokens per step are measured from it
	last   event
	loss   float64
}

// note takes in one event of the seat.
func (c *collector) note(e event) {
	switch e.Kind {
	case "step":
		if c.first.Step == 0 {
			c.first = e
		}
		c.last = e
	case "score":
		c.score, c.scores = e.ValBPB, c.scores+1
		c.out.ScriptPeakVRAM = e.Peak
	case "audit":
		if value, err := strconv.ParseFloat(e.Audit, 64); err == nil && value > 0 && value < absurd {
			c.out.AuditBPB = value
		} else {
			c.out.Flags = append(c.out.Flags, "not audited: "+Inert(e.Audit))
		}
	case "exit":
		c.exit = e.Exit
	}
}

// progress adds a point to the curve, thinned so that it stays small.
func (c *collector) progress(p Progress) {
	c.loss = p.Loss
	if p.Loss == 0 || math.IsNaN(p.Loss) || math.IsInf(p.Loss, 0) {
		return
	}
	if n := len(c.out.Curve); n > 0 && p.Step <= c.out.Curve[n-1].Step {
		return
	}
	c.out.Curve = append(c.out.Curve, search.Point{Step: p.Step, Seconds: c.last.Counted, Tokens: c.tokens(), Loss: p.Loss})
	if len(c.out.Curve) > 2*curvePoints {
		half := c.out.Curve[:0]
		for i := 0; i < len(c.out.Curve); i += 2 {
			half = append(half, c.out.Curve[i])
		}
		c.out.Curve = half
	}
}

const curvePoints = 400

// tokens returns the tokens that went through steps. A batch that is drawn
// ahead belongs to none, so the count rests on the differences between steps.
func (c *collector) tokens() int64 {
	if n := c.last.Step - c.first.Step; n > 0 {
		return (c.last.Tokens - c.first.Tokens) / int64(n) * int64(c.last.Step)
	}
	return c.last.Tokens
}

// outcome concludes. log is closed already.
func (c *collector) outcome(end ending, log *runLog) search.Outcome {
	o := &c.out
	o.Steps, o.Tokens, o.TrainingSeconds = c.last.Step, c.tokens(), c.last.Counted
	o.Summary = log.summary
	o.Flags = append(o.Flags, end.flags...)
	o.ExitCode = end.code
	if c.exit != nil && end.signal == "" && end.firing == nil {
		o.ExitCode = c.exit.Code
	}
	value, err := strconv.ParseFloat(c.score, 64)
	sound := c.score != "" && err == nil && value > 0 && value < absurd
	switch {
	case end.quota:
		o.Status, o.Detail = search.Crashed, "it wrote more than trial.quota allows into its folder"
	case sound:
		// What comes after the score cannot take it away.
		o.Status, o.ValBPB = search.Completed, value
		switch {
		case end.firing != nil:
			o.Flags = append(o.Flags, "killed after its score: "+end.firing.String())
		case end.cancelled:
			o.Flags = append(o.Flags, "ended from outside after its score")
		case end.signal != "":
			o.Flags = append(o.Flags, "died of "+end.signal+" after its score")
		case o.ExitCode != 0:
			o.Flags = append(o.Flags, fmt.Sprintf("exit status %d after its score", o.ExitCode))
		}
	case end.cancelled:
		o.Status, o.Detail = search.Interrupted, "ended from outside"
	case c.score != "":
		o.Status, o.Detail = search.Diverged, fmt.Sprintf("evaluate_bpb returned %s, which is no score", c.score)
	case end.firing != nil:
		o.Status, o.Detail = search.TimedOut, end.firing.String()
	case end.outOfMemory:
		o.Status, o.Detail = search.OutOfMemory, "the host's memory limit ended it"
	case c.exit != nil && (strings.HasSuffix(c.exit.Exception, "OutOfMemoryError") || c.exit.Exception == "MemoryError"):
		o.Status, o.Detail = search.OutOfMemory, Inert(firstLine(c.exit.Message))
	case log.failed && o.ExitCode == 1 || math.IsNaN(c.loss) || c.loss > 100:
		o.Status, o.Detail = search.Diverged, fmt.Sprintf("the training loss exploded (step %d)", o.Steps)
	case end.signal != "":
		o.Status, o.Detail = search.Crashed, "died of "+end.signal+"\n"+log.lastLines(20)
	case c.exit == nil:
		o.Status, o.Detail = search.Crashed, fmt.Sprintf("ended with status %d and no word: os._exit, or an abort in a library\n%s", end.code, log.lastLines(10))
	case c.exit.Exception != "":
		o.Status, o.Detail = search.Crashed, lastLines(c.exit.Traceback, 12)
	case o.ExitCode != 0:
		o.Status, o.Detail = search.Crashed, fmt.Sprintf("ended with status %d\n%s", o.ExitCode, log.lastLines(10))
	default:
		o.Status, o.Detail = search.Crashed, "it ended without calling evaluate_bpb, so it has no score; what it prints is not one"
	}
	if c.scores > 1 {
		o.Flags = append(o.Flags, fmt.Sprintf("evaluated %d times; the last counts", c.scores))
	}
	if printed, ok := log.summary["val_bpb"]; ok && o.Status == search.Completed {
		if p, err := strconv.ParseFloat(printed, 64); err != nil || math.Abs(p-value) > 1e-6+1e-6*value {
			o.Flags = append(o.Flags, fmt.Sprintf("it printed val_bpb %s, measured was %.6f", Inert(printed), value))
		}
	}
	slices.Sort(o.Flags)
	return *o
}

// absurd is a val_bpb beyond which a score is not believed: a uniform guess
// over bytes costs 8 bits.
const absurd = 20

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	for i := range lines {
		lines[i] = Inert(lines[i])
	}
	return strings.Join(lines, "\n")
}
