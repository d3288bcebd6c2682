package search_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

func space(t *testing.T, lines []simulate.Line, overrides map[string]search.Override) search.Space {
	t.Helper()
	_, consts := simulate.Source(lines)
	s, err := search.NewSpace(consts, overrides)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func show(d search.Dimension) string {
	if d.Scale != search.Grid {
		out := fmt.Sprintf("%s %s %g..%g", d.Name, d.Scale, d.Low, d.High)
		if d.Step > 0 {
			out += fmt.Sprintf(" by %g", d.Step)
		}
		return out
	}
	var parts []string
	for _, c := range d.Choices {
		parts = append(parts, c.Literal())
	}
	return d.Name + " grid " + strings.Join(parts, " ")
}

func TestUpstreamSpace(t *testing.T) {
	want := []string{
		"ASPECT_RATIO grid 8 16 32 64 128 256 512",
		"HEAD_DIM grid 16 32 64 128 256 512 1024",
		`WINDOW_PATTERN grid "S" "LSSS" "SLSS" "SSLS" "SSSL" "LSS" "SLS" "SSL" "LS" "SL" "LLSS" "LSSL" "SLLS" "SSLL" "LLS" "LSL" "SLL" "LLLS" "LLSL" "LSLL" "SLLL" "L"`,
		"TOTAL_BATCH_SIZE grid 65536 131072 262144 524288 1048576 2097152 4194304",
		"EMBEDDING_LR log 0.06..6",
		"UNEMBEDDING_LR log 0.0004..0.04",
		"MATRIX_LR log 0.004..0.4",
		"SCALAR_LR log 0.05..5",
		"WEIGHT_DECAY log 0.02..2",
		"ADAM_BETAS[0] logit 0.286..0.9756",
		"ADAM_BETAS[1] logit 0.655..0.99476",
		"WARMUP_RATIO linear 0..0.3",
		"WARMDOWN_RATIO linear 0..1",
		"FINAL_LR_FRAC linear 0..0.3",
		"DEPTH log 3..24 by 1",
		"DEVICE_BATCH_SIZE grid 16 32 64 128 256 512 1024",
	}
	got := space(t, simulate.Upstream(), nil).Dimensions()
	if len(got) != len(want) {
		t.Errorf("%d dimensions, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if s := show(got[i]); s != want[i] {
			t.Errorf("got  %s\nwant %s", s, want[i])
		}
	}
}

func TestReadDimension(t *testing.T) {
	i, f, s := search.IntValue, search.FloatValue, search.StringValue
	tests := []struct {
		line simulate.Line
		want string // "": not searched
	}{
		{simulate.Line{Name: "SEED", Text: "42", Value: i(42)}, ""},
		{simulate.Line{Name: "VOCAB_SIZE", Text: "8192", Value: i(8192)}, ""},
		{simulate.Line{Name: "H100_PEAK_FLOPS", Text: "989e12", Value: f(989e12)}, ""},
		{simulate.Line{Name: "NAME", Text: `"run"`, Value: s("run")}, ""},
		{simulate.Line{Name: "DTYPE", Text: `"BF"`, Value: s("BF")}, ""},
		{simulate.Line{Name: "PATTERN", Text: `"L"`, Value: s("L")}, ""},
		{simulate.Line{Name: "PATTERN", Text: `"SL"`, Value: s("SL")}, `PATTERN grid "S" "LSSS" "SLSS" "SSLS" "SSSL" "LSS" "SLS" "SSL" "LS" "SL" "LLSS" "LSSL" "SLLS" "SSLL" "LLS" "LSL" "SLL" "LLLS" "LLSL" "LSLL" "SLLL" "L"`},
		{simulate.Line{Name: "NOTHING", Text: "None"}, ""},
		{simulate.Line{Name: "OFFSET", Text: "0", Value: i(0)}, ""},
		{simulate.Line{Name: "LEVEL", Text: "-3", Value: i(-3)}, ""},
		{simulate.Line{Name: "BIG", Text: "3_000_000_000", Value: i(3_000_000_000)}, ""},
		{simulate.Line{Name: "WARMUP_STEPS", Text: "0", Value: i(0)}, "WARMUP_STEPS linear 0..200 by 1"},
		{simulate.Line{Name: "MODEL_DIM", Text: "640", Value: i(640)}, "MODEL_DIM log 256..2560 by 128"},
		{simulate.Line{Name: "MOMENTUM_STEPS", Text: "200", Value: i(200)}, "MOMENTUM_STEPS log 56..800 by 8"},
		{simulate.Line{Name: "LAYERS", Text: "1", Value: i(1)}, "LAYERS log 1..3 by 1"},
		{simulate.Line{Name: "HEADS", Text: "2**2", Value: i(4)}, "HEADS grid 1 2 4 8 16 32"},
		{simulate.Line{Name: "USE_GATE", Text: "True", Value: search.BoolValue(true)}, "USE_GATE grid False True"},
		{simulate.Line{Name: "BETA2", Text: "0.999", Value: f(0.999)}, "BETA2 logit 0.99..0.9999"},
		{simulate.Line{Name: "DROPOUT", Text: "0.0", Value: f(0)}, "DROPOUT linear 0..0.3"},
		{simulate.Line{Name: "WEIGHT_DECAY", Text: "0.0", Value: f(0)}, "WEIGHT_DECAY linear 0..0.2"},
		{simulate.Line{Name: "BIAS", Text: "-0.5", Value: f(-0.5)}, "BIAS linear -1.5..0.5"},
		{simulate.Line{Name: "ROPE_BASE", Text: "200000.0", Value: f(200000)}, "ROPE_BASE log 20000..2e+06"},
	}
	for _, test := range tests {
		got := ""
		if dims := space(t, []simulate.Line{test.line}, nil).Dimensions(); len(dims) > 0 {
			got = show(dims[0])
		}
		if got != test.want {
			t.Errorf("%s = %s\ngot  %s\nwant %s", test.line.Name, test.line.Text, got, test.want)
		}
	}
}

func at(x float64) *float64 { return &x }

func TestOverrides(t *testing.T) {
	s := space(t, simulate.Upstream(), map[string]search.Override{
		"MATRIX_LR":         {Low: at(0.005), High: at(0.2), Log: true},
		"SCALAR_LR":         {High: at(0.7)},
		"DEPTH":             {Choices: []search.Value{search.IntValue(12), search.IntValue(4), search.FloatValue(8)}},
		"DEVICE_BATCH_SIZE": {Low: at(100), High: at(200), Integer: true},
		"TOTAL_BATCH_SIZE":  {Low: at(1 << 18), High: at(1 << 20)},
		"ADAM_BETAS":        {Low: at(0.5), High: at(0.99)},
		"ADAM_BETAS[1]":     {Fixed: true},
		"WINDOW_PATTERN":    {Choices: []search.Value{search.StringValue("SSSL"), search.StringValue("XXXL")}},
		"HEAD_DIM":          {Fixed: true},
	})
	got := map[string]string{}
	for _, d := range s.Dimensions() {
		got[d.Name] = show(d)
	}
	want := map[string]string{
		"MATRIX_LR": "MATRIX_LR log 0.005..0.2", "SCALAR_LR": "SCALAR_LR linear 0.05..0.7", "DEPTH": "DEPTH grid 4 8 12",
		"DEVICE_BATCH_SIZE": "DEVICE_BATCH_SIZE linear 100..200 by 1", "TOTAL_BATCH_SIZE": "TOTAL_BATCH_SIZE grid 262144 524288 1048576",
		"ADAM_BETAS[0]": "ADAM_BETAS[0] linear 0.5..0.99", "ADAM_BETAS[1]": "", "WINDOW_PATTERN": `WINDOW_PATTERN grid "SSSL" "XXXL"`, "HEAD_DIM": "",
	}
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s: got %q, want %q", name, got[name], w)
		}
	}
}

