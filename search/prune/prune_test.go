package prune_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/prune"
)

var budget = search.Budget{Seconds: 300}

// curve falls to a loss at the end of the budget, one point a second.
func curve(last float64) []search.Point {
	var points []search.Point
	for s := range 301 {
		points = append(points, search.Point{Step: s + 11, Seconds: float64(s), Tokens: int64(1000 * s), Loss: last + 2*(1-float64(s)/300)})
	}
	return points
}

// past is a study of one code whose trials end at these losses, and score a
// third of them and a little that the curve does not tell.
func past(t *testing.T, losses ...float64) *prune.Rule {
	t.Helper()
	rule, err := prune.New("median")
	if err != nil {
		t.Fatal(err)
	}
	best := math.NaN()
	for i, loss := range losses {
		r := search.Result{
			Trial:   search.Trial{ID: int64(i + 1), Budget: budget, Device: "cuda:0", Code: 7},
			Outcome: search.Outcome{Status: search.Completed, ValBPB: loss/3 + 0.001*math.Sin(float64(i)), Curve: curve(loss), Tokens: 300_000},
		}
		if !(r.Outcome.ValBPB > best) {
			best, r.Decision.Verdict = r.Outcome.ValBPB, search.Keep
		}
		rule.Add(r, best)
	}
	return rule
}

func losses(n int) (out []float64) {
	for i := range n {
		out = append(out, 3+0.1*float64(i*7%n))
	}
	return out
}

// next is a trial that goes on from what past made.
func next() search.Trial {
	return search.Trial{ID: 100, Budget: budget, Device: "cuda:1", Code: 7, Seed: 42}
}

// follow takes a trial through its curve, and returns why it was condemned and
// at what share of the budget.
func follow(w *prune.Watch, b search.Budget, points []search.Point) (v prune.Verdict, at float64) {
	for _, p := range points {
		if got, condemned := w.Point(p); condemned {
			if at != 0 {
				panic("condemned twice")
			}
			v, at = got, b.Share(p)
		}
	}
	return v, at
}

func TestWhoIsCondemned(t *testing.T) {
	hopeless := 3.9
	for name, c := range map[string]struct {
		past  *prune.Rule
		trial func(*search.Trial)
		curve []search.Point
		at    float64 // share of the budget; 0: it is not condemned
	}{
		"hopeless":                {curve: curve(hopeless), at: 0.7},
		"a little worse":          {curve: curve(3.002)},
		"better than the median":  {curve: curve(3.3)},
		"better than all":         {curve: curve(2)},
		"few to compare with":     {past: past(t, losses(7)...), curve: curve(hopeless)},
		"just enough":             {past: past(t, losses(8)...), curve: curve(hopeless), at: 0.7},
		"another budget":          {trial: func(t *search.Trial) { t.Budget.Seconds = 200 }, curve: curve(hopeless)},
		"another kind of device":  {trial: func(t *search.Trial) { t.Device = "cpu" }, curve: curve(hopeless)},
		"another GPU's name":      {trial: func(t *search.Trial) { t.Kind = "NVIDIA H200" }, curve: curve(hopeless)},
		"another code":            {trial: func(t *search.Trial) { t.Code = 8 }, curve: curve(hopeless)},
		"an unknown code":         {trial: func(t *search.Trial) { t.Code, t.Proposal.Source = 0, []byte("x") }, curve: curve(hopeless)},
		"its parent's code":       {trial: func(t *search.Trial) { t.Code, t.Proposal.Parent = 0, 3 }, curve: curve(hopeless), at: 0.7},
		"a run for the noise":     {trial: func(t *search.Trial) { t.Proposal = search.Proposal{Strategy: search.Confirm, Parent: 3} }, curve: curve(hopeless)},
		"a curve without numbers": {curve: curve(math.NaN())},
		"a short curve":           {curve: curve(hopeless)[:209]},
		"silent at the looks":     {curve: append(curve(hopeless)[:150:150], curve(hopeless)[300])},
		"no curve":                {},
	} {
		t.Run(name, func(t *testing.T) {
			rule, trial := c.past, next()
			if rule == nil {
				rule = past(t, losses(12)...)
			}
			if c.trial != nil {
				c.trial(&trial)
			}
			v, at := follow(rule.Watch(trial), trial.Budget, c.curve)
			if at != c.at || (v.Why == "") != (at == 0) {
				t.Errorf("condemned at %g, want %g: %q", at, c.at, v.Why)
			}
		})
	}
}

