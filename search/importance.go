package search

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
)

const minKnown = 8 // scored trials before anything is said of constants

// Influence is what a study knows of one dimension of its space.
type Influence struct {
	Name   string  // the dimension's: "MATRIX_LR", "ADAM_BETAS[0]"
	Share  float64 // of the order of the scores that it explains, 0 to 1
	Scores int     // how many trials that is read from
	Best   string  // where the best trials lie, in words
}

// Importance says of the dimensions of h.Space, most important first, how much
// of the scores' order each explains, and where the best quarter of the trials
// lies. The measure is the correlation ratio of the scores' ranks over thirds
// of the dimension's values, less what chance gives: ranks make it robust
// against outliers, thirds let it see an optimum in the middle. It is nil while
// too few trials have a score.
func Importance(h History) []Influence {
	var results []*Result
	for i := range h.Done {
		r := &h.Done[i]
		if v := r.Outcome.ValBPB; r.Outcome.Status == Completed && r.Decision.Verdict != Crash && v > 0 && !math.IsInf(v, 0) {
			results = append(results, r)
		}
	}
	if len(results) < minKnown {
		return nil
	}
	slices.SortStableFunc(results, func(a, b *Result) int { return cmp.Compare(a.Outcome.ValBPB, b.Outcome.ValBPB) })
	var rows []Influence
	dims := h.Space.Dimensions()
	for i := range dims {
		d := &dims[i]
		type point struct{ u, rank float64 }
		var points []point
		for rank, r := range results {
			if u, ok := d.Place(r.Trial.Constants); ok {
				points = append(points, point{u, float64(rank)})
			}
		}
		distinct := map[float64]bool{}
		for _, p := range points {
			distinct[p.u] = true
		}
		if len(points) < minKnown || len(distinct) < 2 {
			continue
		}
		best := slices.Clone(points[:max(4, len(points)/4)])
		sort.Slice(best, func(a, b int) bool { return best[a].u < best[b].u })
		low, high := best[len(best)/10].u, best[len(best)-1-len(best)/10].u
		sort.SliceStable(points, func(a, b int) bool { return points[a].u < points[b].u })
		n := float64(len(points))
		mean := 0.0
		for _, p := range points {
			mean += p.rank / n
		}
		between, total, groups := 0.0, 0.0, 0.0
		for start := 0; start < len(points); {
			end := min(len(points), start+max(1, len(points)/3))
			for end < len(points) && points[end].u == points[end-1].u { // equal values stay together
				end++
			}
			sum := 0.0
			for _, p := range points[start:end] {
				sum += p.rank
				total += (p.rank - mean) * (p.rank - mean)
			}
			size := float64(end - start)
			between += size * math.Pow(sum/size-mean, 2)
			groups++
			start = end
		}
		share := 0.0
		if total > 0 && n > groups {
			share = math.Max(0, (between-(groups-1)*(total-between)/(n-groups))/total)
		}
		u := h.Space.Start()
		at := func(x float64) string {
			v := slices.Clone(u)
			v[i] = math.Min(1, math.Max(0, x))
			value := h.Space.Decode(v)[d.Constant]
			if d.Element >= 0 {
				value = value.Items()[d.Element]
			}
			return value.Literal()
		}
		row := Influence{Name: d.Name, Share: share, Scores: len(points)}
		switch a, b := at(low), at(high); {
		case !d.Ordered:
			u, _ := d.Place(results[0].Trial.Constants)
			row.Best = "the best trial has " + at(u)
		case a == b:
			row.Best = "the best quarter has " + a
		default:
			row.Best = fmt.Sprintf("the best quarter lies in %s to %s", a, b)
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b Influence) int { return cmp.Compare(b.Share, a.Share) })
	return rows
}
