package warm

import (
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/random"
	"autoresearchd/search/searchtest"
	"autoresearchd/search/simulate"
)

// earlier is a study whose trials set the given constants over upstream's.
func earlier(t *testing.T, name string, trials ...map[string]search.Value) search.Earlier {
	t.Helper()
	source, consts := simulate.Source(simulate.Upstream())
	e := search.Earlier{Name: name}
	add := func(c []search.Constant, bpb float64, v search.Verdict) {
		e.Done = append(e.Done, search.Result{
			Trial:   search.Trial{ID: int64(len(e.Done) + 1), Constants: c},
			Outcome: search.Outcome{Status: search.Completed, ValBPB: bpb}, Decision: search.Decision{Verdict: v},
		})
	}
	add(consts, 1.0, search.Keep)
	for i, values := range trials {
		_, changed, err := simulate.Apply(source, consts, values)
		if err != nil {
			t.Fatal(err)
		}
		add(changed, 1.0-0.01*float64(i+1), search.Keep)
	}
	return e
}

func values(rate float64) map[string]search.Value {
	return map[string]search.Value{"MATRIX_LR": search.FloatValue(rate)}
}

func TestBestOfEarlierStudiesFirst(t *testing.T) {
	e := earlier(t, "mar8", values(0.05), values(0.06), values(0.07), map[string]search.Value{"MATRIX_LR": search.FloatValue(0.08), "DEPTH": search.IntValue(9)})
	inner, err := random.New(search.Environment{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := Wrap(inner, []search.Earlier{e})
	study, err := simulate.NewStudy(simulate.NewTask(3, 0), s, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"as trial 5 of study mar8: ", "as trial 4 of study mar8: ", "as trial 3 of study mar8: "} {
		trial, err := study.Ask()
		if err != nil {
			t.Fatal(err)
		}
		p := trial.Proposal
		if p.Strategy != Name || len(p.Description) < len(want) || p.Description[:len(want)] != want {
			t.Fatalf("proposed %q by %s, want %q", p.Description, p.Strategy, want)
		}
		// A score of zero gain: only what was measured here counts.
		if err := study.Finish(trial, search.Outcome{Status: search.Completed, ValBPB: 5}); err != nil {
			t.Fatal(err)
		}
	}
	trial, err := study.Ask()
	if err != nil || trial.Proposal.Strategy != random.Name {
		t.Errorf("then asked %s, %v", trial.Proposal.Strategy, err)
	}
}

func TestNothingToLearn(t *testing.T) {
	inner, err := random.New(search.Environment{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range [][]search.Earlier{nil, {{Name: "empty"}}, {earlier(t, "flat")}} {
		if Wrap(inner, e) != inner {
			t.Errorf("%v wraps the strategy", e)
		}
	}
}

func TestConformance(t *testing.T) {
	searchtest.Run(t, func(env search.Environment) (search.Strategy, error) {
		inner, err := random.New(env)
		return Wrap(inner, []search.Earlier{earlier(t, "mar8", values(0.05), values(0.06))}), err
	})
}

// TestPending gives no idea out twice while it runs.
func TestPending(t *testing.T) {
	inner, err := random.New(search.Environment{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	study, err := simulate.NewStudy(simulate.NewTask(3, 0), Wrap(inner, []search.Earlier{earlier(t, "mar8", values(0.05), values(0.06))}), 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		trial, err := study.Ask()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, trial.Proposal.Strategy+" "+trial.Proposal.Values["MATRIX_LR"].String())
		study.History.Pending = append(study.History.Pending, trial)
	}
	if got[0] != "warm 0.06" || got[1] != "warm 0.05" || strings.HasPrefix(got[2], "warm") {
		t.Errorf("proposed %q", got)
	}
}
