package api

import (
	"cmp"
	"maps"
	"net/http"
	"slices"

	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

type strategyRow struct {
	Name       string   `json:"name"`
	Candidates int      `json:"candidates"`
	Runs       int      `json:"runs"` // of its candidates, whoever had them run again
	Kept       int      `json:"kept"`
	Gain       float64  `json:"gain"`    // val_bpb that its champions took off, as it is known now
	Seconds    float64  `json:"seconds"` // its candidates' runs on the device
	Share      float64  `json:"share"`   // of all candidates
	Weight     *float64 `json:"weight"`  // its chance of being asked next, where a portfolio says it
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
	s, done := a.o.Loop.Snapshot(), a.o.Loop.History().Done
	answer := strategiesAnswer{Strategies: strategiesOf(done, a.stairs.of(done), s.Weights), Models: []modelRow{}}
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

// strategiesOf counts what each strategy proposed and what came of it.
func strategiesOf(done []search.Result, stairs record.Staircase, weights map[string]float64) []strategyRow {
	rows := []strategyRow{}
	row := func(name string) *strategyRow {
		at := slices.IndexFunc(rows, func(r strategyRow) bool { return r.Name == name })
		if at < 0 {
			at = len(rows)
			rows = append(rows, strategyRow{Name: name})
		}
		return &rows[at]
	}
	seconds := map[int64]float64{}
	for i := range done {
		seconds[done[i].Trial.ID] = done[i].Outcome.WallSeconds
	}
	proposer := map[int64]string{}
	for _, c := range stairs.Marks {
		proposer[c.ID] = c.Strategy
		s := row(c.Strategy)
		s.Candidates++
		s.Runs += len(c.Runs)
		for _, run := range c.Runs {
			s.Seconds += seconds[run]
		}
		if c.Standing == search.StandingKept {
			s.Kept++
		}
	}
	for i := 1; i < len(stairs.Steps); i++ {
		row(proposer[stairs.Steps[i].Champion]).Gain += stairs.Steps[i-1].ValBPB - stairs.Steps[i].ValBPB
	}
	for i := range rows {
		rows[i].Share = float64(rows[i].Candidates) / float64(len(stairs.Marks))
	}
	for name, weight := range weights {
		row(name).Weight = &weight
	}
	slices.SortFunc(rows, func(a, b strategyRow) int {
		return cmp.Or(cmp.Compare(b.Candidates, a.Candidates), cmp.Compare(a.Name, b.Name))
	})
	return rows
}
