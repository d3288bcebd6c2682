package trainer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"autoresearchd/daemon/watchdog"
	"autoresearchd/pyembed"
	"autoresearchd/search"
)

// ending is how a trial's process came to its end.
type ending struct {
	code        int              // exit status, or -1 for a signal
	signal      string           // its name
	firing      *watchdog.Firing // the watchdog ended it
	cancelled   error            // why it was ended from outside; nil: it was not
	outOfMemory bool             // it was ended for the host's memory
	memory      int64            // bytes of it that it may take; 0: any
	quota       bool             // it wrote more than it may
	confined    bool             // in a sandbox, where there is no network
	flags       []string
}

// collector turns what a seat tells into an Outcome.
type collector struct {
	budget  search.Budget
	audit   bool            // it is scored twice
	fresh   *search.ToAudit // nil: it is not scored in a fresh process
	out     search.Outcome
	exit    *pyembed.Exit
	score   string // a float's repr; "" when evaluate_bpb was never done
	scores  int
	scored  event  // the last score
	fault   string // why evaluate_bpb gave none
	batches int    // training batches drawn
	first   event  // the first step: tokens per step are measured from it
	last    event
	offset  float64   // seconds of last.Counted that were steps which do not count
	printed int       // the highest step that the script printed
	before  int       // printed, when the last score came
	spoke   time.Time // when it printed the first
	since   time.Time // when the steps that do not count were over, by what is printed alone
	loss    float64
	ordered time.Time // when its order was given; zero: not known
	begun   time.Time // when the script was first heard of
	over    string    // how it went on beyond its budget
	wild    int       // progress lines in a row whose loss is none
	sane    bool      // there was one whose loss is
	lost    string    // why nothing can come of it any more
	account
}

// note takes in one event of the seat.
func (c *collector) note(e event, now time.Time) {
	e.Counted = min(max(e.Counted, 0), maxCounted)
	if c.begun.IsZero() {
		c.begun = now
		if e.Kind == "phase" && e.Phase == search.Evaluate && !c.ordered.IsZero() { // nothing says that it has not trained till now
			c.begun = c.ordered
		}
	}
	if e.Kind == "phase" && e.Phase == search.Evaluate && c.last.Step == 0 && c.printed == 0 {
		c.unseen(now.Sub(c.begun).Seconds())
	}
	if c.batches == 0 && e.Batches > 0 && c.last.StandIn { // what was printed is not all that there is
		c.last, c.first = event{}, event{}
	}
	c.batches = max(c.batches, e.Batches)
	switch e.Kind {
	case "step":
		if step, stoodIn := c.last.Step, c.last.StandIn; e.Step < step { // torch.optim steps after all
			c.last, c.first, c.offset = event{}, event{}, 0
			if !stoodIn && c.tampered == "" {
				c.tampered = fmt.Sprintf("step %d came after step %d: it wrote into the trainer's own stream", e.Step, step)
			}
			c.account = account{tampered: c.tampered}
		}
		if c.first.Step == 0 {
			c.first = e
		}
		if e.Step > c.last.Step && !e.StandIn && c.budget.Steps > 0 && e.Step > c.budget.Steps+c.budget.First() {
			c.overrun(fmt.Sprintf("it took more than the %d optimizer steps of its budget after the first %d", c.budget.Steps, c.budget.First()))
		}
		c.goOn(e)
	case "score":
		c.score, c.scores, c.scored, c.before = e.ValBPB, c.scores+1, e, c.printed
		c.out.ScriptPeakVRAM = e.Peak
	case "fault":
		c.fault = Inert(e.Fault)
	case "audit":
		if value, err := strconv.ParseFloat(e.Audit, 64); err == nil && value > 0 && value < absurd {
			c.out.AuditBPB = value
		} else {
			c.out.Flags = append(c.out.Flags, "not audited: "+Inert(e.Audit))
		}
	case "exit":
		c.exit = e.Exit
	}
	c.account.note(e, c.budget.First(), now)
	if e.Kind == "phase" && e.Phase == search.Evaluate {
		c.hold(now)
		if c.tampered == "" {
			c.tampered = c.hidden(c.budget, c.last)
		}
	}
}

// toAudit reports whether it has a score that is to come out of a fresh process too.
func (c *collector) toAudit() bool {
	value, err := strconv.ParseFloat(c.score, 64)
	return c.fresh != nil && err == nil && value <= c.fresh.Bar
}

// hold looks whether training has outlasted its budget by this process's clock.
func (c *collector) hold(now time.Time) {
	if words := c.late(c.budget, c.last, now); words != "" {
		c.overrun(words)
	}
}

// maxCounted bounds the seconds that a trainer tells of, which runs train.py:
// their differences must be numbers that the journal can hold.
const maxCounted = 1e9

// goOn moves to a step. It must have begun within the budget and its
// allowance; how long it took is its own affair.
func (c *collector) goOn(e event) {
	if begun := c.counted(); c.budget.Seconds > 0 && e.Step > c.last.Step && begun > c.budget.Seconds+Allowance(c.budget).Seconds() {
		c.overrun(fmt.Sprintf("it trained for more than its budget of %gs: a step began after %.1f counted seconds", c.budget.Seconds, begun))
	}
	c.last = e
}