func TestWhyInWords(t *testing.T) {
	trial := next()
	v, _ := follow(past(t, losses(12)...).Watch(trial), budget, curve(4))
	const want = "at 70 % of its budget its loss of 4.6500 is above the median 4.2000 of 12 trials: it would come to val_bpb 1.333"
	if !strings.HasPrefix(v.Why, want) || !strings.Contains(v.Why, ", with luck to 1.329") || !strings.HasSuffix(v.Why, ", and the champion has 1.000000") || math.Abs(v.Foreseen-4./3) > 0.001 || v.At != 0.7 {
		t.Errorf("%s", v.Why)
	}
}

// TestCurvesThatDoNotTell condemns nobody where the loss at a look says nothing
// of the score, nor where one trial once came from far behind.
func TestCurvesThatDoNotTell(t *testing.T) {
	odd, _ := prune.New("median")
	late, _ := prune.New("median")
	for i := range 30 {
		loss := 3 + 0.1*float64(i*7%30)
		r := search.Result{Trial: search.Trial{ID: int64(i + 1), Budget: budget, Device: "cuda:0", Code: 7}}
		r.Outcome = search.Outcome{Status: search.Completed, ValBPB: 1 + 0.001*float64(i*i%30), Curve: curve(loss)}
		odd.Add(r, 1)
		if r.Outcome.ValBPB = loss / 3; i == 20 {
			r.Outcome.ValBPB = 1
		}
		late.Add(r, 1)
	}
	for name, rule := range map[string]*prune.Rule{"odd": odd, "late": late} {
		if v, _ := follow(rule.Watch(next()), budget, curve(4.5)); v.Why != "" {
			t.Errorf("%s: %s", name, v.Why)
		}
	}
}

func TestEditsCompareWithEdits(t *testing.T) {
	rule, _ := prune.New("median")
	add := func(id int64, code uint64, loss, score float64) {
		rule.Add(search.Result{Trial: search.Trial{ID: id, Budget: budget, Device: "cuda:0", Code: code},
			Outcome: search.Outcome{Status: search.Completed, ValBPB: score, Curve: curve(loss)}}, 1)
	}
	edit := next()
	edit.Code = 99
	for i := range 20 { // of one code, where the loss tells the score
		add(int64(i+1), 7, 3+0.1*float64(i), 1+0.03*float64(i))
	}
	if v, _ := follow(rule.Watch(edit), budget, curve(9)); v.Why != "" {
		t.Errorf("with no edit to compare with: %s", v.Why)
	}
	for i := range 20 { // an edit each: some print twice the loss
		add(int64(i+21), uint64(10+i), (3+0.1*float64(i))*float64(1+i%2), 1+0.03*float64(i))
	}
	if v, _ := follow(rule.Watch(edit), budget, curve(7)); v.Why != "" {
		t.Errorf("where edits change what is printed: %s", v.Why)
	}
	if v, _ := follow(rule.Watch(next()), budget, curve(5)); v.Why == "" {
		t.Error("the trials of one code are not enough to condemn one of the same")
	}
}

func TestTooFewTokens(t *testing.T) {
	slow := func(by float64, loss float64) []search.Point {
		points := curve(loss)
		for i := range points {
			points[i].Tokens = int64(by * float64(points[i].Tokens))
		}
		return points
	}
	for _, c := range []struct{ by, loss, at float64 }{{0.2, 4.4, 0.25}, {0.2, 3.1, 0}, {0.3, 3.5, 0}, {0.3, 4.4, 0.7}} {
		trial := next()
		v, at := follow(past(t, losses(12)...).Watch(trial), budget, slow(c.by, c.loss))
		if at != c.at || at == 0.25 && !strings.HasSuffix(v.Why, "it would see 6e+04 tokens in all, where no kept trial has seen fewer than 3e+05") {
			t.Errorf("%g of the tokens, loss %g: condemned at %g, want %g: %s", c.by, c.loss, at, c.at, v.Why)
		}
	}
}

