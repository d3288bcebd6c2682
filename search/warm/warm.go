// Package warm starts a study from what earlier ones learned: before its
// strategy is asked, the best settings of earlier studies are tried here, as
// hyperparameter searches are initialised from similar tasks (Feurer, AAAI
// 2015). Their scores are never believed, since they were measured with another
// budget, machine or data: only the trial here counts.
package warm

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"autoresearchd/search"
)

// Name is the strategy's name of the trials that are proposed here.
const Name = "warm"

// PerStudy is how many settings of each earlier study are tried.
const PerStudy = 3

type strategy struct {
	search.Strategy
	ideas []idea
}

// idea is a setting to try.
type idea struct {
	from      string
	gain      float64 // below its own study's baseline, as a share of it
	constants []search.Constant
}

// Wrap returns a Strategy that tries the best settings of earlier studies first
// and then is s. Without any it is s itself.
func Wrap(s search.Strategy, earlier []search.Earlier) search.Strategy {
	var ideas []idea
	for _, e := range earlier {
		ideas = append(ideas, best(e)...)
	}
	if len(ideas) == 0 {
		return s
	}
	// Studies take turns, their best first.
	slices.SortStableFunc(ideas, func(a, b idea) int { return cmp.Compare(b.gain, a.gain) })
	return &strategy{s, ideas}
}

// best are the settings of a study that gained most over its baseline.
func best(e search.Earlier) []idea {
	var baseline float64
	var start []search.Constant
	var out []idea
	for _, r := range e.Done {
		bpb, ok := r.Score()
		switch {
		case !ok || len(r.Trial.Constants) == 0:
		case baseline == 0:
			baseline, start = bpb, r.Trial.Constants // the first score, as everywhere
		case bpb < baseline && r.Decision.Verdict == search.Keep:
			out = append(out, idea{fmt.Sprintf("trial %d of study %s", r.Trial.ID, e.Name), 1 - bpb/baseline, moved(start, r.Trial.Constants)})
		}
	}
	slices.SortStableFunc(out, func(a, b idea) int { return cmp.Compare(b.gain, a.gain) })
	return out[:min(len(out), PerStudy)]
}

// moved are the constants that a study has changed: the rest belongs to its
// machine and budget as much as to what it learned.
func moved(start, now []search.Constant) []search.Constant {
	changed := search.Changed(start, now)
	return slices.DeleteFunc(slices.Clone(now), func(c search.Constant) bool { return !slices.Contains(changed, c.Name) })
}

func (s *strategy) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if err := ctx.Err(); err != nil {
		return search.Proposal{}, err
	}
	if h.Space.Len() > 0 {
		seen := search.SeenIn(h)
		for _, i := range s.ideas {
			u := h.Space.Snap(h.Space.Encode(i.constants))
			if len(h.Space.Changes(u)) == 0 || seen[h.Space.Fingerprint(u)] {
				continue
			}
			p := h.Propose(Name, u)
			p.Description = "as " + i.from + ": " + p.Description
			return p, nil
		}
	}
	return s.Strategy.Ask(ctx, h)
}

// Prepare implements search.Preparer.
func (s *strategy) Prepare(ctx context.Context, h search.History) {
	if p, ok := s.Strategy.(search.Preparer); ok {
		p.Prepare(ctx, h)
	}
}

// Weights implements search.Weigher.
func (s *strategy) Weights(h search.History) map[string]float64 {
	if w, ok := s.Strategy.(search.Weigher); ok {
		return w.Weights(h)
	}
	return nil
}

// Close implements search.Closer.
func (s *strategy) Close() {
	if c, ok := s.Strategy.(search.Closer); ok {
		c.Close()
	}
}
