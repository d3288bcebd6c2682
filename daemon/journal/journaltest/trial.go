package journaltest

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"autoresearchd/search"
	"autoresearchd/search/constraint"
	"autoresearchd/search/simulate"
)

var budget = search.Budget{Seconds: 300}

var strategies = []string{"evolution", "tpe", "gp", "cmaes", "llm"}

// Model is the name of the model that proposes.
const Model = "some-model"

// ideas are lines that a model adds to train.py.
var ideas = []string{
	"clip_gradients(1.0)", "soft_cap_logits(15)", "normalise_queries_and_keys()", "tie_embeddings()", "skip_first_layer()",
	"rotary_base(50000)", "square_relu()", "value_embeddings()", "warm_up_momentum()", "label_smoothing(0.01)",
}

// propose makes the trial id: the baseline, a re-run, a model's edit, or a
// strategy's step away from the champion.
func (s *study) propose(id int64) (search.Trial, error) {
	t := search.Trial{ID: id, Seed: 42, Budget: budget, Device: "cuda:0", AskedAt: s.now.Add(Pause / 4).Round(0), StartedAt: s.now.Add(Pause).Round(0)}
	p := &t.Proposal
	p.Parent = s.champion.Trial.ID
	champion := &s.champion.Trial
	var err error
	if again, ok := s.rerun(); ok {
		of := &s.done[again.Parent-1].Trial
		t.Proposal, t.Seed, t.Candidate = again, again.Seed, of.ID
		p.Description = of.Proposal.Description
		t.Source, t.Constants, t.Code, t.Changed = of.Source, of.Constants, of.Code, of.Changed
		return t, nil
	}
	switch strategy := strategies[id%int64(len(strategies))]; {
	case id == 1:
		p.Strategy, p.Description = "baseline", "baseline"
		t.AskedAt, t.StartedAt = time.Time{}, Start
		t.Source, t.Constants = simulate.Source(s.task.Lines)
	case id%17 == 0 && !s.o.Confirm:
		p.Strategy, p.Seed, t.Seed = search.Confirm, uint64(id), uint64(id)
		p.Description, p.Why = champion.Proposal.Description, "to see how much runs differ by luck"
		t.Candidate = p.Parent
		t.Source, t.Constants = champion.Source, champion.Constants
	case strategy == "llm":
		p.Strategy = strategy
		code := simulate.Code(champion.Source)
		idea := ideas[s.random.IntN(len(ideas))]
		if at := slices.Index(code, idea); at >= 0 {
			code = slices.Delete(code, at, at+1)
			p.Description = "do without " + idea
		} else {
			code = append(code, idea)
			p.Description = "try " + idea + ", which helped models of this size"
		}
		if p.Memo, err = json.Marshal(map[string]any{"llm": map[string]any{"kind": "edit", "model": Model, "expect": "about 0.002 lower val_bpb, since gradients are noisy early on", "base": p.Parent, "dollars": 0.0031}}); err != nil {
			return t, err
		}
		t.Source, t.Constants = simulate.Source(simulate.Lines(champion.Constants), code...)
	default:
		p.Strategy = strategy
		u := s.space.Encode(champion.Constants)
		for range 1 + s.random.IntN(2) {
			u[s.random.IntN(len(u))] += 0.15 * s.random.NormFloat64()
		}
		for i := range u {
			u[i] = min(1, max(0, u[i]))
		}
		u = s.space.Snap(u)
		p.Values, p.Description = s.space.Changes(u), s.space.Describe(u)
		if t.Source, t.Constants, err = simulate.Apply(champion.Source, champion.Constants, p.Values); err != nil {
			return t, err
		}
	}
	if s.o.Hostile && id > 1 {
		p.Description = Hostile[id%int64(len(Hostile))] + " " + p.Description
	}
	t.Code = constraint.Skeleton(t.Source, t.Constants)
	t.Changed = search.Changed(champion.Constants, t.Constants)
	if s.o.Confirm {
		t.Candidate = search.CandidateOf(s.history(), t)
	}
	return t, nil
}

// rerun is what the judge wants to have run again.
func (s *study) rerun() (search.Proposal, bool) {
	if r, ok := s.rule.(search.Rerunner); ok {
		return r.Rerun(s.history())
	}
	return search.Proposal{}, false
}

// value is what the modelled train.py would score: its constants', and a little
// for each idea in its code.
func (s *study) value(t *search.Trial) (float64, search.Status) {
	values := maps.Clone(simulate.Values(t.Constants))
	v, status := s.task.Noisy(values, uint64(t.ID))
	for _, line := range simulate.Code(t.Source) {
		v -= 0.0006 * float64(slices.Index(ideas, line)-4)
	}
	return v, status
}
