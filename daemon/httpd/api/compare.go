package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// mostCompared is how many candidates can stand side by side.
const mostCompared = 8

// comparison is several candidates side by side, in the order asked for.
type comparison struct {
	Candidates []*candidateDetail `json:"candidates"` // without diffs and logs
	Constants  []difference       `json:"constants"`  // only those that differ
	Diffs      []programs         `json:"diffs"`      // of the others' train.py against the first's
}

// difference is a constant with each candidate's value, null where one has none.
type difference struct {
	Name   string          `json:"name"`
	Values []*search.Value `json:"values"`
}

type programs struct {
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Diff string `json:"diff"` // "": they are the same
}

func (a *API) compare(r *http.Request) (any, error) {
	ids, err := idsOf(r.URL.Query().Get("ids"))
	if err != nil {
		return nil, err
	}
	f := newFamily(a.o.Loop.History())
	c, err := read(r.Context(), a, func() (*comparison, error) { return a.readComparison(r.Context(), f, ids) })
	if err != nil {
		return nil, err
	}
	for _, one := range c.Candidates {
		a.claim(one)
	}
	return c, nil
}

func idsOf(text string) ([]int64, error) {
	var ids []int64
	for part := range strings.SplitSeq(text, ",") {
		id, err := strconv.ParseInt(strings.TrimSpace(part), 10, 64)
		if err != nil || id < 1 {
			return nil, wrong("ids=%.40q: write the numbers of two candidates or more, with commas between", text)
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) < 2 || len(ids) > mostCompared {
		return nil, wrong("ids=%.40q: 2 to %d candidates can be compared", text, mostCompared)
	}
	return ids, nil
}

func (a *API) readComparison(ctx context.Context, f family, ids []int64) (*comparison, error) {
	c := &comparison{Constants: []difference{}, Diffs: []programs{}}
	names := map[string]bool{}
	var sources [][]byte
	for _, id := range ids {
		one, err := a.readCandidate(ctx, f, id)
		if err != nil {
			return nil, err
		}
		one.Diff, one.LogTail = "", "" // the diffs here are others
		for name := range one.AllConstants {
			names[name] = true
		}
		source, _, err := a.source(ctx, id)
		if err != nil {
			return nil, err
		}
		c.Candidates, sources = append(c.Candidates, one), append(sources, source)
	}
	for name := range names {
		d := difference{Name: name}
		literals := map[string]bool{}
		for _, one := range c.Candidates {
			v, ok := one.AllConstants[name]
			if !ok {
				d.Values = append(d.Values, nil)
				literals[""] = true
				continue
			}
			d.Values = append(d.Values, &v)
			literals[v.Literal()] = true
		}
		if len(literals) > 1 {
			c.Constants = append(c.Constants, d)
		}
	}
	slices.SortFunc(c.Constants, func(a, b difference) int { return strings.Compare(a.Name, b.Name) })
	for i, id := range ids[1:] {
		from, to := fmt.Sprintf("candidate %d", ids[0]), fmt.Sprintf("candidate %d", id)
		c.Diffs = append(c.Diffs, programs{ids[0], id, record.Diff(from, to, sources[0], sources[i+1])})
	}
	return c, nil
}