func TestBudgetInSteps(t *testing.T) {
	rule, _ := prune.New("median")
	steps := search.Budget{Steps: 300}
	for i := range 12 {
		loss := 3 + 0.1*float64(i)
		rule.Add(search.Result{Trial: search.Trial{ID: int64(i + 1), Budget: steps, Device: "cpu", Code: 7},
			Outcome: search.Outcome{Status: search.Completed, ValBPB: loss / 3, Curve: curve(loss)}}, 1)
	}
	trial := search.Trial{ID: 100, Budget: steps, Device: "cpu:1", Code: 7}
	if _, at := follow(rule.Watch(trial), steps, curve(4.5)); at != 0.7 {
		t.Errorf("condemned at %g", at)
	}
}

// TestThinnedCurves compares a live curve with recorded ones, of which every
// second point is gone.
func TestThinnedCurves(t *testing.T) {
	rule, _ := prune.New("median")
	for i := range 12 {
		loss := 3 + 0.1*float64(i)
		var thin []search.Point
		for k, p := range curve(loss) {
			if k%2 == 1 {
				thin = append(thin, p)
			}
		}
		rule.Add(search.Result{Trial: search.Trial{ID: int64(i + 1), Budget: budget, Device: "cuda:0", Code: 7},
			Outcome: search.Outcome{Status: search.Completed, ValBPB: loss / 3, Curve: thin}}, 1)
	}
	if v, at := follow(rule.Watch(next()), budget, curve(3.6)); at != 0.7 || !strings.Contains(v.Why, "of 12 trials") {
		t.Errorf("condemned at %g: %s", at, v.Why)
	}
}

func TestOneInTenRunsOn(t *testing.T) {
	rule := past(t, losses(12)...)
	on := 0
	for id := range 1000 {
		trial := next()
		trial.ID = int64(100 + id)
		v, _ := follow(rule.Watch(trial), budget, curve(4.5))
		again, _ := follow(rule.Watch(trial), budget, curve(4.5))
		if v != again {
			t.Fatalf("trial %d: %+v, then %+v", trial.ID, v, again)
		}
		if v.RunsOn {
			on++
		}
	}
	if on < 70 || on > 130 {
		t.Errorf("%d of 1000 condemned run on", on)
	}
}

func TestOffAndUnknown(t *testing.T) {
	rule, err := prune.New(prune.Off)
	if rule != nil || err != nil {
		t.Fatal(rule, err)
	}
	rule.Add(search.Result{}, 1)
	if v, at := follow(rule.Watch(next()), budget, curve(9)); at != 0 {
		t.Error(v.Why)
	}
	if _, err := prune.New("medium"); err == nil || !strings.Contains(err.Error(), "known are median, off") {
		t.Error(err)
	}
}

func TestCount(t *testing.T) {
	trial := func(id int64, status search.Status, bpb float64, condemned bool) search.Result {
		verdict := search.Discard
		if id == 1 {
			verdict = search.Keep
		}
		r := search.Result{Trial: search.Trial{ID: id, Code: uint64(id)}, Outcome: search.Outcome{Status: status, ValBPB: bpb}, Decision: search.Decision{Verdict: verdict}}
		if condemned {
			r.Outcome.Condemned = &search.Condemned{At: 0.7, Why: "worse"}
		}
		return r
	}
	done := []search.Result{
		trial(1, search.Completed, 1, false), trial(2, search.Pruned, 0, true), trial(3, search.Completed, 1.1, true),
		trial(4, search.Completed, 0.9, true), trial(5, search.Completed, 0.8, false), trial(6, search.Crashed, 0, true),
	}
	want := prune.Tally{Condemned: 4, RanOn: 2, Mistakes: 1}
	if got := prune.Count(done); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := fmt.Sprint(want); got != "4 condemned, of which 2 ran on to the end and 1 of these came out below the champion" {
		t.Error(got)
	}
}
