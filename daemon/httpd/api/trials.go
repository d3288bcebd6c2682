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

const (
	usualPage = 100
	mostPage  = 1000
)

// page is a part of the finished trials.
type page struct {
	Trials []record.Trial `json:"trials"`
	Next   *string        `json:"next"`  // the cursor of the page after this one; null: this is the last
	Total  int            `json:"total"` // trials that the filter lets through
}

// paging is which part of a list is asked for.
type paging struct {
	limit     int
	after     int64 // the last one of the page before; 0: none
	ascending bool
}

// newPaging reads it; names are the other parameters that there are.
func newPaging(v url.Values, names ...string) (paging, error) {
	p := paging{limit: usualPage}
	names = append([]string{"limit", "cursor", "order"}, names...)
	for name := range v {
		if !slices.Contains(names, name) {
			return p, wrong("unknown parameter %.40q: known are %s", name, strings.Join(names, ", "))
		}
	}
	if s := v.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > mostPage {
			return p, wrong("limit=%.20q: write a number from 1 to %d", s, mostPage)
		}
		p.limit = n
	}
	if s := v.Get("cursor"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			return p, wrong("cursor=%.20q: it must be the \"next\" of an earlier page", s)
		}
		p.after = n
	}
	switch order := v.Get("order"); order {
	case "", "desc":
	case "asc":
		p.ascending = true
	default:
		return p, wrong("order=%.20q: write asc or desc", order)
	}
	return p, nil
}

// pick returns a page, in its order, whether more follow, and how many there are
// on all pages. New ones come after those that a cursor has passed when
// ascending, and are not looked for when descending: nothing is seen twice and
// nothing left out.
func pick[T any](p paging, all []T, id func(*T) int64, lets func(*T) bool) (page []T, more bool, total int) {
	passed := p.after == 0
	for i := range all {
		x := &all[i]
		if !p.ascending {
			x = &all[len(all)-1-i]
		}
		begins := passed
		passed = passed || id(x) == p.after
		if !lets(x) {
			continue
		}
		total++
		if !begins {
			continue
		}
		if len(page) == p.limit {
			more = true
			continue
		}
		page = append(page, *x)
	}
	return page, more, total
}

// query is which trials are asked for.
type query struct {
	decisions  []string
	strategies []string
	text       string // in lower case
}

func newQuery(v url.Values) (query, error) {
	q := query{decisions: list(v.Get("decision")), strategies: list(v.Get("strategy")), text: strings.ToLower(v.Get("q"))}
	for _, d := range q.decisions {
		if !slices.Contains([]search.Verdict{search.Keep, search.Discard, search.Crash}, search.Verdict(d)) {
			return q, wrong("decision=%.20q: write keep, discard, crash, or several with commas between", d)
		}
	}
	return q, nil
}

// list splits at commas; nil if there is nothing.
func list(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func (q *query) lets(r *search.Result) bool {
	p := &r.Trial.Proposal
	if q.decisions != nil && !slices.Contains(q.decisions, string(r.Decision.Verdict)) {
		return false
	}
	if q.strategies != nil && !slices.Contains(q.strategies, p.Strategy) {
		return false
	}
	if q.text == "" {
		return true
	}
	for _, text := range []string{p.Description, r.Decision.Reason, string(r.Outcome.Status), p.Strategy} {
		if strings.Contains(strings.ToLower(text), q.text) {
			return true
		}
	}
	return false
}

func (a *API) trials(r *http.Request) (any, error) {
	v := r.URL.Query()
	part, err := newPaging(v, "decision", "strategy", "q")
	if err != nil {
		return nil, err
	}
	q, err := newQuery(v)
	if err != nil {
		return nil, err
	}
	picked, more, total := pick(part, a.o.Loop.History().Done, func(r *search.Result) int64 { return r.Trial.ID }, q.lets)
	p := page{Trials: make([]record.Trial, 0, len(picked)), Total: total}
	if len(picked) == 0 {
		return p, nil
	}
	ids := make([]int64, len(picked))
	for i := range picked {
		ids[i] = picked[i].Trial.ID
	}
	records, err := read(r.Context(), a, func() ([]journal.Record, error) { return a.o.Journal.Some(ids) })
	if err != nil {
		return nil, err
	}
	if !part.ascending {
		slices.Reverse(records)
	}
	for _, rec := range records {
		p.Trials = append(p.Trials, record.New(rec))
	}
	if more {
		next := strconv.FormatInt(ids[len(ids)-1], 10)
		p.Next = &next
	}
	return p, nil
}

func scoreOf(r *search.Result) *float64 {
	if bpb, ok := r.Score(); ok {
		return &bpb
	}
	return nil
}
