package api

import (
	"net/http"

	"autoresearchd/search"
)

type influence struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"` // of all shares, which sum to 1
}

// slice is what a constant's values scored: value, val_bpb, id, decision.
type slice struct {
	Log    bool     `json:"log"`
	Points [][4]any `json:"points"`
}

type constants struct {
	Importance []influence      `json:"importance"`
	Slices     map[string]slice `json:"slices"`
}

func (a *API) constants(*http.Request) (any, error) {
	return a.derived.get("constants", a.o.Loop.History(), func(h search.History) (any, error) { return newConstants(h), nil })
}

// slicePoints is about how many trials a slice shows: of more, every kept one
// and an even part of the others.
const slicePoints = 1000

func newConstants(h search.History) constants {
	c := constants{Importance: []influence{}, Slices: map[string]slice{}}
	sum := 0.0
	all := search.Importance(h)
	for _, i := range all {
		sum += i.Share
	}
	for _, i := range all {
		if sum > 0 {
			c.Importance = append(c.Importance, influence{i.Name, i.Share / sum})
		}
	}
	every := 1 + (len(h.Done)-1)/slicePoints
	for _, d := range h.Space.Dimensions() {
		s := slice{Log: d.Scale == search.Log, Points: [][4]any{}}
		for i := range h.Done {
			r := &h.Done[i]
			if i%every != 0 && r.Decision.Verdict != search.Keep {
				continue
			}
			if v, ok := valueOf(&d, r.Trial.Constants); ok {
				s.Points = append(s.Points, [4]any{v, scoreOf(r), r.Trial.ID, r.Decision.Verdict})
			}
		}
		c.Slices[d.Name] = s
	}
	return c
}

// valueOf is what a trial had on a dimension.
func valueOf(d *search.Dimension, consts []search.Constant) (search.Value, bool) {
	for _, c := range consts {
		if c.Name != d.Constant {
			continue
		}
		if d.Element < 0 {
			return c.Value, true
		}
		if items := c.Value.Items(); d.Element < len(items) {
			return items[d.Element], true
		}
	}
	return search.Value{}, false
}
