package simulate_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/evolution"
	"autoresearchd/search/random"
	"autoresearchd/search/simulate"
)

// TestSameSeedSameStudy holds for every task; another seed gives another study.
func TestSameSeedSameStudy(t *testing.T) {
	for _, b := range simulate.BuiltIn() {
		play := func(seed uint64) *simulate.Study {
			s, err := simulate.Run(b.New(seed), evolution.New, 40, seed)
			if err != nil {
				t.Fatalf("%s: %v", b.Name, err)
			}
			return s
		}
		one, again, other := play(1), play(1), play(2)
		if !reflect.DeepEqual(one.History.Done, again.History.Done) {
			t.Errorf("%s: the same seed gave another study", b.Name)
		}
		if reflect.DeepEqual(one.Best, other.Best) {
			t.Errorf("%s: another seed gave the same study", b.Name)
		}
		if one.Task.Name != b.Name || one.Best[39] >= one.Best[0] && b.Name != "nothing" {
			t.Errorf("%s: as %s from %g to %g", b.Name, one.Task.Name, one.Best[0], one.Best[39])
		}
	}
	if _, err := simulate.LookupTask("moon"); err == nil || !strings.HasPrefix(err.Error(), `unknown task "moon": known are ackley, code, cpu, `) {
		t.Errorf("got %v", err)
	}
}

// TestScale has the optimum as the lowest of what search finds, and the middle
// in the middle.
func TestScale(t *testing.T) {
	for _, b := range simulate.BuiltIn() {
		task := b.New(3)
		best, middling := task.Scale()
		if !(best < middling) {
			t.Errorf("%s: best %g, middling %g", b.Name, best, middling)
		}
		s, err := simulate.Run(task, random.New, 150, 3)
		if err != nil {
			t.Fatal(err)
		}
		if found := s.Best[149]; found < best {
			t.Errorf("%s: %g is below the best, %g", b.Name, found, best)
		}
	}
}

// TestOptimum finds a function's lowest value where it lies.
func TestOptimum(t *testing.T) {
	b, err := simulate.LookupTask("ackley")
	if err != nil {
		t.Fatal(err)
	}
	task := b.New(5)
	at := map[string]search.Value{}
	for _, l := range task.Lines {
		at[l.Name] = l.Value
	}
	// Coordinate descent on a function without noise.
	for step := 0.5; step > 1e-4; step *= 0.8 {
		for name, v := range at {
			for _, d := range []float64{-step, step} {
				low, _ := task.True(at)
				old := at[name]
				if at[name] = search.FloatValue(v.Number() + d); math.Abs(v.Number()+d) > 1 {
					at[name] = old
				} else if now, _ := task.True(at); now >= low {
					at[name] = old
				}
			}
		}
	}
	if v, _ := task.True(at); v < 1 {
		t.Errorf("found %g, below the floor", v)
	}
}

// TestEdits proves that edits reach the truth, change the space and live on in
// their children.
func TestEdits(t *testing.T) {
	b, err := simulate.LookupTask("edits")
	if err != nil {
		t.Fatal(err)
	}
	edits, kept, added, gone := 0, 0, false, false
	for seed := range uint64(8) {
		s, err := simulate.Run(b.New(seed), evolution.New, 100, seed)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.History.Done {
			if r.Trial.Proposal.Strategy == "edit" {
				edits++
				if r.Decision.Verdict == search.Keep {
					kept++
				}
			}
			now := simulate.Values(r.Trial.Constants)
			for name := range now {
				added = added || strings.HasPrefix(name, "EDIT_")
			}
			_, there := now["WARMUP_RATIO"]
			gone = gone || !there
			read, err := simulate.Read(r.Trial.Source)
			if err != nil || !reflect.DeepEqual(read, r.Trial.Constants) {
				t.Fatalf("trial %d: read %v, %v; it has %v", r.Trial.ID, read, err, r.Trial.Constants)
			}
		}
		if len(simulate.Code(s.History.Champion.Source)) == 0 && kept > 0 && seed == 0 {
			t.Error("the champion lost the edits of its parents")
		}
	}
	if edits < 100 || kept < 8 || !added || !gone {
		t.Errorf("of %d edits %d were kept; a constant added: %v, gone: %v", edits, kept, added, gone)
	}
}

