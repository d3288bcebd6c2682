// Package prune is the rule by which hopeless trials end early. It is pure, as
// all of package search: a Rule is folded from finished trials in the order of
// their decisions, and a Watch from the points of a running trial's curve.
//
// Rule "median" looks at a trial when 70 % of its budget is spent and every 5 %
// after that. The last half of a run is learning-rate decay, in which curves
// cross, so an earlier look would be a guess. What is compared is the mean of
// the loss over the last 5 % of the budget, at an equal share of it. Condemned
// is a trial that is worse than the median of those it compares with, and that
// by so much that it would not beat the champion even if it ended as much below
// the line through their losses and scores as luck allows: Student's 98 % bound
// of a prediction from that line, or three times the largest surprise that there
// has been, whichever is more: trials that hold their learning rates up for
// longer come from far behind, and a search finds them together.
//
// Losses are as the script printed them, so trials compare only within one code
// that differs in its constants. An edit compares with what other edits came
// to: the first trial of each code. Fewer than eight to compare with, and nobody
// is condemned.
//
// A trial that will see a quarter of the tokens that any kept one has seen, and
// is worse than the median as well, is condemned from a quarter of its budget on.
//
// One in ten of the condemned runs on to its end all the same, chosen by its id
// and seed, so that mistakes are counted.
package prune

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"autoresearchd/search"
)

// The numbers of the rule; scripts/bench.sh pruning shows what they come to.
const (
	least    = 8    // trials to compare with
	sure     = 0.98 // of a prediction's one-sided bound
	surprise = 3    // times the largest that there has been
	starved  = 0.25 // of the tokens that any kept trial has seen
	spared   = 10   // one in so many of the condemned runs on
)

// Off is the rule that ends nothing.
const Off = "off"

// Names lists the rules that a configuration can name, sorted.
func Names() []string { return []string{"median", Off} }

// New returns the rule of that name without a past, nil for Off, or an error
// that lists the known ones.
func New(name string) (*Rule, error) {
	switch name {
	case Off:
		return nil, nil
	case "median":
		return &Rule{codes: map[int64]uint64{}, bars: map[string]float64{}, seen: map[class]bool{}}, nil
	}
	return nil, fmt.Errorf("unknown pruning rule %q: known are %s", name, strings.Join(Names(), ", "))
}

// Rule is what finished trials teach. A nil one condemns nobody.
type Rule struct {
	past  []finished
	codes map[int64]uint64 // by trial
	seen  map[class]bool
	bars  map[string]float64 // by device: the champion's val_bpb there, or that of the last one that had one
}

// class is what trials must share to be compared.
type class struct {
	budget search.Budget
	device string // its kind; else "cpu", "cuda"
	code   uint64 // 0: the first trials of each code
}

// finished is a trial that has a score.
type finished struct {
	class, edits class // edits: as a first trial of its code; the zero value if it was not
	sketch
	bpb    float64
	tokens int64
	kept   bool
}

func (r *Rule) class(t *search.Trial) class {
	code := t.Code
	if code == 0 && len(t.Proposal.Source) == 0 {
		code = r.codes[t.Proposal.Parent]
	}
	device := t.Kind
	if device == "" {
		device, _, _ = strings.Cut(t.Device, ":")
	}
	return class{t.Budget, device, code}
}

// Add learns from a finished trial, whose Outcome has its curve. bar is the
// champion's val_bpb after it on its device, NaN if there is none.
func (r *Rule) Add(t search.Result, bar float64) {
	if r == nil {
		return
	}
	c := r.class(&t.Trial)
	if r.codes[t.Trial.ID] = c.code; bar > 0 {
		r.bars[c.device] = bar
	}
	bpb, ok := t.Score()
	if !ok || c.code == 0 {
		return
	}
	f := finished{class: c, sketch: draw(t.Trial.Budget, t.Outcome.Curve), bpb: bpb, tokens: t.Outcome.Tokens, kept: t.Decision.Verdict == search.Keep}
	if !r.seen[c] {
		r.seen[c] = true
		f.edits = class{c.budget, c.device, 0}
	}
	r.past = append(r.past, f)
}

