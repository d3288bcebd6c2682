package change

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
	"autoresearchd/search/constraint"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var assignment = regexp.MustCompile(`(?m)^([A-Z_]+) = (\d+(?:\.\d+)?|\(\d+, \d+\))`)

// inspect reads whole numbers, floats and pairs; "broken" breaks a train.py.
func inspect(_ context.Context, source []byte) ([]search.Constant, string, error) {
	if strings.Contains(string(source), "broken") {
		return nil, "line 1: no Python", nil
	}
	var out []search.Constant
	for _, m := range assignment.FindAllStringSubmatchIndex(string(source), -1) {
		c := search.Constant{Name: string(source[m[2]:m[3]]), Text: string(source[m[4]:m[5]]), Start: m[4], End: m[5]}
		var a, b int64
		if n, _ := fmt.Sscanf(c.Text, "(%d, %d)", &a, &b); n == 2 {
			c.Value = search.TupleValue(search.IntValue(a), search.IntValue(b))
		} else if n, err := strconv.ParseInt(c.Text, 10, 64); err == nil {
			c.Value = search.IntValue(n)
		} else {
			f, _ := strconv.ParseFloat(c.Text, 64)
			c.Value = search.FloatValue(f)
		}
		out = append(out, c)
	}
	return out, "", nil
}

func program(source string) Program {
	constants, _, _ := inspect(context.Background(), []byte(source))
	return Program{[]byte(source), constants}
}

const start = `import torch
LR = 0.04
DEPTH = 4
BETAS = (8, 9)

def model():
    return 1

def warmdown(x):
    return x

print(model())
`

// swap replaces texts in start, pair by pair.
func swap(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(start) }

func TestMerge(t *testing.T) {
	for name, c := range map[string]struct{ ours, theirs, want string }{
		"constants on lines that touch": {swap("LR = 0.04", "LR = 0.05"), swap("DEPTH = 4", "DEPTH = 6"), swap("LR = 0.04", "LR = 0.05", "DEPTH = 4", "DEPTH = 6")},
		"elements of one tuple":         {swap("(8, 9)", "(7, 9)"), swap("(8, 9)", "(8, 5)"), swap("(8, 9)", "(7, 5)")},
		"the same value":                {swap("DEPTH = 4", "DEPTH = 6"), swap("DEPTH = 4", "DEPTH = 6"), swap("DEPTH = 4", "DEPTH = 6")},
		"one constant twice":            {swap("DEPTH = 4", "DEPTH = 5"), swap("DEPTH = 4", "DEPTH = 6"), "both change DEPTH"},
		"one element twice":             {swap("(8, 9)", "(7, 9)"), swap("(8, 9)", "(6, 9)"), "both change BETAS"},
		"a constant and an edit":        {swap("DEPTH = 4", "DEPTH = 5"), swap("return 1", "return 2"), swap("DEPTH = 4", "DEPTH = 5", "return 1", "return 2")},
		"an edit beside a constant":     {swap("LR = 0.04", "LR = 0.05"), swap("import torch", "import torch, math"), swap("import torch", "import torch, math", "LR = 0.04", "LR = 0.05")},
		"two edits":                     {swap("return 1", "return 2"), swap("return x", "return 2 * x"), swap("return 1", "return 2", "return x", "return 2 * x")},
		"the same edit":                 {swap("return 1", "return 2"), swap("return 1", "return 2"), swap("return 1", "return 2")},
		"the same line":                 {swap("return 1", "return 2"), swap("return 1", "return 3"), "both change the same lines"},
		"lines that touch":              {swap("return 1", "return 2"), swap("def model():", "def model(a=0):"), "both change the same lines"},
		"an insertion into what went":   {swap("def warmdown(x):\n    return x\n", ""), swap("    return x", "    x += 1\n    return x"), "both change the same lines"},
		"a new constant":                {swap("DEPTH = 4", "DEPTH = 5"), swap("def model", "WIDTH = 3\ndef model"), swap("DEPTH = 4", "DEPTH = 5", "def model", "WIDTH = 3\ndef model")},
		"another kind of value":         {swap("return 1", "return 2"), swap("DEPTH = 4", "DEPTH = 4.5"), swap("DEPTH = 4", "DEPTH = 4.5", "return 1", "return 2")},
		"what makes no program":         {swap("return 1", "return 2"), swap("return x", "broken"), "together make no train.py: line 1: no Python"},
	} {
		got, err := Merge(context.Background(), inspect, program(start), program(c.ours), program(c.theirs))
		why, err := conflict(err)
		must(t, err)
		if why == "" {
			why = string(got.Source)
		}
		if why != c.want {
			t.Errorf("%s gives\n%s\nwant\n%s", name, why, c.want)
		}
		if again := program(string(got.Source)); len(again.Constants) != len(got.Constants) {
			t.Errorf("%s: its constants are %v", name, got.Constants)
		}
	}
}

// record is a study in memory.
type record struct {
	records []journal.Record
	sources map[int64][]byte
	waiting []journal.Suggestion
}

