package api

import (
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"autoresearchd/search"
)

// staircase is one short row a trial: id, val_bpb, decision, level after it,
// hours, strategy (an index), description.
type staircase struct {
	Baseline   *float64 `json:"baseline"`
	Strategies []string `json:"strategies"`
	Trials     [][7]any `json:"trials"`
}

func (a *API) staircase(r *http.Request) (any, error) {
	began := a.o.Loop.Now().Study.StartedAt
	return a.derived.get("staircase", a.o.Loop.History(), func(h search.History) (any, error) { return newStaircase(h, a.levels.of(h.Done), began), nil })
}

// brief is how many characters of a description go with a point.
const brief = 80

func newStaircase(h search.History, levels []float64, began time.Time) staircase {
	s := staircase{Strategies: []string{}, Trials: make([][7]any, len(h.Done))}
	for i := range h.Done {
		r := &h.Done[i]
		var value, level *float64
		if bpb, ok := r.Score(); ok {
			value = &bpb
			if s.Baseline == nil {
				s.Baseline = value
			}
		}
		if finite(levels[i]) {
			level = &levels[i]
		}
		strategy := slices.Index(s.Strategies, r.Trial.Proposal.Strategy)
		if strategy < 0 {
			strategy = len(s.Strategies)
			s.Strategies = append(s.Strategies, r.Trial.Proposal.Strategy)
		}
		ended := r.Trial.StartedAt.Add(time.Duration(r.Outcome.WallSeconds * float64(time.Second)))
		hours := float64(ended.Sub(began).Milliseconds()) / 3.6e6
		s.Trials[i] = [7]any{r.Trial.ID, value, r.Decision.Verdict, level, hours, strategy, clip(r.Trial.Proposal.Description, brief)}
	}
	return s
}

// clip cuts a text after so many characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	at := 0
	for range n - 1 {
		_, size := utf8.DecodeRuneInString(s[at:])
		if at += size; at >= len(s) {
			return s
		}
	}
	if _, size := utf8.DecodeRuneInString(s[at:]); at+size >= len(s) {
		return s
	}
	return s[:at] + "…"
}
