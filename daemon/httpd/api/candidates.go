package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// candidate is an element of `trials --json`, with what the judge says of the
// champion.
type candidate struct {
	record.Candidate
	Claim string `json:"claim"` // empty of any other
}

type candidates struct {
	Candidates []candidate `json:"candidates"`
	Next       *string     `json:"next"`  // the cursor of the page after this one; null: this is the last
	Total      int         `json:"total"` // candidates that the filter lets through
}

// filter says which candidates are asked for.
type filter struct {
	verdicts, failures, strategies []string
	text                           string // in lower case
}

func newFilter(v url.Values) (filter, error) {
	f := filter{verdicts: list(v.Get("verdict")), failures: list(v.Get("failure")), strategies: list(v.Get("strategy")), text: strings.ToLower(strings.TrimSpace(v.Get("q")))}
	for _, s := range f.verdicts {
		if !slices.Contains(search.Standings, search.Standing(s)) {
			return f, wrong("verdict=%.20q: write %s, or several with commas between", s, words(search.Standings))
		}
	}
	for _, s := range f.failures {
		if !slices.Contains(search.Statuses, search.Status(s)) {
			return f, wrong("failure=%.20q: write %s, or several with commas between", s, words(search.Statuses))
		}
	}
	return f, nil
}

func words[T ~string](all []T) string {
	var out []string
	for _, w := range all {
		out = append(out, string(w))
	}
	return strings.Join(out, ", ")
}

func (f *filter) lets(c *search.Candidate) bool {
	switch {
	case f.verdicts != nil && !slices.Contains(f.verdicts, string(c.Standing)),
		f.failures != nil && !slices.Contains(f.failures, string(c.Failure)),
		f.strategies != nil && !slices.Contains(f.strategies, c.Strategy):
		return false
	case f.text == "":
		return true
	}
	for _, text := range []string{c.Description, c.Reason, string(c.Standing), string(c.Failure), c.Strategy, strconv.FormatInt(c.ID, 10)} {
		if strings.Contains(strings.ToLower(text), f.text) {
			return true
		}
	}
	return false
}

// candidates answers with a page of what was tried, a row a candidate.
func (a *API) candidates(r *http.Request) (any, error) {
	v := r.URL.Query()
	p, err := newPaging(v, "verdict", "failure", "strategy", "q")
	if err != nil {
		return nil, err
	}
	f, err := newFilter(v)
	if err != nil {
		return nil, err
	}
	marks := a.stairs.of(a.o.Loop.History().Done).Marks
	picked, more, total := pick(p, marks, func(m *record.Mark) int64 { return m.ID }, func(m *record.Mark) bool { return f.lets(m.Candidate) })
	out := candidates{Candidates: make([]candidate, 0, len(picked)), Total: total}
	if len(picked) == 0 {
		return out, nil
	}
	ids := make([]int64, len(picked))
	for i, m := range picked {
		ids[i] = m.ID
	}
	records, err := read(r.Context(), a, func() ([]journal.Record, error) { return a.o.Journal.Some(ids) })
	if err != nil {
		return nil, err
	}
	first := map[int64]journal.Record{}
	for _, rec := range records {
		first[rec.Trial.ID] = rec
	}
	champion := a.o.Loop.Now().Champion
	for _, m := range picked {
		c := candidate{Candidate: record.NewCandidate(m.Candidate, first[m.ID])}
		if champion != nil && champion.ID == c.ID {
			c.Claim = champion.Claim
		}
		out.Candidates = append(out.Candidates, c)
	}
	if more {
		next := strconv.FormatInt(ids[len(ids)-1], 10)
		out.Next = &next
	}
	return out, nil
}

// search finds candidates by what stands in their whole texts.
func (a *API) search(r *http.Request) (any, error) {
	f, err := newFilter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	ids := []int64{}
	for _, m := range a.stairs.of(a.o.Loop.History().Done).Marks {
		if f.lets(m.Candidate) {
			ids = append(ids, m.ID)
		}
	}
	return map[string][]int64{"candidates": ids}, nil
}
