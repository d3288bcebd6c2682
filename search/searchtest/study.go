package searchtest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"autoresearchd/search"
)

// Study is a simulated study: the loop without a trainer.
type Study struct {
	Task      Task
	Overrides map[string]search.Override
	History   search.History
	Best      []float64 // val_bpb without noise of the champion, after each trial; +Inf before the first

	judge    search.Judge
	strategy search.Strategy
	noise    *rand.Rand
	next     int64
}

// NewStudy starts a study on a task with its baseline trial done.
func NewStudy(task Task, strategy search.Strategy, seed uint64) (*Study, error) {
	judge, err := search.LookupJudge("greedy")
	if err != nil {
		return nil, err
	}
	s := &Study{Task: task, judge: judge, strategy: strategy, noise: rand.New(rand.NewPCG(seed, 0x6e6f697365))}
	source, consts := Source(task.Lines)
	t := search.Trial{ID: 1, Source: source, Constants: consts, Seed: 42, Proposal: search.Proposal{Strategy: "baseline", Description: "baseline"}}
	s.next = 2
	s.History.Champion = t
	if s.History.Space, err = search.NewSpace(consts, nil); err != nil {
		return nil, err
	}
	return s, s.Finish(t, s.Outcome(t))
}

// Ask asks the strategy and admits what it proposes.
func (s *Study) Ask() (search.Trial, error) {
	p, err := s.strategy.Ask(context.Background(), s.History)
	if err != nil {
		return search.Trial{}, err
	}
	return s.Admit(p)
}

// Admit makes a trial of a proposal.
func (s *Study) Admit(p search.Proposal) (search.Trial, error) {
	parent, ok := s.find(p.Parent)
	if !ok {
		return search.Trial{}, fmt.Errorf("proposal %q names trial %d as its parent, which is unknown", p.Description, p.Parent)
	}
	source, consts, err := Apply(parent.Source, parent.Constants, p.Values)
	if err != nil {
		return search.Trial{}, fmt.Errorf("proposal %q: %w", p.Description, err)
	}
	t := search.Trial{ID: s.next, Proposal: p, Source: source, Constants: consts, Changed: search.Changed(parent.Constants, consts), Seed: 42}
	s.next++
	return t, nil
}

func (s *Study) find(id int64) (search.Trial, bool) {
	if id == s.History.Champion.ID {
		return s.History.Champion, true
	}
	for _, r := range s.History.Done {
		if r.Trial.ID == id {
			return r.Trial, true
		}
	}
	return search.Trial{}, false
}

// Outcome runs a trial on the task.
func (s *Study) Outcome(t search.Trial) search.Outcome {
	bpb, status := s.Task.True(Values(t.Constants))
	noise := s.Task.Noise * s.noise.NormFloat64()
	if status != search.Completed {
		return search.Outcome{Status: status}
	}
	return search.Outcome{Status: status, ValBPB: bpb + noise}
}

// Finish judges and records a trial, and tells the strategy.
func (s *Study) Finish(t search.Trial, o search.Outcome) error {
	r := search.Result{Trial: t, Outcome: o}
	r.Decision = s.judge.Judge(s.History, r)
	s.History.Done = append(s.History.Done, r)
	s.strategy.Tell(r)
	best := math.Inf(1)
	if n := len(s.Best); n > 0 {
		best = s.Best[n-1]
	}
	if r.Decision.Verdict == search.Keep {
		s.History.Champion = t
		var err error
		if s.History.Space, err = search.NewSpace(t.Constants, s.Overrides); err != nil {
			return err
		}
		if s.Task.True != nil {
			best, _ = s.Task.True(Values(t.Constants))
		}
	}
	s.Best = append(s.Best, best)
	return nil
}

// Simulate runs a study of so many trials, the baseline among them.
func Simulate(task Task, factory search.Factory, trials int, seed uint64) (*Study, error) {
	strategy, err := factory(seed, func(any) error { return nil })
	if err != nil {
		return nil, err
	}
	s, err := NewStudy(task, strategy, seed)
	if err != nil {
		return nil, err
	}
	for len(s.History.Done) < trials {
		t, err := s.Ask()
		if err != nil {
			return nil, err
		}
		if err := s.Finish(t, s.Outcome(t)); err != nil {
			return nil, err
		}
	}
	return s, nil
}
