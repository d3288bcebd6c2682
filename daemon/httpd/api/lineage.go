package api

import (
	"net/http"

	"autoresearchd/search"
)

type node struct {
	ID          int64          `json:"id"`
	Parent      int64          `json:"parent"` // 0: the study's start
	Decision    search.Verdict `json:"decision"`
	ValBPB      *float64       `json:"val_bpb"`
	Strategy    string         `json:"strategy"`
	Description string         `json:"description"`
}

// lineage is the tree of what was kept, with its ancestors, or of every trial.
func (a *API) lineage(r *http.Request) (any, error) {
	name, all := "lineage", false
	switch r.URL.Query().Get("all") {
	case "", "0":
	case "1":
		name, all = "lineage of all", true
	default:
		return nil, wrong("all=%.20q: write all=1 for every trial, or leave it out", r.URL.Query().Get("all"))
	}
	return a.derived.get(name, a.o.Loop.History(), func(h search.History) (any, error) {
		wanted := map[int64]bool{}
		for i := len(h.Done) - 1; i >= 0; i-- { // a parent comes before its children
			t := &h.Done[i].Trial
			if all || h.Done[i].Decision.Verdict == search.Keep || wanted[t.ID] {
				wanted[t.ID], wanted[t.Proposal.Parent] = true, true
			}
		}
		nodes := []node{}
		for i := range h.Done {
			if r := &h.Done[i]; wanted[r.Trial.ID] {
				nodes = append(nodes, node{r.Trial.ID, r.Trial.Proposal.Parent, r.Decision.Verdict, scoreOf(r), r.Trial.Proposal.Strategy, clip(r.Trial.Proposal.Description, brief)})
			}
		}
		return map[string][]node{"nodes": nodes}, nil
	})
}

func scoreOf(r *search.Result) *float64 {
	if bpb, ok := r.Score(); ok {
		return &bpb
	}
	return nil
}