func TestOverridesThatContradict(t *testing.T) {
	_, consts := simulate.Source(simulate.Upstream())
	s, err := search.NewSpace(consts, map[string]search.Override{
		"MATRX_LR":          {Fixed: true},
		"XYZ":               {Fixed: true},
		"MATRIX_LR":         {Low: at(0.5), High: at(0.1)},
		"SCALAR_LR":         {Low: at(0), High: at(1), Log: true},
		"EMBEDDING_LR":      {Low: at(1), High: at(2)},
		"DEPTH":             {Low: at(4.5), High: at(9)},
		"HEAD_DIM":          {Choices: []search.Value{search.IntValue(64), search.StringValue("big")}},
		"DEVICE_BATCH_SIZE": {Choices: []search.Value{search.IntValue(32), search.IntValue(64)}},
		"WINDOW_PATTERN":    {Low: at(1), High: at(2)},
		"ADAM_BETAS[2]":     {Fixed: true},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"search.space.MATRX_LR: train.py has no constant MATRX_LR; the nearest is MATRIX_LR: correct the name or remove the line",
		"search.space.XYZ: train.py has no constant XYZ (it has ASPECT_RATIO, HEAD_DIM, ",
		"search.space.MATRIX_LR: low = 0.5 is above high = 0.1: swap them",
		"search.space.SCALAR_LR: low = 0 with log = true: a logarithmic range must be above 0; raise low, or leave log out",
		"search.space.EMBEDDING_LR: train.py starts at 0.6, outside low = 1 to high = 2: widen the range, or change train.py",
		"search.space.DEPTH: low = 4.5 and high = 9 must be whole, as train.py's 8 is searched in whole numbers",
		`search.space.HEAD_DIM: choice "big" is a str, but train.py has 128, an int: give choices of train.py's type`,
		"search.space.DEVICE_BATCH_SIZE: train.py starts at 128, which is not among the choices (32, 64): add it, or change train.py",
		`search.space.WINDOW_PATTERN: a range is for numbers, but train.py has "SSSL", a str: give choices, or "fixed"`,
		"search.space.ADAM_BETAS[2]: train.py has no constant ADAM_BETAS[2]",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if s.Len() != 16 {
		t.Errorf("the space without the faulty overrides has %d dimensions, want 16", s.Len())
	}
}

func TestPointsRoundTrip(t *testing.T) {
	for _, task := range []simulate.Task{simulate.NewTask(1, 0), simulate.Cpu(1, 0)} {
		source, consts := simulate.Source(task.Lines)
		s := space(t, task.Lines, nil)
		if changes := s.Changes(s.Start()); len(changes) != 0 {
			t.Errorf("the start changes %v", changes)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for n := range 2000 {
			u := s.Sample(r)
			if n%2 == 0 {
				u = s.Start()
				for i, d := range s.Dimensions() {
					u[i] = d.Mutate(r, u[i], 0.1)
					if u[i] < 0 || u[i] > 1 {
						t.Fatalf("%s: mutated to %g", d.Name, u[i])
					}
				}
				if got, want := len(s.Changes(u)), len(simulate.Values(consts)); got != want {
					t.Fatalf("every constant mutated, but %d of %d changed", got, want)
				}
			}
			_, read, err := simulate.Apply(source, consts, s.Decode(u))
			if err != nil {
				t.Fatal(err)
			}
			back := s.Encode(read)
			again := s.Decode(back)
			for name, v := range s.Decode(u) {
				if !again[name].Equal(v) {
					t.Fatalf("%s: %s came back as %s", name, v, again[name])
				}
			}
			if s.Fingerprint(u) != search.Fingerprint(read) {
				t.Fatal("fingerprints of a point and of its trial differ")
			}
			for i, x := range s.Snap(back) {
				if math.Abs(x-back[i]) > 1e-9 {
					t.Fatalf("%s: snapped %g to %g", s.Dimensions()[i].Name, back[i], x)
				}
			}
		}
	}
}

func TestEveryGridValueRoundTrips(t *testing.T) {
	lines := append(simulate.Upstream(), simulate.Line{Name: "MODEL_DIM", Text: "640", Value: search.IntValue(640)})
	s := space(t, lines, nil)
	for i, d := range s.Dimensions() {
		values := d.Choices
		for x := d.Low; d.Step > 0 && x <= d.High; x += d.Step {
			values = append(values, search.IntValue(int64(x)))
		}
		for _, v := range values {
			_, consts := simulate.Source([]simulate.Line{{Name: d.Constant, Text: v.Literal(), Value: v}})
			if got := s.Decode(s.Encode(consts))[d.Constant]; !got.Equal(v) {
				t.Errorf("%s: %s at %g came back as %s", d.Name, v, s.Encode(consts)[i], got)
			}
		}
	}
}

func TestEncodeAForeignTrial(t *testing.T) {
	s := space(t, simulate.Upstream(), nil)
	_, consts := simulate.Source([]simulate.Line{
		{Name: "MATRIX_LR", Text: "9.0", Value: search.FloatValue(9)},
		{Name: "DEPTH", Text: `"x"`, Value: search.StringValue("x")},
		{Name: "HEAD_DIM", Text: "100", Value: search.IntValue(100)},
		{Name: "ADAM_BETAS", Text: "(0.9,)", Value: search.TupleValue(search.FloatValue(0.9))},
	})
	values := s.Decode(s.Encode(consts))
	for name, want := range map[string]string{"MATRIX_LR": "0.4", "DEPTH": "8", "HEAD_DIM": "128", "ADAM_BETAS": "(0.9, 0.95)", "SCALAR_LR": "0.5"} {
		if got := values[name].Literal(); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
}

// TestUnsearched holds that what is no hyperparameter is searched only where an
// override names it, and that the override that is offered does it.
func TestUnsearched(t *testing.T) {
	consts := []search.Constant{
		{Name: "LR", Value: search.FloatValue(0.04), Line: 1},
		{Name: "SKIPPED", Value: search.IntValue(10), Line: 2, Why: "the clock"},
		{Name: "BATCH", Value: search.IntValue(64), Line: 3, Why: "scored"},
		{Name: "PAIR", Value: search.TupleValue(search.FloatValue(0.8), search.FloatValue(0)), Line: 4, Why: "printed"},
		{Name: "FLAG", Value: search.BoolValue(true), Line: 5, Why: "only checked"},
		{Name: "NONE", Value: search.IntValue(-1), Line: 6},
		{Name: "--vocab-size", Value: search.IntValue(8192), Line: 7},
		{Name: "Settings.weight_decay", Value: search.FloatValue(0), Line: 8},
		{Name: "SEED", Value: search.IntValue(1), Line: 9},
	}
	space, err := search.NewSpace(consts, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(space); got != "LR Settings.weight_decay" {
		t.Errorf("searched are %s", got)
	}
	if d := space.Dimensions()[1]; d.High != 0.2 {
		t.Errorf("a field's decay ends at %g", d.High)
	}
	left := space.Unsearched()
	if len(left) != 8 {
		t.Fatalf("%d are not searched: %v", len(left), left)
	}
	for _, u := range left {
		if u.Why == "" || u.Line == 0 {
			t.Errorf("%+v says too little", u)
		}
		space, err := search.NewSpace(consts, map[string]search.Override{u.Name: u.TakeIn})
		if err != nil || !strings.Contains(" "+names(space)+" ", " "+u.Name+" ") {
			t.Errorf("%s with %+v: searched are %s, %v", u.Name, u.TakeIn, names(space), err)
		}
	}
}

func names(s search.Space) string {
	var all []string
	for _, d := range s.Dimensions() {
		all = append(all, d.Name)
	}
	return strings.Join(all, " ")
}

// TestOutside names what lies beyond the space, and where that ends.
func TestOutside(t *testing.T) {
	s := space(t, simulate.Upstream(), nil)
	for _, c := range []struct {
		values map[string]search.Value
		want   string
	}{
		{map[string]search.Value{"MATRIX_LR": search.FloatValue(0.05), "DEPTH": search.IntValue(9)}, ""},
		{map[string]search.Value{"MATRIX_LR": search.FloatValue(5)}, "MATRIX_LR = 5.0 is outside 0.004 to 0.4"},
		{map[string]search.Value{"ADAM_BETAS": search.TupleValue(search.FloatValue(0.8), search.FloatValue(0.5))}, "ADAM_BETAS[1] = 0.5 is outside 0.655 to 0.99476"},
		{map[string]search.Value{"HEAD_DIM": search.IntValue(100)}, "HEAD_DIM = 100 is not a choice: it has 16, 32, 64, 128, 256, 512, 1024"},
		{map[string]search.Value{"NOT_SEARCHED": search.IntValue(1)}, ""},
	} {
		if got := strings.Join(s.Outside(c.values), "; "); got != c.want {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
	}
}

// FuzzSpace: whatever constants and overrides there are, the space that comes of
// them holds its own start and each point that it decodes.
func FuzzSpace(f *testing.F) {
	for _, seed := range [][2]string{
		{`[{"name": "DEPTH", "value": 8, "text": "8"}, {"name": "ADAM_BETAS", "value": [0.8, 0.95]}, {"name": "SEED", "value": 7}, {"name": "P", "value": "SSSL"}]`, `{"DEPTH": {"Choices": [4, 8]}, "ADAM_BETAS[0]": {"Low": 0.5, "High": 0.9}}`},
		{`[{"name": "A", "value": 1e308}, {"name": "A", "value": 0}, {"name": "", "value": null}, {"name": "B", "value": [[1], true]}]`, `{"A": {"Low": -1e308, "High": 1e308, "Log": true}, "C": {"Fixed": true}}`},
		{`[{"name": "N", "value": 9223372036854775807}]`, `{"N": {"Low": 1, "High": 2, "Integer": true}}`},
	} {
		f.Add(seed[0], seed[1], 0.25)
	}
	f.Fuzz(func(t *testing.T, constants, overrides string, x float64) {
		var consts []search.Constant
		var given map[string]search.Override
		if json.Unmarshal([]byte(constants), &consts) != nil || json.Unmarshal([]byte(overrides), &given) != nil || math.IsNaN(x) || x < 0 || x > 1 {
			return
		}
		names := map[string]bool{}
		for _, c := range consts {
			if names[c.Name] || strings.ContainsAny(c.Name, "[]") { // Python has neither
				return
			}
			names[c.Name] = true
		}
		space, _ := search.NewSpace(consts, given)
		u := space.Start()
		for range 2 {
			values := space.Decode(space.Snap(u))
			again, err := space.Point(values)
			if err != nil {
				t.Fatalf("%s with %s: it decodes %v, and does not hold it: %v", constants, overrides, values, err)
			}
			if a, b := space.Fingerprint(space.Snap(u)), space.Fingerprint(again); a != b {
				t.Fatalf("%s with %s: %v reads back as %v", constants, overrides, values, space.Decode(again))
			}
			for i := range u {
				u[i] = x
			}
		}
	})
}
