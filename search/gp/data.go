package gp

import (
	"cmp"
	"math"
	"slices"

	"autoresearchd/search"
)

// data is what the models learn from.
type data struct {
	x       [][]float64 // scored trials
	y       []float64   // their scores, transformed: mean 0, deviation 1, low is good
	pending [][]float64

	tried []label // trials that did or did not fail, for the model of feasibility
	limit int
}

// label is a trial that ran to its end, or failed by its own fault.
type label struct {
	x  []float64
	ok bool
}

// read takes the scored trials of h into d: at most limit of them.
func read(e *encoder, h search.History, limit int) *data {
	d := &data{limit: limit}
	versions, several := versions(h)
	if several {
		e.axes = append(e.axes, axis{name: code, kind: category})
		e.here = versions[h.Champion.ID]
	}
	input := func(t *search.Trial) []float64 {
		x := e.trial(t)
		if several {
			if v, ok := versions[t.ID]; ok {
				x[len(x)-1] = v
			} else {
				x[len(x)-1] = versions[t.Proposal.Parent]
			}
		}
		return x
	}
	var x [][]float64
	var y []float64
	var pruned [][]float64 // of which nothing was foreseen
	scores := 0
	for i := range h.Done {
		r := &h.Done[i]
		score, ok := r.Score()
		status := r.Outcome.Status
		switch {
		case ok:
			p := input(&r.Trial)
			x, y, scores = append(x, p), append(y, score), scores+1
			d.tried = append(d.tried, label{p, true})
		case status == search.Pruned:
			p := input(&r.Trial)
			if c := r.Outcome.Condemned; c != nil && search.Plausible(c.Foreseen) {
				x, y = append(x, p), append(y, c.Foreseen)
			} else {
				pruned = append(pruned, p)
			}
			d.tried = append(d.tried, label{p, true})
		case status == search.OutOfMemory, status == search.Diverged, status == search.TimedOut,
			status == search.Crashed && len(r.Trial.Proposal.Source) == 0: // else the edit is to blame
			d.tried = append(d.tried, label{input(&r.Trial), false})
		}
	}
	for i := range h.Pending {
		d.pending = append(d.pending, input(&h.Pending[i]))
	}
	if scores == 0 {
		return d
	}
	// A pruned trial was on its way to a score that is worse than most: those that
	// are known are of what was not pruned.
	sorted := slices.Sorted(slices.Values(y))
	for _, p := range pruned {
		x, y = append(x, p), append(y, sorted[len(sorted)*9/10])
	}
	keep := choose(e, x, y, limit)
	for _, i := range keep {
		d.x, d.y = append(d.x, x[i]), append(d.y, y[i])
	}
	warp(d.y)
	return d
}

// versions numbers the versions of the code by trial: a trial that only
// changes constants has its parent's.
func versions(h search.History) (of map[int64]float64, several bool) {
	of = make(map[int64]float64, len(h.Done))
	for i := range h.Done {
		t := &h.Done[i].Trial
		v := of[t.Proposal.Parent]
		if len(t.Proposal.Source) > 0 {
			v = float64(t.ID)
		}
		of[t.ID] = v
		several = several || v != 0
	}
	return of, several
}

// choose picks at most limit trials: half of them the best, a quarter the
// newest, and of the rest those that are farthest from what was picked.
func choose(e *encoder, x [][]float64, y []float64, limit int) []int {
	all := make([]int, len(y))
	for i := range all {
		all[i] = i
	}
	if len(y) <= limit {
		return all
	}
	picked := make([]bool, len(y))
	byScore := slices.Clone(all)
	slices.SortStableFunc(byScore, func(a, b int) int { return cmp.Compare(y[a], y[b]) })
	for _, i := range byScore[:limit/2] {
		picked[i] = true
	}
	n := limit / 2
	for i := len(y) - 1; n < limit*3/4; i-- {
		if !picked[i] {
			picked[i] = true
			n++
		}
	}
	far := make([]float64, len(y))
	near := func(k int) {
		for i := range far {
			if !picked[i] {
				sum := 0.0
				for a := range e.axes {
					sum += e.axes[a].apart(x[i][a], x[k][a])
				}
				far[i] = math.Min(far[i], sum)
			}
		}
	}
	for i := range far {
		far[i] = math.Inf(1)
	}
	near(byScore[0])
	for _, i := range byScore[:min(limit/2, 20)] { // to all that are picked would take longer, and change little
		near(i)
	}
	for ; n < limit; n++ {
		best := -1
		for i := range far {
			if !picked[i] && (best < 0 || far[i] > far[best]) {
				best = i
			}
		}
		picked[best] = true
		near(best)
	}
	return slices.DeleteFunc(all, func(i int) bool { return !picked[i] })
}

const cut = 2.5

// warp brings scores to mean 0 and deviation 1, with the bad ones drawn in:
// beyond cut spreads above the median, their distance counts by its logarithm.
// The spread is from the median to the best tenth.
// What is far from good need not be told apart, and one score of 19 among
// those around 1 would flatten all differences that matter.
func warp(y []float64) {
	n := len(y)
	sorted := slices.Sorted(slices.Values(y))
	mid := sorted[n/2]
	spread := mid - sorted[n/10]
	if spread <= 0 {
		spread = sorted[n*9/10] - mid
	}
	if spread <= 0 {
		spread = 1
	}
	for i, v := range y {
		if z := (v - mid) / spread; z > cut {
			y[i] = cut * (1 + math.Log(z/cut))
		} else {
			y[i] = z
		}
	}
	sum, square := 0.0, 0.0
	for _, v := range y {
		sum += v
	}
	mean := sum / float64(n)
	for _, v := range y {
		square += (v - mean) * (v - mean)
	}
	deviation := math.Sqrt(square / float64(n))
	if !(deviation > 1e-12) {
		deviation = 1
	}
	for i := range y {
		y[i] = (y[i] - mean) / deviation
	}
}
