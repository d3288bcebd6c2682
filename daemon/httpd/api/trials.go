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

// query is what /trials is asked for.
type query struct {
	limit      int
	after      int64 // the last trial of the page before; 0: none
	ascending  bool
	decisions  []string
	strategies []string
	text       string // in lower case
}

func newQuery(v url.Values) (query, error) {
	q := query{limit: usualPage, text: strings.ToLower(v.Get("q"))}
	for name := range v {
		if !slices.Contains([]string{"limit", "cursor", "order", "decision", "strategy", "q"}, name) {
			return q, wrong("unknown parameter %.40q: known are limit, cursor, order, decision, strategy, q", name)
		}
	}
	if s := v.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > mostPage {
			return q, wrong("limit=%.20q: write a number from 1 to %d", s, mostPage)
		}
		q.limit = n
	}
	if s := v.Get("cursor"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			return q, wrong("cursor=%.20q: it must be the \"next\" of an earlier page", s)
		}
		q.after = n
	}
	switch order := v.Get("order"); order {
	case "", "desc":
	case "asc":
		q.ascending = true
	default:
		return q, wrong("order=%.20q: write asc or desc", order)
	}
	q.decisions, q.strategies = list(v.Get("decision")), list(v.Get("strategy"))
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

// pick returns the ids of a page, in its order, whether more follow, and how
// many there are on all pages. New trials come after those that a cursor has
// passed when ascending, and are not looked for when descending: nothing is
// seen twice and nothing left out.
func (q *query) pick(done []search.Result) (ids []int64, more bool, total int) {
	passed := q.after == 0
	for i := range done {
		r := &done[i]
		if !q.ascending {
			r = &done[len(done)-1-i]
		}
		begins := passed
		passed = passed || r.Trial.ID == q.after
		if !q.lets(r) {
			continue
		}
		total++
		if !begins {
			continue
		}
		if len(ids) == q.limit {
			more = true
			continue
		}
		ids = append(ids, r.Trial.ID)
	}
	return ids, more, total
}

func (a *API) trials(r *http.Request) (any, error) {
	q, err := newQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	ids, more, total := q.pick(a.o.Loop.History().Done)
	p := page{Trials: make([]record.Trial, 0, len(ids)), Total: total}
	if len(ids) == 0 {
		return p, nil
	}
	records, err := read(r.Context(), a, func() ([]journal.Record, error) { return a.o.Journal.Some(ids) })
	if err != nil {
		return nil, err
	}
	if !q.ascending {
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
