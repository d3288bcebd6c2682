package simulate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"autoresearchd/search"
)

// Task is a simulated train.py: constants in, an outcome out.
type Task struct {
	Name      string
	Lines     []Line
	Overrides map[string]search.Override
	Noise     float64 // standard deviation of a value
	Floor     float64 // the lowest value without noise, about
	Middling  float64 // what half of all points that complete are below; 0: Scale measures it
	// True is the value without noise, or a status other than Completed; nil
	// where only Measure knows.
	True func(values map[string]search.Value) (float64, search.Status)
	// Measure replaces True and Noise: seed is another one for every trial. Its
	// error ends the study.
	Measure func(ctx context.Context, id int64, values map[string]search.Value, seed uint64) (Measured, error)
	// Foreign says that values are of any size and sign, and no bits per byte.
	Foreign bool
	// Edits is a stream of code edits beside the strategy's proposals; nil: none.
	Edits *Edits
}

// Measured is what a trial came to.
type Measured struct {
	Value  float64 // where Status is Completed
	Status search.Status
	Detail string // why it has none, if more is known than Status
}

// Built is a task that the program has of its own.
type Built struct {
	Name  string
	About string
	New   func(seed uint64) Task // seed places its optimum
}

// BuiltIn lists the tasks by name.
func BuiltIn() []Built {
	all := []Built{
		{"hopper", "upstream's constants on a modelled GPU: memory, noise, interactions", func(seed uint64) Task { return NewTask(seed, 5e-4) }},
		{"cpu", "the starter's cpu profile, modelled", func(seed uint64) Task { return Cpu(seed, 0.002) }},
		{"edits", "hopper, while a modelled stream of code edits changes constants and floor", func(seed uint64) Task { return Edited(NewTask(seed, 5e-4), seed) }},
		{"code", "hopper, whose code a model can edit: for --modelled-llm", func(seed uint64) Task {
			t := Edited(NewTask(seed, 5e-4), seed)
			t.Name, t.Edits.Share = "code", 0
			return t
		}},
		{"gains", "edits alone, many of which help: where judges differ", func(seed uint64) Task { return Steps("gains", seed, 0.2, 6e-4, 0.2) }},
		{"plateau", "edits alone, few of which help", func(seed uint64) Task { return Steps("plateau", seed, 0.03, 6e-4, 0.5) }},
		{"nothing", "edits alone, none of which does anything", func(seed uint64) Task { return Steps("nothing", seed, 0, 0, 1) }},
	}
	for _, f := range functions {
		all = append(all, Built{f.name, f.about, func(seed uint64) Task { return f.task(seed) }})
	}
	slices.SortFunc(all, func(a, b Built) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// LookupTask returns a built-in task, or an error that lists the known ones.
func LookupTask(name string) (Built, error) {
	var known []string
	for _, b := range BuiltIn() {
		if b.Name == name {
			return b, nil
		}
		known = append(known, b.Name)
	}
	return Built{}, fmt.Errorf("unknown task %q: known are %s", name, strings.Join(known, ", "))
}

// Space is what a study searches at its start.
func (t Task) Space() (search.Space, error) {
	_, consts := Source(t.Lines)
	return search.NewSpace(consts, t.Overrides)
}

// Scale returns what normalises regret: the best value, and what half of all
// points that complete are below.
func (t Task) Scale() (best, middling float64) {
	space, err := t.Space()
	if t.Middling != 0 || t.True == nil || err != nil {
		return t.Floor, t.Middling
	}
	const points = 2000
	r := rand.New(rand.NewPCG(1, 0x7363616c65))
	base := Values(space.Constants())
	var values []float64
	for range points {
		at := maps.Clone(base)
		maps.Copy(at, space.Decode(space.Sample(r)))
		if v, status := t.True(at); status == search.Completed {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return t.Floor, math.NaN()
	}
	return t.Floor, median(values)
}

// Noisy is one measurement of True, which seed decides alone.
func (t Task) Noisy(values map[string]search.Value, seed uint64) (float64, search.Status) {
	v, status := t.True(values)
	if status != search.Completed {
		return 0, status
	}
	return v + t.Noise*rand.New(rand.NewPCG(seed, 0x6e6f697379)).NormFloat64(), status
}

// Values are constants by name.
func Values(consts []search.Constant) map[string]search.Value {
	m := make(map[string]search.Value, len(consts))
	for _, c := range consts {
		m[c.Name] = c.Value
	}
	return m
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}
