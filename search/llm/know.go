package llm

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"autoresearchd/search"
)

// scored are the trials that have a score one can compare.
func scored(h search.History) []*search.Result {
	var out []*search.Result
	for i := range h.Done {
		r := &h.Done[i]
		if v := r.Outcome.ValBPB; r.Outcome.Status == search.Completed && r.Decision.Verdict != search.Crash && v > 0 && !math.IsInf(v, 0) {
			out = append(out, r)
		}
	}
	return out
}

const minKnown = 8 // scored trials before anything is said of constants

// importance says, constant by constant, how much of the scores' order it
// explains, and where the best quarter of the trials lies. The measure is the
// correlation ratio of the scores' ranks over thirds of the constant's values,
// less what chance gives: ranks make it robust against outliers, thirds let it
// see an optimum in the middle.
func importance(h search.History) []string {
	results := scored(h)
	if len(results) < minKnown {
		return nil
	}
	slices.SortStableFunc(results, func(a, b *search.Result) int {
		switch {
		case a.Outcome.ValBPB < b.Outcome.ValBPB:
			return -1
		case a.Outcome.ValBPB > b.Outcome.ValBPB:
			return 1
		}
		return 0
	})
	type row struct {
		text  string
		share float64
	}
	var rows []row
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
		text := fmt.Sprintf("%s: explains %.0f %% of the order of %d scores", d.Name, 100*share, len(points))
		if d.Ordered {
			if a, b := at(low), at(high); a == b {
				text += ", the best quarter has " + a
			} else {
				text += fmt.Sprintf(", the best quarter lies in %s to %s", a, b)
			}
		} else {
			text += ", the best trial has " + at(placeOf(d, results[0]))
		}
		rows = append(rows, row{text, share})
	}
	sort.SliceStable(rows, func(a, b int) bool { return rows[a].share > rows[b].share })
	out := make([]string, len(rows))
	for i := range rows {
		out[i] = rows[i].text
	}
	return out
}

func placeOf(d *search.Dimension, r *search.Result) float64 {
	u, _ := d.Place(r.Trial.Constants)
	return u
}

// ranges lists what may be searched, with values and limits.
func ranges(h search.History) []string {
	var out []string
	dims := h.Space.Dimensions()
	for i := range dims {
		d := &dims[i]
		line := d.Name + " = " + d.Start.Literal()
		if d.Scale == search.Grid {
			choices := make([]string, 0, len(d.Choices))
			for _, c := range d.Choices {
				choices = append(choices, c.Literal())
			}
			line += ", one of " + cut(strings.Join(choices, ", "), 400)
		} else {
			line += fmt.Sprintf(", from %s to %s", text(d.Low), text(d.High))
			if d.Step > 0 {
				line += ", whole"
			}
		}
		out = append(out, line)
	}
	return out
}

func text(x float64) string {
	return strings.TrimSuffix(search.FloatValue(x).Literal(), ".0")
}

// within checks a constant's new value against the space.
func within(h search.History, name string, v search.Value) error {
	dims := h.Space.Dimensions()
	found := false
	for i := range dims {
		d := &dims[i]
		if d.Constant != name {
			continue
		}
		found = true
		x := v
		if d.Element >= 0 {
			if d.Element >= len(v.Items()) {
				return fmt.Errorf("%s has no element %d", name, d.Element)
			}
			x = v.Items()[d.Element]
		}
		if x.Equal(d.Start) {
			continue
		}
		switch {
		case d.Scale == search.Grid:
			if !slices.ContainsFunc(d.Choices, x.Equal) {
				return fmt.Errorf("%s = %s is outside its space: %s", d.Name, x, ranges(h)[i])
			}
		case !(x.Number() >= d.Low && x.Number() <= d.High):
			return fmt.Errorf("%s = %s is outside its space: from %s to %s", d.Name, x, text(d.Low), text(d.High))
		}
	}
	if !found {
		return fmt.Errorf("%s is not searched in this study: leave it as it is", name)
	}
	return nil
}