func (c *collector) overrun(how string) {
	if c.over == "" {
		c.over = how + "; train.py must take its budget from prepare (TIME_BUDGET, or STEP_BUDGET) and stop by it"
	}
}

// unseen takes in how long a script had run when its evaluation began, if no
// step was seen till then. Nothing tells compiling from training in it.
func (c *collector) unseen(seconds float64) {
	switch {
	case c.over != "":
	case c.budget.Steps > 0 && c.batches == 0:
		c.over = fmt.Sprintf("no step was seen or printed before its evaluation, so that its budget of %d steps could not be held; let train.py draw each batch from prepare's make_dataloader", c.budget.Steps)
	case c.budget.Seconds > 0 && seconds > c.budget.Seconds+Allowance(c.budget).Seconds():
		c.over = fmt.Sprintf("no step was seen or printed in the %.0fs before its evaluation (%d batches drawn), so that its budget of %gs could not be held; let train.py draw each batch from prepare's make_dataloader, or print a line such as \"step 00010 | loss: 2.5\" for each step",
			seconds, c.batches, c.budget.Seconds)
	}
}

// counted returns the seconds trained that count.
func (c *collector) counted() float64 { return max(0, c.last.Counted-c.offset) }

// reached reports whether the budget was used up when e happened.
func (c *collector) reached(e event) bool {
	if c.budget.Steps > 0 {
		return e.Step >= c.budget.Steps
	}
	return e.Counted-c.offset >= 0.98*c.budget.Seconds
}

// spent reports whether the budget was used up when e happened, also where
// steps are only printed.
func (c *collector) spent(e event) bool {
	return c.reached(e) || c.budget.Steps == 0 && c.counted() >= 0.98*c.budget.Seconds
}

// trainedOn reports whether training went on after the last score. Batches
// alone are no proof once the budget is used up: some loaders draw ahead. Nor is
// a single printed step: words come another way, and may come late.
func (c *collector) trainedOn() bool {
	if !c.last.StandIn && c.last.Step > c.scored.Step {
		return true
	}
	printed := !c.stepped() && c.printed > c.before+1
	return (printed || c.batches > c.scored.Batches) && !c.reached(c.scored)
}

// stepped reports whether an optimizer of torch.optim was seen to step.
func (c *collector) stepped() bool { return c.last.Step > 0 && !c.last.StandIn }

// print takes in a step that the script printed, and reports whether that is a
// sign of life: where optimizer steps can be seen, words are none.
func (c *collector) print(step int) bool {
	if step <= c.printed {
		return false
	}
	c.printed = step
	if c.stepped() {
		return false
	}
	// A batch is less than a step where gradients are accumulated; such scripts
	// say which step it is.
	if c.last.StandIn && step < c.budget.First()-1 {
		c.offset = c.last.Counted
	}
	if c.last.StandIn && c.budget.Steps > 0 && step > c.budget.Steps+c.budget.First() {
		c.overrun(fmt.Sprintf("it printed step %d, and its budget is %d steps after the first %d", step, c.budget.Steps, c.budget.First()))
	}
	return true
}

// alone takes in a printed step, and reports whether that is all that there is
// to go by: batches and optimizer steps, which come another way, would have
// been seen by now.
func (c *collector) alone(step int, now time.Time) bool {
	if c.spoke.IsZero() {
		c.spoke = now
	}
	if c.batches > 0 || c.stepped() || now.Sub(c.spoke) < time.Second {
		return false
	}
	e := event{Step: step, StandIn: true}
	if step >= c.budget.First()-1 {
		if c.since.IsZero() {
			c.since = now
		}
		e.Counted = now.Sub(c.since).Seconds()
	}
	c.goOn(e)
	return true
}

// evidence says by what a trial without optimizer steps was watched.
func (c *collector) evidence() string {
	if c.stepped() {
		return ""
	}
	words := fmt.Sprintf("; no torch.optim optimizer was seen to step, so that %d batches drawn", c.batches)
	if c.printed > 0 {
		words += fmt.Sprintf(" and step %d printed", c.printed)
	}
	return words + " are all that was seen of training"
}

// progress adds a point to the curve, thinned so that it stays small.
func (c *collector) progress(p Progress) {
	c.loss = p.Loss
	c.explode(p)
	if p.Loss == 0 || math.IsNaN(p.Loss) || math.IsInf(p.Loss, 0) {
		return
	}
	if n := len(c.out.Curve); n > 0 && p.Step <= c.out.Curve[n-1].Step {
		return
	}
	c.out.Curve = append(c.out.Curve, search.Point{Step: p.Step, Seconds: c.counted(), Tokens: c.tokens(), Loss: p.Loss})
	if len(c.out.Curve) > 2*curvePoints {
		half := c.out.Curve[:0]
		for i := 0; i < len(c.out.Curve); i += 2 {
			half = append(half, c.out.Curve[i])
		}
		c.out.Curve = half
	}
}

