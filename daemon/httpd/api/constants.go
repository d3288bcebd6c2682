package api

import (
	"net/http"

	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

type influence struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"` // of all shares, which sum to 1
}

// slice is what a constant's values scored: value, val_bpb, candidate, verdict.
type slice struct {
	Log    bool     `json:"log"`
	Points [][4]any `json:"points"`
}

// constants has the dimensions in which candidates differ.
type constants struct {
	Champion   int64            `json:"champion"` // 0: there is none
	Importance []influence      `json:"importance"`
	Slices     map[string]slice `json:"slices"`
}

func (a *API) constants(*http.Request) (any, error) {
	return a.derived.get("constants", a.o.Loop.History(), func(h search.History) (any, error) { return newConstants(h, a.stairs.of(h.Done)), nil })
}

// slicePoints is about how many candidates a slice shows: of more, every kept
// one and an even part of the others.
const slicePoints = 1000

func newConstants(h search.History, s record.Staircase) constants {
	c := constants{Champion: s.Champion, Importance: []influence{}, Slices: map[string]slice{}}
	rows := means(h.Done, s.Marks)
	sum := 0.0
	h.Done = rows
	all := search.Importance(h)
	for _, i := range all {
		sum += i.Share
	}
	for _, i := range all {
		if sum > 0 {
			c.Importance = append(c.Importance, influence{i.Name, i.Share / sum})
		}
	}
	every := 1 + (len(rows)-1)/slicePoints
	for _, d := range h.Space.Dimensions() {
		along := slice{Log: d.Scale == search.Log, Points: [][4]any{}}
		distinct := map[string]bool{}
		for i := range rows {
			v, ok := valueOf(&d, rows[i].Trial.Constants)
			if !ok {
				continue
			}
			distinct[v.Literal()] = true
			if m := s.Marks[i]; i%every == 0 || m.Standing == search.StandingKept {
				along.Points = append(along.Points, [4]any{v, meanOf(m.Candidate), m.ID, m.Standing})
			}
		}
		if len(distinct) > 1 {
			c.Slices[d.Name] = along
		}
	}
	return c
}

// means are a history's candidates as results: each has its first run's program
// and the mean of its runs.
func means(done []search.Result, marks []record.Mark) []search.Result {
	first := make(map[int64]*search.Result, len(done))
	for i := range done {
		first[done[i].Trial.ID] = &done[i]
	}
	rows := make([]search.Result, len(marks))
	for i, m := range marks {
		r := first[m.ID]
		if r == nil {
			r = first[m.Runs[0]] // its first run is under way yet
		}
		rows[i] = *r
		if bpb, n := m.Score(); n > 0 {
			rows[i].Outcome.Status, rows[i].Outcome.ValBPB = search.Completed, bpb
		}
		rows[i].Decision.Verdict = m.Standing.Decision()
	}
	return rows
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