func (r *record) Study() (journal.Study, bool, error)        { return journal.Study{}, true, nil }
func (r *record) Trials() ([]journal.Record, error)          { return r.records, nil }
func (r *record) Source(id int64) ([]byte, error)            { return r.sources[id], nil }
func (r *record) Suggestions() ([]journal.Suggestion, error) { return r.waiting, nil }

// add appends a decided candidate.
func (r *record) add(parent int64, verdict search.Verdict, words, source string) {
	id := int64(len(r.records) + 1)
	p := program(source)
	if r.sources == nil {
		r.sources = map[int64][]byte{}
	}
	r.sources[id] = p.Source
	t := search.Trial{
		ID: id, Candidate: id, Proposal: search.Proposal{Strategy: "s", Description: words, Parent: parent},
		Constants: p.Constants, Code: constraint.Skeleton(p.Source, p.Constants),
	}
	o := search.Outcome{Status: search.Completed, ValBPB: 2 - 0.01*float64(id)}
	r.records = append(r.records, journal.Record{Result: search.Result{Trial: t, Outcome: o, Decision: search.Decision{Verdict: verdict}}, Decided: id})
}

// grown is a study of constants and edits: #3 was discarded and #4 derived from
// it, #5 builds on #2, #6 on #4, and #7 on both of these.
func grown() *record {
	r := &record{}
	depth := []string{"DEPTH = 4", "DEPTH = 6"}
	edit := append(depth, "return x", "return 2 * x")
	deeper := append(edit[2:], "DEPTH = 4", "DEPTH = 7")
	longer := []string{"DEPTH = 4", "DEPTH = 7", "return x", "return 2 * x + 1"}
	r.add(0, search.Keep, "baseline", start)
	r.add(1, search.Keep, "suggested: deeper", swap(depth...))
	r.add(2, search.Discard, "nothing much", swap(append(depth, "return 1", "return 3")...))
	r.add(3, search.Keep, "a longer warmdown", swap(edit...))
	r.add(4, search.Keep, "deeper still", swap(deeper...))
	r.add(5, search.Keep, "longer still", swap(longer...))
	r.add(6, search.Keep, "both", swap("DEPTH = 4", "DEPTH = 9", "return x", "return 5 * x + 1"))
	return r
}

func TestChain(t *testing.T) {
	s, err := Read(grown())
	must(t, err)
	chain, err := s.Chain(s.Champion.ID)
	must(t, err)
	got := ""
	for _, step := range chain {
		got += fmt.Sprintf("%d<%d %s; ", step.ID, step.From, step.Change)
	}
	if want := "2<1 DEPTH 4 -> 6; 4<2 a longer warmdown; 5<4 DEPTH 6 -> 7; 6<5 longer still; 7<6 both; "; got != want {
		t.Errorf("the chain is %s\nwant %s", got, want)
	}
	if got := fmt.Sprint(s.Ancestors(7)); got != "[6 5 4 3 2]" {
		t.Errorf("ancestors %s", got)
	}
	if got := s.Constants(1, 7); len(got) != 1 || got[0].Change != "DEPTH 4 -> 9" || got[0].From.Whole() != 4 || got[0].To.Whole() != 9 {
		t.Errorf("constants %+v", got)
	}
}

// TestBranches stacks what does not apply by itself.
func TestBranches(t *testing.T) {
	s, err := Read(grown())
	must(t, err)
	branches, err := s.Branches(context.Background(), inspect, "nov23")
	must(t, err)
	got := ""
	for _, b := range branches {
		got += fmt.Sprintf("%s on %d %v %q\n", b.Name, b.On, b.Whole, b.Why)
	}
	want := `final/nov23/2-depth-4-to-6 on 0 false ""
final/nov23/4-a-longer-warmdown on 0 false ""
final/nov23/5-depth-6-to-7 on 2 false "both change DEPTH"
final/nov23/6-longer-still on 4 false "both change the same lines"
final/nov23/7-both on 6 true "both change DEPTH"
`
	if got != want {
		t.Errorf("branches\n%swant\n%s", got, want)
	}
	for i, want := range []string{
		swap("DEPTH = 4", "DEPTH = 6"), swap("return x", "return 2 * x"), swap("DEPTH = 4", "DEPTH = 7"), swap("return x", "return 2 * x + 1"), string(s.j.(*record).sources[7]),
	} {
		if string(branches[i].Program.Source) != want {
			t.Errorf("%s holds\n%s\nwant\n%s", branches[i].Name, branches[i].Program.Source, want)
		}
	}
	for words, want := range map[string]string{
		"DEPTH 4 -> 6": "depth-4-to-6", "LR 0.04 -> 5e-05.": "lr-0.04-to-5e-05", "..": "change", "学习率": "change", "a.lock": "a-lock",
		"MATRIX_LR 0.04 -> 0.05, TOTAL_BATCH_SIZE 2**19 -> 2**18": "matrix-lr-0.04-to-0.05-total-batch-size",
	} {
		if got := slug(words); got != want {
			t.Errorf("%q becomes %q, want %q", words, got, want)
		}
	}
}