// Watch follows a trial that begins. It is nil where nobody is to be condemned:
// another run of a program is made to learn how its score varies, and must not
// end by its score.
func (r *Rule) Watch(t search.Trial) *Watch {
	if r == nil || search.IsRerun(t) {
		return nil
	}
	c := r.class(&t)
	bar := r.bars[c.device]
	if c.code == 0 || bar == 0 {
		return nil
	}
	w := &Watch{trial: t, bar: bar, line: pen{budget: t.Budget}}
	edit := !r.seen[c]
	for _, f := range r.past {
		if f.class == c || edit && f.edits == (class{c.budget, c.device, 0}) {
			w.like = append(w.like, f)
		}
		if f.kept && f.class.budget == c.budget && f.class.device == c.device && f.tokens > 0 && (w.tokens == 0 || f.tokens < w.tokens) {
			w.tokens = f.tokens
		}
	}
	if len(w.like) < least {
		return nil
	}
	return w
}

// Watch follows one running trial. A nil one says nothing.
type Watch struct {
	trial  search.Trial
	bar    float64
	like   []finished
	tokens int64 // the fewest that a kept trial has seen in all; 0: unknown
	line   pen
	over   bool
}

// Verdict condemns a trial.
type Verdict struct {
	search.Condemned
	RunsOn bool // all the same, to count the mistakes
}

// Point takes in the next point of the trial's curve, and reports once that it
// is condemned.
func (w *Watch) Point(p search.Point) (Verdict, bool) {
	if w == nil || w.over {
		return Verdict{}, false
	}
	for _, look := range w.line.to(p) {
		if c := w.look(look); c.Why != "" {
			w.over = true
			return Verdict{c, lucky(w.trial)}, true
		}
	}
	return Verdict{}, false
}

// look judges the trial at a share of its budget; without a reason it is not
// condemned.
func (w *Watch) look(k int) (c search.Condemned) {
	loss, tokens := w.line.loss[k], w.line.tokens[k]
	var x, y []float64
	for _, f := range w.like {
		if !math.IsNaN(f.loss[k]) {
			x, y = append(x, f.loss[k]), append(y, f.bpb)
		}
	}
	if len(x) < least || math.IsNaN(loss) {
		return c
	}
	median := middle(x)
	if !(loss > median) {
		return c
	}
	c.At = shares[k]
	words := fmt.Sprintf("at %.0f %% of its budget its loss of %.4f is above the median %.4f of %d trials", 100*c.At, loss, median, len(x))
	if end := float64(tokens) / c.At; w.trial.Budget.Seconds > 0 && tokens > 0 && end < starved*float64(w.tokens) {
		c.Why = fmt.Sprintf("%s, and it would see %.3g tokens in all, where no kept trial has seen fewer than %.3g", words, end, float64(w.tokens))
	} else if end, luck := predict(x, y, loss); c.At >= first && end-luck > w.bar {
		c.Foreseen = end
		c.Why = fmt.Sprintf("%s: it would come to val_bpb %.6f, with luck to %.6f, and the champion has %.6f", words, end, end-luck, w.bar)
	}
	return c
}

// predict returns the score that a trial with this loss would come to, by the
// trials that had losses x and came to scores y, and how far below that luck may
// take it: +Inf if these do not tell.
func predict(x, y []float64, loss float64) (bpb, luck float64) {
	n := float64(len(x))
	var mx, my float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	var sxx, sxy float64
	for i := range x {
		sxx += (x[i] - mx) * (x[i] - mx)
		sxy += (x[i] - mx) * (y[i] - my)
	}
	slope := sxy / sxx
	if !(slope > 0) {
		return my, math.Inf(1)
	}
	var rest, largest float64
	for i := range x {
		above := my + slope*(x[i]-mx) - y[i]
		rest += above * above
		largest = max(largest, above)
	}
	margin := search.StudentT(sure, n-2) * math.Sqrt(rest/(n-2)*(1+1/n+(loss-mx)*(loss-mx)/sxx))
	return my + slope*(loss-mx), max(margin, surprise*largest)
}

func middle(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// lucky chooses one in so many, by what a replay knows too.
func lucky(t search.Trial) bool {
	x := uint64(t.ID)*0x9e3779b97f4a7c15 ^ t.Seed // as SplitMix64 scrambles
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return (x^x>>31)%spared == 0
}
