package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
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

var editLine = regexp.MustCompile(`^prepare\.edit_(\d+)\((?:(\w+)=(.*))?\)$`)

func addition(n int) string { return fmt.Sprintf("EDIT_%d_GAIN", n) }

// Propose draws an edit of the champion that it has not had yet.
func (e *Edits) Propose(r *rand.Rand, champion search.Trial) (search.Proposal, bool) {
	code := Code(champion.Source)
	var fresh []int
	for n := range e.list {
		if !slices.ContainsFunc(code, func(line string) bool { return strings.HasPrefix(line, fmt.Sprintf("prepare.edit_%d(", n)) }) {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) == 0 {
		return search.Proposal{}, false
	}
	n := fresh[r.IntN(len(fresh))]
	d := e.list[n]
	lines := Lines(champion.Constants)
	line := fmt.Sprintf("prepare.edit_%d()", n)
	if at := slices.IndexFunc(lines, func(l Line) bool { return d.fixes != "" && l.Name == d.fixes }); at >= 0 {
		line = fmt.Sprintf("prepare.edit_%d(%s=%s)", n, d.fixes, lines[at].Text)
		lines = slices.Delete(lines, at, at+1)
	}
	if !math.IsNaN(d.adds) {
		lines = append(lines, Line{Name: addition(n), Text: "1.0", Value: search.FloatValue(1)})
	}
	source, _ := Source(lines, append(slices.Clone(code), line)...)
	return search.Proposal{Strategy: "edit", Description: fmt.Sprintf("edit %d of the code", n), Parent: champion.ID, Source: source}, true
}

// value is a task's value with what the code's edits do to it.
func (e *Edits) value(source []byte, values map[string]search.Value, plain func(map[string]search.Value) (float64, search.Status)) (float64, search.Status) {
	sum := 0.0
	for _, line := range Code(source) {
		m := editLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n >= len(e.list) || e.list[n].crash {
			return 0, search.Crashed
		}
		d := e.list[n]
		sum -= d.gain
		if m[2] != "" {
			if values[m[2]], err = literal(m[3]); err != nil {
				return 0, search.Crashed
			}
		}
		if v, ok := values[d.moves]; ok {
			values[d.moves] = search.FloatValue(v.Number() * d.by)
		}
		if v, ok := values[addition(n)]; ok {
			off := math.Log2(v.Number()) - d.adds
			sum += 0.001 * math.Min(off*off, 2+2*math.Abs(off))
		}
	}
	v, status := plain(values)
	return v + sum, status
}
