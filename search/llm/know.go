package llm

import (
	"fmt"
	"math"
	"slices"
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

// importance puts search.Importance into words.
func importance(h search.History) []string {
	var out []string
	for _, i := range search.Importance(h) {
		out = append(out, fmt.Sprintf("%s: explains %.0f %% of the order of %d scores, %s", i.Name, 100*i.Share, i.Scores, i.Best))
	}
	return out
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
