package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
	"autoresearchd/search/llm"
)

// trial is everything about one trial.
type trial struct {
	record.Trial
	Why          string                  `json:"why"`
	Diff         string                  `json:"diff"` // of train.py, against the parent's
	ParentTrial  *relative               `json:"parent_trial"`
	ComparedWith *compared               `json:"compared_with"` // the champion before it
	Curve        [][4]any                `json:"curve"`         // step, seconds, tokens, loss
	LogTail      string                  `json:"log_tail"`
	AllConstants map[string]search.Value `json:"all_constants"`
	Detail       string                  `json:"detail"`
	Flags        []string                `json:"flags"`
	Summary      map[string]string       `json:"summary"`
	Attachments  []string                `json:"attachments"`
	Children     []int64                 `json:"children"`
}

type relative struct {
	ID          int64    `json:"id"`
	ValBPB      *float64 `json:"val_bpb"`
	Description string   `json:"description"`
}

type compared struct {
	ID     int64    `json:"id"`
	ValBPB *float64 `json:"val_bpb"` // what was known of it then
}

// idOf reads the trial's number out of the path.
func idOf(r *http.Request) (int64, error) {
	text := r.PathValue("id")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, missing("there is no trial %.40q: trials are numbered from 1, %strials lists them", text, Prefix)
	}
	return id, nil
}

func (a *API) trial(r *http.Request) (any, error) {
	id, err := idOf(r)
	if err != nil {
		return nil, err
	}
	t, err := read(r.Context(), a, func() (*trial, error) { return a.readTrial(r.Context(), id) })
	if err != nil {
		return nil, err
	}
	done := a.o.Loop.History().Done
	t.relate(id, done, a.levels.of(done))
	return t, nil
}

func (a *API) readTrial(ctx context.Context, id int64) (*trial, error) {
	rec, err := a.o.Journal.Trial(id)
	if errors.Is(err, journal.ErrUnknown) {
		return nil, missing("there is no trial %d: %strials lists those that there are", id, Prefix)
	}
	if err != nil {
		return nil, err
	}
	t := &trial{
		Trial: record.New(rec), Why: rec.Trial.Proposal.Description, AllConstants: map[string]search.Value{}, Curve: [][4]any{}, Children: []int64{},
		Detail: rec.Outcome.Detail, Flags: rec.Outcome.Flags, Summary: rec.Outcome.Summary,
	}
	if expected := llm.Expected(rec.Trial.Proposal); expected != "" {
		t.Why += "\n\nExpected: " + expected
	}
	if t.Flags == nil {
		t.Flags = []string{}
	}
	if t.Summary == nil {
		t.Summary = map[string]string{}
	}
	for _, c := range rec.Trial.Constants {
		t.AllConstants[c.Name] = c.Value
	}
	for _, p := range rec.Outcome.Curve {
		var loss *float64
		if finite(p.Loss) {
			loss = &p.Loss
		}
		t.Curve = append(t.Curve, [4]any{p.Step, p.Seconds, p.Tokens, loss})
	}
	if t.Diff, err = a.diff(ctx, rec); err != nil {
		return nil, err
	}
	t.LogTail, t.Attachments = bundled(a.o.Folder(id))
	return t, nil
}

// diff is what a trial changed in train.py; empty where the study's start is
// not known.
func (a *API) diff(ctx context.Context, rec journal.Record) (string, error) {
	name := "start"
	var from []byte
	var err error
	if parent := rec.Trial.Proposal.Parent; parent != 0 {
		name = fmt.Sprintf("trial %d", parent)
		from, err = a.o.Journal.Source(parent)
	} else if a.o.Start == nil {
		return "", nil
	} else {
		from, err = a.start.get(func() ([]byte, error) { return a.o.Start(context.WithoutCancel(ctx)) })
	}
	if err != nil {
		return "", err
	}
	return record.Diff(name, fmt.Sprintf("trial %d", rec.Trial.ID), from, rec.Trial.Source), nil
}

// relate adds what other trials have to do with it.
func (t *trial) relate(id int64, done []search.Result, levels []float64) {
	before := len(done) // finished trials before it
	champion := -1
	for i := range done {
		r := &done[i]
		switch {
		case r.Trial.ID >= id:
			before = min(before, i)
		case r.Decision.Verdict == search.Keep:
			champion = i
		}
		if r.Trial.ID == t.Parent {
			t.ParentTrial = &relative{r.Trial.ID, scoreOf(r), r.Trial.Proposal.Description}
		}
		if r.Trial.Proposal.Parent == id {
			t.Children = append(t.Children, r.Trial.ID)
		}
	}
	if champion < 0 {
		return
	}
	t.ComparedWith = &compared{ID: done[champion].Trial.ID}
	if level := levels[before-1]; finite(level) {
		t.ComparedWith.ValBPB = &level
	}
}
