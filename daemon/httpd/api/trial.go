package api

import (
	"context"
	"errors"
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
	Diff         string                  `json:"diff"` // of its candidate's train.py, against that one's parent's
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
		Trial: record.New(rec), Why: why(rec.Trial.Proposal), AllConstants: values(rec.Trial.Constants), Curve: points(rec.Outcome.Curve), Children: []int64{},
		Detail: rec.Outcome.Detail, Flags: rec.Outcome.Flags, Summary: rec.Outcome.Summary,
	}
	if t.Flags == nil {
		t.Flags = []string{}
	}
	if t.Summary == nil {
		t.Summary = map[string]string{}
	}
	first := rec
	if c := rec.Trial.Candidate; c != 0 && c != id {
		if first, err = a.o.Journal.Trial(c); err != nil {
			return nil, err
		}
	}
	if t.Diff, err = a.diff(ctx, first, first.Trial.Proposal.Parent); err != nil {
		return nil, err
	}
	t.LogTail, t.Attachments = bundled(a.o.Folder(id))
	return t, nil
}

// why is a proposal's description with what its model expected of it.
func why(p search.Proposal) string {
	if expected := llm.Expected(p); expected != "" {
		return p.Description + "\n\nExpected: " + expected
	}
	return p.Description
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
	level := levels[before-1]
	if !search.Alike(t.Class, done[champion].Trial.Kind) { // it is known elsewhere
		_, c := search.Ends(done[:before])
		level, _ = c.ScoreOn(t.Class)
	}
	if finite(level) {
		t.ComparedWith.ValBPB = &level
	}
}