// TestAblations takes back what can be, once.
func TestAblations(t *testing.T) {
	r := grown()
	r.records = r.records[:6] // #6 is the champion
	look := func() string {
		s, err := Read(r)
		must(t, err)
		all, err := s.Ablations(context.Background(), inspect, 6)
		must(t, err)
		got := ""
		for _, a := range all {
			candidate := int64(0)
			if a.Candidate != nil {
				candidate = a.Candidate.ID
			}
			got += fmt.Sprintf("%s; %d %d %v %s\n", a.Words(), candidate, a.Suggestion, a.Source != nil, a.Conflict)
		}
		return got
	}
	want := `without #2: DEPTH 4 -> 6; 0 0 false cannot be taken back alone: it and #5 both change DEPTH
without #4: a longer warmdown; 0 0 false cannot be taken back alone: it and #6 both change the same lines
without #5: DEPTH 6 -> 7; 0 %d true 
without #6: longer still; 5 0 true 
`
	if got := look(); got != fmt.Sprintf(want, 0) {
		t.Errorf("ablations\n%swant\n%s", got, want)
	}
	s, err := Read(r)
	must(t, err)
	queue := func() []string {
		queued, err := s.Queue(context.Background(), inspect, 6, func(g journal.Suggestion) error {
			g.ID = 3
			r.waiting = append(r.waiting, g)
			return nil
		})
		must(t, err)
		return queued
	}
	if got := queue(); len(got) != 1 || got[0] != "without #5: DEPTH 6 -> 7" {
		t.Errorf("queued %q", got)
	}
	if g := r.waiting[0]; g.Kind != Kind || g.Parent != 6 || string(g.Source) != swap("DEPTH = 4", "DEPTH = 6", "return x", "return 2 * x + 1") {
		t.Errorf("suggested %+v", g)
	}
	if got := look(); got != fmt.Sprintf(want, 3) {
		t.Errorf("once it waits:\n%swant\n%s", got, want)
	}
	if got := queue(); len(got) != 0 {
		t.Errorf("asked again: %q", got)
	}

	// What was only interrupted can be asked for again.
	r.waiting = nil
	r.add(6, search.Discard, "without #5: DEPTH 6 -> 7", swap("DEPTH = 4", "DEPTH = 6", "return x", "return 2 * x + 1"))
	r.records[6].Outcome = search.Outcome{Status: search.Interrupted}
	if got := look(); got != fmt.Sprintf(want, 0) {
		t.Errorf("once it was interrupted:\n%s", got)
	}
	r.records = r.records[:6]

	// One that is better than the champion takes its place, and has taken #5 back.
	r.add(6, search.Keep, "without #5: DEPTH 6 -> 7", swap("DEPTH = 4", "DEPTH = 6", "return x", "return 2 * x + 1"))
	if got := look(); !strings.Contains(got, "without #5: DEPTH 6 -> 7; 7 0 true") {
		t.Errorf("once it has run:\n%s", got)
	}
	s, err = Read(r)
	must(t, err)
	all, err := s.Ablations(context.Background(), inspect, 7)
	must(t, err)
	if got := all[2]; got.Without.ID != 5 || got.Conflict != "nothing of it is left in #7" {
		t.Errorf("of the ablation: %+v", got)
	}
}

// TestInto puts the champion's change into other files.
func TestInto(t *testing.T) {
	r := grown()
	r.records = r.records[:5]
	s, err := Read(r)
	must(t, err)
	best := string(r.sources[5])
	mine := swap("import torch", "import torch, math")
	dos := func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
	for name, c := range map[string]struct {
		have, want string
		known      int64
	}{
		"the baseline":          {start, best, 1},
		"an ancestor":           {string(r.sources[3]), best, 3},
		"itself":                {best, best, 5},
		"the baseline, by DOS":  {dos(start), dos(best), 1},
		"another":               {mine, strings.Replace(best, "import torch", "import torch, math", 1), 0},
		"another, by DOS":       {dos(mine), dos(strings.Replace(best, "import torch", "import torch, math", 1)), 0},
		"one that goes apart":   {swap("DEPTH = 4", "DEPTH = 5"), "both change DEPTH", 0},
		"no program":            {"broken", "line 1: no Python", 0},
		"the warmdown is there": {string(swap("return x", "return 2 * x", "LR = 0.04", "LR = 0.01")), strings.Replace(best, "LR = 0.04", "LR = 0.01", 1), 0},
	} {
		got, known, err := s.Into(context.Background(), inspect, []byte(c.have), 5)
		why, err := conflict(err)
		must(t, err)
		if why == "" {
			why = string(got)
		}
		if why != c.want || known != c.known {
			t.Errorf("%s: known %d,\n%q\nwant %d\n%q", name, known, why, c.known, c.want)
		}
	}
}