const curvePoints = 400

// grace is how many progress lines in a row must show a loss that is none: a
// script may leave out a bad step and go on.
const grace = 5

// explode looks for a loss that does not come back: no number, infinite, or
// above 100 after it was below. A sum of losses is above from its first line.
func (c *collector) explode(p Progress) {
	none := math.IsNaN(p.Loss) || math.IsInf(p.Loss, 0)
	if !none && (p.Loss <= exploded || !c.sane) {
		c.wild = 0
		c.sane = c.sane || p.Loss > 0 && p.Loss <= exploded
		return
	}
	if c.wild++; c.wild >= grace && c.lost == "" {
		c.lost = fmt.Sprintf("the training loss exploded: it printed loss %g at step %d, the %dth in a row", p.Loss, p.Step, c.wild)
	}
}

// exploded is upstream's limit of a loss that a run survives.
const exploded = 100

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
	o.Steps, o.Tokens, o.TrainingSeconds = c.last.Step, c.tokens(), c.counted()
	o.Summary = log.summary
	o.Flags = append(o.Flags, end.flags...)
	o.ExitCode = end.code
	if c.exit != nil && end.signal == "" && end.firing == nil {
		o.ExitCode = c.exit.Code
	}
	value, err := strconv.ParseFloat(c.score, 64)
	sound := c.score != "" && err == nil && value > 0 && value < absurd
	well := c.exit != nil && o.ExitCode == 0 && end.signal == "" && end.firing == nil && end.cancelled == nil && !end.outOfMemory && !log.failed && !math.IsNaN(c.loss)
	on := c.score != "" && c.trainedOn()
	lost := on && !well // it is the score of a run that was not over
	switch {
	case end.quota:
		o.Status, o.Detail = search.Crashed, "it wrote more than trial.quota allows into its folder"
	case c.tampered != "":
		o.Status, o.Detail = search.Tampered, c.tampered
	case c.over != "":
		o.Status, o.Detail = search.TimedOut, c.over
	case sound && !lost:
		// What comes after the score of a run that is over cannot take it away.
		o.Status, o.ValBPB = search.Completed, value
		switch {
		case end.firing != nil:
			o.Flags = append(o.Flags, "killed after its score: "+end.firing.String())
		case end.cancelled != nil:
			o.Flags = append(o.Flags, "ended from outside after its score")
		case end.signal != "":
			o.Flags = append(o.Flags, "died of "+end.signal+" after its score")
		case o.ExitCode != 0:
			o.Flags = append(o.Flags, fmt.Sprintf("exit status %d after its score", o.ExitCode))
		}
	case end.cancelled != nil:
		o.Status, o.Detail = search.Interrupted, "ended from outside"
		var p Prune
		if errors.As(end.cancelled, &p) {
			o.Status, o.Detail = search.Pruned, p.Why
		}
	case c.score != "" && !sound:
		o.Status, o.Detail = search.Diverged, fmt.Sprintf("evaluate_bpb returned %s, which is no score", c.score)
	case end.firing != nil && end.firing.Cause == watchdog.CauseDiverged:
		o.Status, o.Detail = search.Diverged, end.firing.String()
	case end.firing != nil && end.firing.Phase == search.Gate: // which is not its own doing
		o.Status, o.Detail = search.Interrupted, end.firing.String()
	case end.firing != nil:
		o.Status, o.Detail = search.TimedOut, end.firing.String()
		if end.firing.Phase == search.Compile || end.firing.Phase == search.Train {
			o.Detail += c.evidence()
		}
	case end.outOfMemory:
		o.Status, o.Detail = search.OutOfMemory, fmt.Sprintf("the host's memory limit ended it (trial.memory, %.1f GiB)", float64(end.memory)/(1<<30))
	case c.exit != nil && (strings.HasSuffix(c.exit.Exception, "OutOfMemoryError") || c.exit.Exception == "MemoryError"):
		o.Status, o.Detail = search.OutOfMemory, Inert(firstLine(c.exit.Message))
	case log.failed && (o.ExitCode == 1 || lost) || math.IsNaN(c.loss) || c.loss > exploded:
		o.Status, o.Detail = search.Diverged, fmt.Sprintf("the training loss exploded (step %d)", o.Steps)
	case c.fault != "":
		o.Status, o.Detail = search.Crashed, c.fault
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
	if o.Status == search.Crashed && end.confined && (c.exit != nil && asksNetwork(c.exit.Traceback) || asksNetwork(log.lastLines(20))) {
		o.Detail += "\n" + fetchFirst // the last line is the reason
	}
	switch {
	case lost && sound:
		o.Flags = append(o.Flags, fmt.Sprintf("val_bpb %.6f does not count: training went on after it (step %d), and did not end well", value, c.scored.Step))
	case on:
		o.Flags = append(o.Flags, fmt.Sprintf("training went on after the score (step %d)", c.scored.Step))
	}
	if c.last.StandIn {
		o.Flags = append(o.Flags, "no torch.optim optimizer was seen: num_steps counts batches")
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
