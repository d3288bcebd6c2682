package search_test

import (
	"math"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

func TestPatchWritesInTheFilesStyle(t *testing.T) {
	i, f, s, tuple := search.IntValue, search.FloatValue, search.StringValue, search.TupleValue
	tests := []struct {
		text     string
		old, new search.Value
		want     string
	}{
		{"2**19", i(1 << 19), i(1 << 18), "2**18"},
		{"2 ** 19", i(1 << 19), i(1 << 20), "2 ** 20"},
		{"2**19", i(1 << 19), i(500000), "500000"},
		{"1 << 17", i(1 << 17), i(1 << 16), "1 << 16"},
		{"128 << 20", i(128 << 20), i(192 << 20), "192 << 20"},
		{"40 * 524288", i(40 * 524288), i(20 * 524288), "20 * 524288"},
		{"1_000", i(1000), i(2500000), "2_500_000"},
		{"0x10", i(16), i(32), "0x20"},
		{"8", i(8), i(9), "9"},
		{"8", i(8), f(9), "9"},
		{"0.04", f(0.04), f(0.052), "0.052"},
		{"0.04", f(0.04), i(1), "1.0"},
		{"0.04", f(0.04), f(0.00004), "0.00004"},
		{"0.0", f(0), f(0.1), "0.1"},
		{"-0.5", f(-0.5), f(0.25), "0.25"},
		{"1e-10", f(1e-10), f(2.5e-9), "2.5e-9"},
		{"1e-08", f(1e-8), f(2.5e-9), "2.5e-09"},
		{"3E4", f(3e4), f(5e5), "5E5"},
		{"200_000.0", f(2e5), f(150000), "150_000.0"},
		{"0.68 * 1.5", f(1.02), f(1.1), "1.1"},
		{"'SSSL'", s("SSSL"), s("SL"), "'SL'"},
		{`"SSSL"`, s("SSSL"), s(`a"b`), `"a\"b"`},
		{"True", search.BoolValue(true), search.BoolValue(false), "False"},
		{"(0.8, 0.95)", tuple(f(0.8), f(0.95)), tuple(f(0.8), f(0.98)), "(0.8, 0.98)"},
		{"( 0.8 ,0.95 )", tuple(f(0.8), f(0.95)), tuple(f(0.9), f(0.98)), "( 0.9 ,0.98 )"},
		{"(2**3, 1_000,)", tuple(i(8), i(1000)), tuple(i(16), i(2000)), "(2**4, 2_000,)"},
		{"(\n    0.8,  # first, of two\n    0.95,\n)", tuple(f(0.8), f(0.95)), tuple(f(0.9), f(0.95)), "(\n    0.9,  # first, of two\n    0.95,\n)"},
		{`("a,b", (1, 2))`, tuple(s("a,b"), tuple(i(1), i(2))), tuple(s("a,b"), tuple(i(1), i(3))), `("a,b", (1, 3))`},
		{"0.8, 0.95", tuple(f(0.8), f(0.95)), tuple(f(0.9), f(0.95)), "(0.9, 0.95)"},
	}
	for _, test := range tests {
		source, consts := simulate.Source([]simulate.Line{
			{Name: "A", Text: "1", Value: i(1)}, {Name: "X", Text: test.text, Value: test.old, Comment: "X = 0.1"}, {Name: "Z", Text: "'z'", Value: s("z")},
		})
		same, err := search.Patch(source, consts, map[string]search.Value{"X": test.old, "A": i(1)})
		if err != nil || string(same) != string(source) {
			t.Errorf("%s: an equal value changed the file: %v\n%s", test.text, err, same)
		}
		got, err := search.Patch(source, consts, map[string]search.Value{"X": test.new})
		want := strings.Replace(string(source), "X = "+test.text, "X = "+test.want, 1)
		if err != nil || string(got) != want {
			t.Errorf("%s to %s: %v\ngot  %s\nwant %s", test.text, test.new, err, got, want)
		}
	}
}

func TestPatchRefuses(t *testing.T) {
	source, consts := simulate.Source(simulate.Upstream())
	_, err := search.Patch(source, consts, map[string]search.Value{
		"NO_SUCH":        search.IntValue(1),
		"DEPTH":          search.FloatValue(8.5),
		"MATRIX_LR":      search.StringValue("fast"),
		"SCALAR_LR":      search.FloatValue(math.NaN()),
		"ADAM_BETAS":     search.TupleValue(search.FloatValue(0.9)),
		"WINDOW_PATTERN": search.BoolValue(true),
	})
	want := `set ADAM_BETAS: (0.9,) has 1 elements, but train.py has (0.8, 0.95) with 2
set DEPTH: 8.5 is not whole, but train.py has 8, an int: give a whole number
set MATRIX_LR: "fast" is a str, but train.py has 0.04, a float: give a value of that type
set NO_SUCH: train.py has no such constant
set SCALAR_LR: NaN is not a finite number
set WINDOW_PATTERN: True is a bool, but train.py has "SSSL", a str: give a value of that type`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	moved := append([]byte("\n"), source...)
	_, err = search.Patch(moved, consts, map[string]search.Value{"DEPTH": search.IntValue(9)})
	if err == nil || !strings.Contains(err.Error(), "the constants are not this source's") {
		t.Errorf("a source that moved: %v", err)
	}
	if _, err = search.Patch(source[:20], consts, map[string]search.Value{"DEPTH": search.IntValue(9)}); err == nil {
		t.Error("a source that was cut off: no error")
	}
}

func TestChangedAndDescribe(t *testing.T) {
	source, from := simulate.Source(simulate.Upstream())
	_, to, err := simulate.Apply(source, from, map[string]search.Value{
		"MATRIX_LR": search.FloatValue(0.052), "DEPTH": search.IntValue(9), "TOTAL_BATCH_SIZE": search.IntValue(1 << 18)})
	if err != nil {
		t.Fatal(err)
	}
	to = append(to[1:], search.Constant{Name: "NEW", Value: search.FloatValue(1)})
	if got := strings.Join(search.Changed(from, to), " "); got != "TOTAL_BATCH_SIZE MATRIX_LR DEPTH NEW" {
		t.Errorf("changed: %s", got)
	}
	want := "TOTAL_BATCH_SIZE 2**19 -> 2**18, MATRIX_LR 0.04 -> 0.052, DEPTH 8 -> 9, NEW = 1.0 (new), ASPECT_RATIO removed"
	if got := search.Describe(from, to); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := search.Describe(from, from); got != "nothing changed" {
		t.Errorf("no change: %s", got)
	}
}

// FuzzPatch replaces a literal of any text: all around it must stay.
func FuzzPatch(f *testing.F) {
	for _, text := range []string{"2**19", "1e-10", "(0.8, 0.95)", "( 1 , # x\n 2)", "'SL'", "1_000", "40 * 524288", "9 << 3", "(((", `("a", 'b')`, ""} {
		f.Add("A = 1\nX = ", text, "  # X\n", int64(7), 0.25)
	}
	f.Fuzz(func(t *testing.T, before, text, after string, n int64, x float64) {
		source := []byte(before + text + after)
		for _, pair := range [][2]search.Value{
			{search.IntValue(0), search.IntValue(n)},
			{search.FloatValue(-1), search.FloatValue(x)},
			{search.StringValue(""), search.StringValue(after)},
			{search.TupleValue(search.IntValue(1), search.FloatValue(2)), search.TupleValue(search.IntValue(n), search.FloatValue(x))},
		} {
			c := search.Constant{Name: "X", Value: pair[0], Text: text, Start: len(before), End: len(before) + len(text)}
			got, err := search.Patch(source, []search.Constant{c}, map[string]search.Value{"X": pair[1]})
			if err != nil {
				if !math.IsNaN(x) && !math.IsInf(x, 0) {
					t.Fatal(err)
				}
				continue
			}
			if !strings.HasPrefix(string(got), before) || !strings.HasSuffix(string(got), after) || len(got) < len(before)+len(after) {
				t.Fatalf("%q became %q", source, got)
			}
		}
	})
}
