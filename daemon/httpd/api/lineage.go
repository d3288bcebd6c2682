package api

import (
	"net/http"

	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

type node struct {
	ID       int64           `json:"id"`
	Parent   int64           `json:"parent"` // 0: the study's start
	Verdict  search.Standing `json:"verdict"`
	Failure  search.Status   `json:"failure,omitempty"`
	ValBPB   *float64        `json:"val_bpb"`
	Strategy string          `json:"strategy"`
	Label    string          `json:"label"`
}

// lineage is the tree of the candidates that were kept, with their ancestors, or
// of every candidate.
func (a *API) lineage(r *http.Request) (any, error) {
	name, all := "lineage", false
	switch r.URL.Query().Get("all") {
	case "", "0":
	case "1":
		name, all = "lineage of all", true
	default:
		return nil, wrong("all=%.20q: write all=1 for every candidate, or leave it out", r.URL.Query().Get("all"))
	}
	return a.derived.get(name, a.o.Loop.History(), func(h search.History) (any, error) {
		marks := a.stairs.of(h.Done).Marks
		wanted := map[int64]bool{}
		for i := len(marks) - 1; i >= 0; i-- { // a parent comes before its children
			c := marks[i]
			if all || c.Standing == search.StandingKept || wanted[c.ID] {
				wanted[c.ID], wanted[c.Parent] = true, true
			}
		}
		nodes := []node{}
		for _, c := range marks {
			if wanted[c.ID] {
				nodes = append(nodes, node{c.ID, c.Parent, c.Standing, c.Failure, meanOf(c.Candidate), clip(c.Strategy, brief), clip(record.Label(c.Description), brief)})
			}
		}
		return map[string][]node{"nodes": nodes}, nil
	})
}

// meanOf is the mean of a candidate's runs; nil: it has none.
func meanOf(c *search.Candidate) *float64 {
	if bpb, n := c.Score(); n > 0 {
		return &bpb
	}
	return nil
}
