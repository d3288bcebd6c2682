package api

import (
	"maps"
	"net/http"
	"slices"

	"autoresearchd/daemon/modelserver"
	"autoresearchd/search"
)

type strategyRow struct {
	Name    string   `json:"name"`
	Trials  int      `json:"trials"`
	Keeps   int      `json:"keeps"`
	Gain    float64  `json:"gain"`    // val_bpb that its keeps took off
	Seconds float64  `json:"seconds"` // its trials on the device
	Share   float64  `json:"share"`   // of all trials
	Weight  *float64 `json:"weight"`  // its chance of being asked next, where a portfolio says it
}

type modelRow struct {
	Model            string  `json:"model"`
	Requests         int64   `json:"requests"`
	PromptTokens     int64   `json:"prompt_tokens"`
	CompletionTokens int64   `json:"completion_tokens"`
	Dollars          float64 `json:"dollars"`
}

type strategiesAnswer struct {
	Strategies []strategyRow `json:"strategies"`
	Models     []modelRow    `json:"models"`
	MaxCost    *float64      `json:"max_cost"` // dollars for the study
}

// allModels stands for every model, where an older ledger counted them together.
const allModels = "all models"

func modelsOf(sums modelserver.Sums) []modelRow {
	rows := []modelRow{}
	for _, name := range slices.Sorted(maps.Keys(sums.Models)) {
		m := sums.Models[name]
		rows = append(rows, modelRow{name, m.Requests, m.PromptTokens, m.ReplyTokens, m.Dollars})
	}
	if len(rows) == 0 && sums.Requests > 0 {
		rows = append(rows, modelRow{allModels, sums.Requests, sums.PromptTokens, sums.ReplyTokens, sums.Dollars})
	}
	return rows
}

func (a *API) strategies(r *http.Request) (any, error) {
	s, h := a.o.Loop.Snapshot(), a.o.Loop.History()
	answer := strategiesAnswer{Strategies: strategiesOf(h, a.levels.of(h.Done), s.Weights), Models: []modelRow{}}
	if s.LLM != nil {
		answer.MaxCost = known(s.LLM.Cap)
	}
	if a.o.Spent == nil {
		return answer, nil
	}
	sums, err := read(r.Context(), a, func() (modelserver.Sums, error) { return a.o.Spent() })
	if err != nil {
		return nil, err
	}
	answer.Models = modelsOf(sums)
	return answer, nil
}

// strategiesOf counts what each strategy was asked for and what it gained.
func strategiesOf(h search.History, levels []float64, weights map[string]float64) []strategyRow {
	rows := []strategyRow{}
	row := func(name string) *strategyRow {
		at := slices.IndexFunc(rows, func(r strategyRow) bool { return r.Name == name })
		if at < 0 {
			at = len(rows)
			rows = append(rows, strategyRow{Name: name})
		}
		return &rows[at]
	}
	for i := range h.Done {
		r := &h.Done[i]
		s := row(r.Trial.Proposal.Strategy)
		s.Trials++
		s.Seconds += r.Outcome.WallSeconds
		if r.Decision.Verdict == search.Keep {
			s.Keeps++
			if i > 0 && finite(levels[i-1]) && finite(levels[i]) {
				s.Gain += levels[i-1] - levels[i]
			}
		}
	}
	for i := range rows {
		rows[i].Share = float64(rows[i].Trials) / float64(len(h.Done))
	}
	for name, weight := range weights {
		row(name).Weight = &weight
	}
	slices.SortFunc(rows, func(a, b strategyRow) int {
		if a.Trials != b.Trials {
			return b.Trials - a.Trials
		}
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return rows
}