func TestReadSpace(t *testing.T) {
	task, err := simulate.ReadSpace([]byte(`{"MATRIX_LR": {"low": 0.005, "high": 0.2, "log": true, "start": 0.04},
		"DEPTH": {"low": 4, "high": 24, "integer": true, "start": 8}, "PATTERN": {"choices": ["SSSL", "LLLL"], "start": "SSSL"},
		"width": {"choices": [1, 0.5, 2], "start": 1}, "gate": {"choices": [true, false], "start": false}, "one": {"choices": [3], "start": 3}}`))
	if err != nil {
		t.Fatal(err)
	}
	space, err := task.Space()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range space.Dimensions() {
		got = append(got, d.Name+" "+d.Scale.String()+" "+d.Start.Kind().String())
	}
	want := []string{"MATRIX_LR log float", "DEPTH linear int", "PATTERN grid str", "width grid float", "gate grid bool"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	data, err := simulate.Describe(task)
	if err != nil {
		t.Fatal(err)
	}
	again, err := simulate.ReadSpace(data)
	if err != nil || len(again.Lines) != 5 {
		t.Errorf("read again: %v, %v", again.Lines, err)
	}
	for bad, want := range map[string]string{
		`[]`: "a space is an object of constants", `{}`: "the space has no constant", `{"A": {"start": 1}}`: `A: give "low" and "high", or "choices"`,
		`{"A": {"low": 1, "high": 2}}`: `A: it has no "start"`, `{"A": {"lo": 1}}`: `A: unknown field "lo"`,
		`{"A": {"low": 1, "high": 2, "start": 3}}`:                                     "starts at 3.0, outside",
		`{"A": {"low": 1, "high": 9, "integer": true, "start": 2.5}}`:                  "it must be whole",
		`{"A": {"low": 1, "high": 9, "start": "x"}}`:                                   "a range is of numbers",
		`{"A": {"low": 1, "choices": [1, 2], "start": 1}}`:                             "not both",
		`{"A": {"choices": [1, 2], "start": 3}}`:                                       "not among the choices",
		`{"A": {"choices": [1], "start": 1}, "A": {"choices": [1, 2], "start": 1}}`:    "A: it is given twice",
		`{"A": {"choices": [1], "start": 1}`:                                           "ends too early",
		`{"A=": {"choices": [1], "start": 1}}`:                                         "cannot be a constant's",
		`{"A": {"low": 0, "high": 1, "log": true, "start": 0.5}, "B": {"start": "b"}}`: `B: give "low" and "high"`,
	} {
		if _, err := simulate.ReadSpace([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", bad, err, want)
		}
	}
}

const table = `{"name": "small", "start": {"DEPTH": 4, "LR": 0.1}, "rows": [
	{"constants": {"DEPTH": 4, "LR": 0.1}, "value": -3.0}, {"constants": {"DEPTH": 4, "LR": 0.1}, "value": -4},
	{"constants": {"DEPTH": 8, "LR": 0.1}, "value": -7}, {"constants": {"DEPTH": 8, "LR": 1}, "status": "out of memory"},
	{"constants": {"DEPTH": 4, "LR": 1}, "value": 2000}, {"constants": {"DEPTH": 6, "LR": 1}, "value": 5}]}`

func TestTable(t *testing.T) {
	task, covered, err := simulate.ReadTable([]byte(table))
	if err != nil {
		t.Fatal(err)
	}
	if covered != 5.0/6 {
		t.Errorf("covered %g", covered)
	}
	if best, middling := task.Scale(); best != -7 || middling != 5 {
		t.Errorf("scale %g, %g", best, middling)
	}
	strategy, err := evolution.New(search.Environment{Seed: 1, Table: func(o any) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	s, err := simulate.NewStudy(task, strategy, 1)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = s.Turn()
	}
	if !simulate.Exhausted(err) || len(s.History.Done) != 6 {
		t.Fatalf("after %d trials: %v", len(s.History.Done), err)
	}
	statuses := map[search.Status]int{}
	for i, r := range s.History.Done {
		statuses[r.Outcome.Status]++
		if v, ok := r.Score(); ok && (v < 0 || math.IsNaN(s.Values[i])) {
			t.Errorf("trial %d: val_bpb %g for %g", r.Trial.ID, v, s.Values[i])
		}
	}
	if !reflect.DeepEqual(statuses, map[search.Status]int{search.Completed: 4, search.OutOfMemory: 1, search.Crashed: 1}) {
		t.Errorf("statuses %v", statuses)
	}
	if f := simulate.SumUp(s, "random", 1, 10); f.Regret[9] != 0 || len(f.Regret) != 10 || f.Regret[0] != 3.5/12 && math.Abs(f.Regret[0]-3.5/12) > 1e-6 {
		t.Errorf("regret %v", f.Regret)
	}
	for bad, want := range map[string]string{
		`[]`: "no row has a value", `[{"constants": {"A": 1}}]`: "no row has a value",
		`[{"constants": {"A": 1}, "value": 1}, {"constants": {"B": 1}, "value": 1}]`:        "row 2 has not the constants of the start",
		`[{"constants": {"A": 1}, "value": 1}, {"constants": {"A": 2}, "status": "bored"}]`: "row 2 has neither a value nor a status",
		`[{"constant": {"A": 1}}]`: "unknown field",
	} {
		if _, _, err := simulate.ReadTable([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", bad, err, want)
		}
	}
}

// TestForeignValues keeps the order of values of any size and sign, and every
// one of them a score.
func TestForeignValues(t *testing.T) {
	for _, values := range [][]float64{{0, -1e9, 5, 1e30, -3}, {-0.5, -1, -0.99, 7, 1e5}, {1e-7, 1e-9, 3, -2, 2}} {
		n := 0
		task, err := simulate.ReadSpace([]byte(`{"A": {"low": 0, "high": 1, "start": 0.5}}`))
		if err != nil {
			t.Fatal(err)
		}
		task.Measure = func(context.Context, int64, map[string]search.Value, uint64) (simulate.Measured, error) {
			n++
			return simulate.Measured{Value: values[n-1], Status: search.Completed}, nil
		}
		s, err := simulate.Run(task, random.New, len(values), 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range s.History.Done {
			if _, ok := a.Score(); !ok || s.Values[i] != values[i] {
				t.Errorf("%g became %g, %g", values[i], a.Outcome.ValBPB, s.Values[i])
			}
			for k, b := range s.History.Done {
				if values[i] < values[k] && a.Outcome.ValBPB >= b.Outcome.ValBPB {
					t.Errorf("%g and %g became %g and %g", values[i], values[k], a.Outcome.ValBPB, b.Outcome.ValBPB)
				}
			}
		}
	}
}

// TestBrokenProgram ends a study with the program's own words.
func TestBrokenProgram(t *testing.T) {
	task := simulate.NewTask(1, 0)
	broken := errors.New("it has left")
	task.Measure = func(_ context.Context, id int64, _ map[string]search.Value, _ uint64) (simulate.Measured, error) {
		if id == 3 {
			return simulate.Measured{}, broken
		}
		return simulate.Measured{Value: 1, Status: search.Completed}, nil
	}
	if _, err := simulate.Run(task, random.New, 9, 1); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestIntervals(t *testing.T) {
	i := simulate.NewInterval([]float64{1, 2, 3, 4, 5})
	if i.Mean != 3 || math.Abs(i.Half-1.963) > 0.01 {
		t.Errorf("got %+v", i) // 2.776 standard errors of 0.707
	}
	all := []simulate.Finished{{Regret: []float64{1, 0.5}}, {Regret: []float64{1, 0.25, 0.25}}}
	if r := simulate.Regret(all, 9); r.Mean != 0.375 || r.N != 2 {
		t.Errorf("got %+v", r)
	}
}

// TestResolve takes what Describe gave out, elements of a tuple by their names.
func TestResolve(t *testing.T) {
	task := simulate.NewTask(1, 0)
	values, err := simulate.Resolve(task, map[string]search.Value{"ADAM_BETAS[1]": search.FloatValue(0.9), "MATRIX_LR": search.FloatValue(0.08)})
	if err != nil {
		t.Fatal(err)
	}
	if values["ADAM_BETAS"].Literal() != "(0.8, 0.9)" || values["MATRIX_LR"].Number() != 0.08 || values["DEPTH"].Whole() != 8 {
		t.Errorf("got %v", values)
	}
	if v, status := task.Noisy(values, 1); status != search.Completed || v < 0.97 {
		t.Errorf("got %g, %s", v, status)
	}
	if _, err := simulate.Resolve(task, map[string]search.Value{"DEPHT": search.IntValue(9)}); err == nil {
		t.Error("an unknown constant was taken")
	}
}
