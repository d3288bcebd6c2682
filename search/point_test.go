package search_test

import (
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

func TestPointReadsValuesStrictly(t *testing.T) {
	_, consts := simulate.Source(append(simulate.Upstream(), simulate.Line{Name: "SEED", Text: "42", Value: search.IntValue(42)}))
	space, err := search.NewSpace(consts, map[string]search.Override{"HEAD_DIM": {Choices: []search.Value{search.IntValue(64), search.IntValue(128)}}})
	if err != nil {
		t.Fatal(err)
	}
	f, n := search.FloatValue, search.IntValue
	for _, test := range []struct {
		values map[string]search.Value
		means  string // of the changes, or a part of the fault
	}{
		{nil, "nothing changed"},
		{map[string]search.Value{"MATRIX_LR": f(0.0512345)}, "MATRIX_LR 0.04 -> 0.0512"},
		{map[string]search.Value{"MATRIX_LR": f(0.4 * (1 + 1e-12))}, "MATRIX_LR 0.04 -> 0.4"},
		{map[string]search.Value{"DEPTH": f(9)}, "DEPTH 8 -> 9"},
		{map[string]search.Value{"ADAM_BETAS[0]": f(0.9)}, "ADAM_BETAS (0.8, 0.95) -> (0.9, 0.95)"},
		{map[string]search.Value{"ADAM_BETAS": search.TupleValue(f(0.9), f(0.96))}, "ADAM_BETAS (0.8, 0.95) -> (0.9, 0.96)"},
		{map[string]search.Value{"TOTAL_BATCH_SIZE": n(1 << 18), "SEED": n(42)}, "TOTAL_BATCH_SIZE 2**19 -> 2**18"},
		{map[string]search.Value{"MATRIX_LR": f(0.41)}, "MATRIX_LR = 0.41 is outside 0.004 to 0.4"},
		{map[string]search.Value{"DEPTH": f(9.5)}, "DEPTH: 9.5 is not whole"},
		{map[string]search.Value{"DEPTH": search.StringValue("9")}, `DEPTH: "9" is a str`},
		{map[string]search.Value{"HEAD_DIM": n(96)}, "HEAD_DIM = 96 is not a choice: it has 64, 128"},
		{map[string]search.Value{"SEED": n(43)}, "SEED = 43: it is not searched and stays at 42"},
		{map[string]search.Value{"MATRX_LR": f(0.05)}, "MATRX_LR is no constant of train.py: the nearest is MATRIX_LR"},
		{map[string]search.Value{"X": f(0.05)}, "X is no constant of train.py: searched are ASPECT_RATIO, HEAD_DIM"},
		{map[string]search.Value{"ADAM_BETAS": search.TupleValue(f(0.9))}, "ADAM_BETAS: (0.9,) has 1 elements"},
	} {
		u, err := space.Point(test.values)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = space.Describe(u)
		}
		if !strings.HasPrefix(got, test.means) {
			t.Errorf("%v: %s, want %s", test.values, got, test.means)
		}
	}
	if _, err := space.Point(map[string]search.Value{"MATRIX_LR": f(7), "DEPTH": n(700), "NOBODY": n(1)}); strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three faults: %v", err)
	}
}
