package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// candidateDetail is everything about one candidate.
type candidateDetail struct {
	record.Candidate
	Why             string                  `json:"why"`
	Champion        bool                    `json:"champion"`         // now
	Claim           string                  `json:"claim"`            // of its gain, in words: "confirmed"; "": none is made
	ClaimWords      string                  `json:"claim_words"`      // the same with its numbers
	ParentCandidate *relative               `json:"parent_candidate"` // null: the study's own start
	ComparedWith    *compared               `json:"compared_with"`    // the champion that it had to beat
	Diff            string                  `json:"diff"`             // of train.py, against the parent candidate's
	AllConstants    map[string]search.Value `json:"all_constants"`
	ParentConstants map[string]search.Value `json:"parent_constants"`
	Details         []run                   `json:"run_details"` // one a run, those under way last
	Children        []int64                 `json:"children"`    // the candidates that it is the parent of
	LogTail         string                  `json:"log_tail"`    // of its last run
	Attachments     []string                `json:"attachments"` // of its first
}

// run is a run of a candidate with its curve.
type run struct {
	Trial  record.Trial  `json:"trial"`
	Budget search.Budget `json:"budget"`
	Curve  [][4]any      `json:"curve"` // step, seconds, tokens, loss
}

type relative struct {
	ID          int64    `json:"id"`
	ValBPB      *float64 `json:"val_bpb"`
	Description string   `json:"description"`
}

type compared struct {
	ID     int64    `json:"id"`
	ValBPB *float64 `json:"val_bpb"`
}

// family is what a history says of all candidates.
type family struct {
	h    search.History
	all  map[int64]*search.Candidate
	of   map[int64]int64   // a trial's candidate
	runs map[int64][]int64 // of a candidate, those under way last
}

func newFamily(h search.History) family {
	f := family{h: h, all: map[int64]*search.Candidate{}, of: search.CandidatesOf(h), runs: map[int64][]int64{}}
	for _, c := range search.Candidates(h) {
		f.all[c.ID] = c
		f.runs[c.ID] = slices.Clone(c.Runs)
	}
	for _, t := range h.Pending {
		f.runs[f.of[t.ID]] = append(f.runs[f.of[t.ID]], t.ID)
	}
	return f
}

func (a *API) candidate(r *http.Request) (any, error) {
	id, err := idOf(r)
	if err != nil {
		return nil, err
	}
	f := newFamily(a.o.Loop.History())
	c, err := read(r.Context(), a, func() (*candidateDetail, error) { return a.readCandidate(r.Context(), f, id) })
	if err != nil {
		return nil, err
	}
	a.claim(c)
	return c, nil
}

// claim adds what the judge says of it.
func (a *API) claim(c *candidateDetail) {
	now := a.o.Loop.Now()
	if now.Champion != nil && now.Champion.ID == c.ID {
		c.Champion, c.Claim = true, now.Champion.Claim
	}
	switch claim := now.Claim; {
	case claim == nil:
	case c.Champion:
		c.ClaimWords = claim.Words
	case claim.Proven == c.ID && c.Parent != 0:
		c.Claim = "confirmed"
	}
}

// find returns a candidate, or says whose run it is that has this id.
func (f family) find(id int64) (*search.Candidate, error) {
	if c := f.all[id]; c != nil {
		return c, nil
	}
	if of := f.of[id]; of != 0 {
		return nil, missing("there is no candidate %d: trial %d is a run of candidate %d", id, id, of)
	}
	return nil, missing("there is no candidate %d: a candidate has the number of its first run", id)
}

func (a *API) readCandidate(ctx context.Context, f family, id int64) (*candidateDetail, error) {
	of, err := f.find(id)
	if err != nil {
		return nil, err
	}
	first, err := a.o.Journal.Trial(id)
	if err != nil {
		return nil, err
	}
	c := &candidateDetail{
		Candidate: record.NewCandidate(of, first), Why: why(first.Trial.Proposal), Details: []run{}, Children: []int64{},
		AllConstants: values(first.Trial.Constants), ParentConstants: map[string]search.Value{},
	}
	if c.Diff, err = a.diff(ctx, first, of.Parent); err != nil {
		return nil, err
	}
	for _, trial := range f.runs[id] {
		rec := first
		if trial != id {
			if rec, err = a.o.Journal.Trial(trial); err != nil {
				return nil, err
			}
		}
		c.Details = append(c.Details, run{record.New(rec), rec.Trial.Budget, points(rec.Outcome.Curve)})
	}
	f.relate(c)
	_, c.Attachments = bundled(a.o.Folder(id))
	last := id
	if n := len(c.Details); n > 0 {
		last = c.Details[n-1].Trial.ID
	}
	c.LogTail, _ = bundled(a.o.Folder(last))
	return c, nil
}

// relate adds what other candidates have to do with it.
func (f family) relate(c *candidateDetail) {
	if p := f.all[c.Parent]; p != nil {
		c.ParentCandidate = &relative{p.ID, meanOf(p), p.Description}
		for i := range f.h.Done {
			if f.h.Done[i].Trial.ID == p.ID {
				c.ParentConstants = values(f.h.Done[i].Trial.Constants)
			}
		}
	}
	for _, other := range f.all {
		if other.Parent == c.ID {
			c.Children = append(c.Children, other.ID)
		}
	}
	slices.Sort(c.Children)
	before := f.h.Done
	if by := cmp.Or(f.all[c.ID].By, c.ID); by != 0 {
		if at := slices.IndexFunc(before, func(r search.Result) bool { return r.Trial.ID == by }); at >= 0 {
			before = before[:at]
		}
	}
	if _, champion := search.Ends(before); champion != nil && champion.ID != c.ID {
		c.ComparedWith = &compared{champion.ID, nil}
		if bpb, n := champion.ScoreOn(c.Class); n > 0 {
			c.ComparedWith.ValBPB = &bpb
		}
	}
}

func values(consts []search.Constant) map[string]search.Value {
	out := map[string]search.Value{}
	for _, c := range consts {
		out[c.Name] = c.Value
	}
	return out
}

// points are a curve as it is sent: step, seconds, tokens, loss, which is null
// where it is not a number.
func points(curve []search.Point) [][4]any {
	out := make([][4]any, len(curve))
	for i, p := range curve {
		var loss *float64
		if finite(p.Loss) {
			loss = &curve[i].Loss
		}
		out[i] = [4]any{p.Step, p.Seconds, p.Tokens, loss}
	}
	return out
}

// diff is what a candidate changed in its parent's train.py, from the record of
// its first run; empty where the study's start is not known.
func (a *API) diff(ctx context.Context, first journal.Record, parent int64) (string, error) {
	from, name, err := a.source(ctx, parent)
	if err != nil || name == "" {
		return "", err
	}
	return record.Diff(name, fmt.Sprintf("candidate %d", first.Trial.ID), from, first.Trial.Source), nil
}

// source is a candidate's train.py, or of 0 the study's start, with a name for
// it; "" where that is not known.
func (a *API) source(ctx context.Context, id int64) (text []byte, name string, err error) {
	if id != 0 {
		text, err = a.o.Journal.Source(id)
		return text, fmt.Sprintf("candidate %d", id), err
	}
	if a.o.Start == nil {
		return nil, "", nil
	}
	text, err = a.start.get(func() ([]byte, error) { return a.o.Start(context.WithoutCancel(ctx)) })
	return text, "start", err
}
