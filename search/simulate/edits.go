package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"autoresearchd/search"
)

// Edits models the code edits that language models make beside an optimiser.
// Each is a line of the simulated train.py. Most do harm, a few lower the floor
// for good; some move a constant's optimum, add a constant with an optimum of
// its own, or write one into the code, so that it is searched no more.
type Edits struct {
	Share float64 // of trials that are edits
	list  []edit
	floor float64 // what all that help take off together
}

type edit struct {
	gain  float64 // what it takes off val_bpb; below 0: adds
	moves string  // the constant whose optimum it moves, by a factor
	by    float64
	adds  float64 // log2 of the optimum of the constant that it adds; NaN: none
	fixes string  // the constant that it writes into the code
	crash bool
}

// editCount is how many edits there are to be thought of.
const editCount = 60

// Edited is a task with a stream of edits, which seed decides.
func Edited(t Task, seed uint64) Task {
	r := rand.New(rand.NewPCG(seed, 0x6564697473))
	e := &Edits{Share: 0.2}
	rates := []string{"EMBEDDING_LR", "UNEMBEDDING_LR", "MATRIX_LR", "SCALAR_LR"}
	fixable := []string{"WARMUP_RATIO", "FINAL_LR_FRAC", "WEIGHT_DECAY"}
	for range editCount {
		d := edit{gain: -0.003 * r.ExpFloat64(), by: 1, adds: math.NaN(), crash: r.Float64() < 0.15}
		if r.Float64() < 0.2 {
			d.gain = 0.002 * r.ExpFloat64()
		}
		switch x := r.Float64(); {
		case x < 0.15:
			d.moves, d.by = rates[r.IntN(len(rates))], math.Exp2(2*r.Float64()-1)
		case x < 0.3:
			d.adds = 3*r.Float64() - 1.5
		case x < 0.4:
			d.fixes = fixable[r.IntN(len(fixable))]
		}
		if !d.crash && d.gain > 0 {
			e.floor += d.gain
		}
		e.list = append(e.list, d)
	}
	t.Name, t.Edits, t.Floor = "edits", e, t.Floor-e.floor
	return t
}

// Steps is a task of edits alone, on which only judges differ: each trial is the
// champion with one of them. gains is the share that help, gain the mean of
// what these take off val_bpb, neutral the share that do next to nothing; the
// rest do harm.
func Steps(name string, seed uint64, gains, gain, neutral float64) Task {
	r := rand.New(rand.NewPCG(seed, 0x7374657073))
	e := &Edits{Share: 1}
	for range 400 {
		d := edit{by: 1, adds: math.NaN()}
		switch x := r.Float64(); {
		case x < gains:
			d.gain = gain * r.ExpFloat64()
		case x < gains+neutral:
			d.gain = -5e-5 * r.ExpFloat64()
		default:
			d.gain = -0.002 * r.ExpFloat64()
		}
		e.list = append(e.list, d)
	}
	v := search.FloatValue(0.04)
	return Task{Name: name, Lines: []Line{{Name: "MATRIX_LR", Text: "0.04", Value: v}}, Noise: 5e-4, Floor: 0.98, Middling: 1, Edits: e,
		True: func(map[string]search.Value) (float64, search.Status) { return 1, search.Completed }}
}

func addition(n int) string { return fmt.Sprintf("EDIT_%d_GAIN", n) }

// Propose draws an edit of the champion that it has not had yet.
func (e *Edits) Propose(r *rand.Rand, champion search.Trial) (search.Proposal, bool) {
	fresh := e.fresh(champion.Source)
	if len(fresh) == 0 {
		return search.Proposal{}, false
	}
	n := fresh[r.IntN(len(fresh))]
	return search.Proposal{Strategy: "edit", Description: fmt.Sprintf("edit %d of the code", n), Parent: champion.ID, Source: e.apply(n, champion.Source, champion.Constants)}, true
}

// fresh are the edits that a train.py has not had yet.
func (e *Edits) fresh(source []byte) []int {
	had := map[string]bool{}
	for _, line := range Code(source) {
		call, _, _ := strings.Cut(line, "(")
		had[call] = true
	}
	var fresh []int
	for n := range e.list {
		if !had["prepare.edit_"+strconv.Itoa(n)] {
			fresh = append(fresh, n)
		}
	}
	return fresh
}

// apply makes an edit in a train.py that has these constants.
func (e *Edits) apply(n int, source []byte, consts []search.Constant) []byte {
	d := e.list[n]
	lines := Lines(consts)
	line := fmt.Sprintf("prepare.edit_%d()", n)
	if at := slices.IndexFunc(lines, func(l Line) bool { return d.fixes != "" && l.Name == d.fixes }); at >= 0 {
		line = fmt.Sprintf("prepare.edit_%d(%s=%s)", n, d.fixes, lines[at].Text)
		lines = slices.Delete(lines, at, at+1)
	}
	if !math.IsNaN(d.adds) {
		lines = append(lines, Line{Name: addition(n), Text: "1.0", Value: search.FloatValue(1)})
	}
	edited, _ := Source(lines, append(slices.Clone(Code(source)), line)...)
	return edited
}

// value is a task's value with what the code's edits do to it.
func (e *Edits) value(source []byte, values map[string]search.Value, plain func(map[string]search.Value) (float64, search.Status)) (float64, search.Status) {
	sum := 0.0
	for _, line := range Code(source) {
		call, given, ok := strings.Cut(strings.TrimSuffix(line, ")"), "(")
		number, edited := strings.CutPrefix(call, "prepare.edit_")
		if !ok || !edited {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil || n >= len(e.list) || e.list[n].crash {
			return 0, search.Crashed
		}
		d := e.list[n]
		sum -= d.gain
		if name, text, ok := strings.Cut(given, "="); ok {
			if values[name], err = literal(text); err != nil {
				return 0, search.Crashed
			}
		}
		if v, ok := values[d.moves]; ok {
			values[d.moves] = search.FloatValue(v.Number() * d.by)
		}
		if math.IsNaN(d.adds) {
			continue
		}
		if v, ok := values[addition(n)]; ok {
			off := math.Log2(v.Number()) - d.adds
			sum += 0.001 * math.Min(off*off, 2+2*math.Abs(off))
		}
	}
	v, status := plain(values)
	return v + sum, status
}
