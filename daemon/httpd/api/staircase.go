package api

import (
	"math"
	"net/http"
	"unicode/utf8"

	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// staircase is the study as it is drawn: one short row a candidate, and the
// champions' line.
type staircase struct {
	Baseline   *float64 `json:"baseline"`
	Champion   *int64   `json:"champion"`
	Candidates []mark   `json:"candidates"`
	Steps      []step   `json:"steps"`
}

type mark struct {
	ID          int64           `json:"id"`
	Parent      int64           `json:"parent"` // 0: the study's start
	Runs        []int64         `json:"runs"`
	At          int64           `json:"at"`
	Hours       float64         `json:"hours"`
	ValBPB      *float64        `json:"val_bpb"`
	Interval    float64         `json:"interval,omitempty"`
	Scores      []float64       `json:"scores,omitempty"` // where there are several
	Against     *float64        `json:"against"`
	Below       bool            `json:"below,omitempty"`
	Verdict     search.Standing `json:"verdict"`
	Failure     search.Status   `json:"failure,omitempty"`
	Strategy    string          `json:"strategy"`
	Label       string          `json:"label"`
	Description string          `json:"description,omitempty"` // where the label is another
	Reason      string          `json:"reason"`
}

type step struct {
	At        int64   `json:"at"`
	Hours     float64 `json:"hours"`
	Candidate int64   `json:"candidate"`
	ValBPB    float64 `json:"val_bpb"`
}

func (a *API) staircase(*http.Request) (any, error) {
	return a.derived.get("staircase", a.o.Loop.History(), func(h search.History) (any, error) { return newStaircase(a.stairs.of(h.Done)), nil })
}

// brief is how many characters of a text go with a row.
const brief = 100

func newStaircase(all record.Staircase) staircase {
	s := staircase{Baseline: known(all.Baseline), Candidates: make([]mark, len(all.Marks)), Steps: make([]step, len(all.Steps))}
	if all.Champion != 0 {
		s.Champion = &all.Champion
	}
	for i, c := range all.Marks {
		m := mark{
			ID: c.ID, Parent: c.Parent, Runs: c.Runs, At: c.At, ValBPB: meanOf(c.Candidate), Hours: math.Round(c.Hours*1e4) / 1e4, Interval: c.Interval, Against: c.Against, Below: c.Below, Verdict: c.Standing, Failure: c.Failure,
			Strategy: clip(c.Strategy, brief), Label: clip(record.Label(c.Description), brief), Description: clip(c.Description, brief), Reason: clip(c.Reason, brief),
		}
		if m.Description == m.Label {
			m.Description = ""
		}
		if scores := c.Scores(); len(scores) > 1 {
			m.Scores = scores
		}
		s.Candidates[i] = m
	}
	for i, x := range all.Steps {
		s.Steps[i] = step{x.At, math.Round(x.Hours*1e4) / 1e4, x.Champion, x.ValBPB}
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
