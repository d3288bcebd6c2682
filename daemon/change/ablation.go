package change

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
	"autoresearchd/search/constraint"
)

// Kind is the kind of suggestion, and the strategy's name, of a candidate that
// takes a kept change back.
const Kind = "ablation"

// Ablation is a candidate without one of the kept changes that it has.
type Ablation struct {
	Without Step
	// Conflict says that the change cannot be taken back alone, and why; "": it can.
	Conflict string
	// Source is the train.py without it, nil where that cannot be.
	Source     []byte
	Candidate  *search.Candidate // that has this program; nil: none was begun, or it was only interrupted
	Suggestion int64             // that waits for a trial; 0: none
}

// Words describe it: "without #7: DEPTH 4 -> 6".
func (a Ablation) Words() string {
	return fmt.Sprintf("without #%d: %s", a.Without.ID, a.Without.Change)
}

// Ablations takes each kept change of a candidate back once.
func (s *Study) Ablations(ctx context.Context, inspect Inspect, of int64) ([]Ablation, error) {
	chain, err := s.Chain(of)
	if err != nil {
		return nil, err
	}
	waiting, err := s.j.Suggestions()
	if err != nil {
		return nil, err
	}
	codes := map[int64]uint64{} // of those kept, which an imported trial does not have
	for _, step := range chain {
		for id, p := range map[int64]Program{step.ID: step.after, step.From: step.before} {
			codes[id] = constraint.Skeleton(p.Source, p.Constants)
		}
	}
	runs := slices.Clone(s.trial)
	for i := range runs {
		runs[i].Trial.Code = cmp.Or(runs[i].Trial.Code, codes[runs[i].Trial.Candidate])
	}
	var out []Ablation
	for i, step := range chain {
		a := Ablation{Without: step}
		without, err := Merge(ctx, inspect, step.after, chain[len(chain)-1].after, step.before)
		if a.Conflict, err = conflict(err); err != nil {
			return nil, err
		}
		if a.Conflict != "" {
			if a.Conflict, err = blame(ctx, inspect, step, chain[i+1:]); err != nil {
				return nil, err
			}
		}
		t := search.Trial{Source: without.Source, Constants: without.Constants}
		if a.Conflict == "" {
			t.Code = constraint.Skeleton(t.Source, t.Constants)
			if bytes.Equal(t.Source, chain[len(chain)-1].after.Source) {
				a.Conflict = fmt.Sprintf("nothing of it is left in #%d", of)
			}
		}
		if a.Conflict != "" {
			out = append(out, a)
			continue
		}
		a.Source = t.Source
		for _, r := range runs { // the last one counts: what failed may have been tried anew
			if c := s.all[r.Trial.Candidate]; search.SameProgram(t, r.Trial) && c.Standing != search.StandingInterrupted {
				a.Candidate = c
			}
		}
		at := slices.IndexFunc(waiting, func(g journal.Suggestion) bool {
			return g.Kind == Kind && g.Trial == 0 && g.Parent == of && g.Text == a.Words()
		})
		if at >= 0 {
			a.Suggestion = waiting[at].ID
		}
		out = append(out, a)
	}
	return out, nil
}

// blame names the first later step with which a step cannot be taken back.
func blame(ctx context.Context, inspect Inspect, step Step, later []Step) (string, error) {
	for _, l := range later {
		_, err := Merge(ctx, inspect, step.after, l.after, step.before)
		why, err := conflict(err)
		if err != nil {
			return "", err
		}
		if why != "" {
			return fmt.Sprintf("cannot be taken back alone: it and #%d %s", l.ID, why), nil
		}
	}
	return "cannot be taken back alone", nil
}

// Queue asks for each change of a candidate taken back once, where nobody has
// asked for that yet, and returns what was queued in words.
func (s *Study) Queue(ctx context.Context, inspect Inspect, of int64, suggest func(journal.Suggestion) error) (queued []string, err error) {
	all, err := s.Ablations(ctx, inspect, of)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.Source == nil || a.Candidate != nil || a.Suggestion != 0 {
			continue
		}
		if err := suggest(journal.Suggestion{Kind: Kind, Text: a.Words(), Parent: of, Source: a.Source, At: time.Now()}); err != nil {
			return queued, err
		}
		queued = append(queued, a.Words())
	}
	return queued, nil
}
