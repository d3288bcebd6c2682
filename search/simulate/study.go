// Package simulate plays whole studies without a trainer: the same loop,
// strategies and judges as the daemon's, on tasks whose truth is known. It is
// what `autoresearchd simulate` and the strategies' tests run.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"autoresearchd/search"
)

// Study is a simulated study: the loop without a trainer.
type Study struct {
	Task      Task
	Overrides map[string]search.Override // of the task's, to begin with
	Strategy  search.Strategy
	Judge     search.Judge
	History   search.History
	Best      []float64 // value without noise of the champion, after each trial; +Inf before the first
	Values    []float64 // as measured, NaN for a trial that has none; the task's own scale
	Trials    int       // that the study is to have; 0: nobody knows

	ctx          context.Context
	seed         uint64
	noise        *rand.Rand
	edits        *rand.Rand
	next         int64
	sources      map[int64][]byte
	raw          map[int64]float64
	offset, unit float64 // of a foreign scale, from its first value
}

// NewStudy starts a study under the greedy judge, its first trial done.
func NewStudy(task Task, strategy search.Strategy, seed uint64) (*Study, error) {
	judge, err := search.LookupJudge("greedy")
	if err != nil {
		return nil, err
	}
	return Begin(context.Background(), task, strategy, judge, seed)
}

// Begin starts a study, its first trial done: the constants as they stand. ctx
// is the whole study's.
func Begin(ctx context.Context, task Task, strategy search.Strategy, judge search.Judge, seed uint64) (*Study, error) {
	s := &Study{Task: task, Overrides: task.Overrides, Strategy: strategy, Judge: judge, ctx: ctx, seed: seed, next: 1,
		noise: rand.New(rand.NewPCG(seed, 0x6e6f697365)), edits: rand.New(rand.NewPCG(seed, 0x656469746f72)),
		sources: map[int64][]byte{}, raw: map[int64]float64{}}
	source, consts := Source(task.Lines)
	t := s.trial(search.Proposal{Strategy: "baseline", Description: "baseline"}, source, consts, consts)
	s.History.Champion = t
	var err error
	if s.History.Space, err = search.NewSpace(consts, s.Overrides); err != nil {
		return nil, err
	}
	o, err := s.Measure(t)
	if err != nil {
		return nil, err
	}
	return s, s.Finish(t, o)
}

// StudySeed is the seed of trials that name none.
const StudySeed = 42

func (s *Study) trial(p search.Proposal, source []byte, consts, before []search.Constant) search.Trial {
	t := search.Trial{ID: s.next, Proposal: p, Source: source, Constants: consts, Changed: search.Changed(before, consts), Seed: p.Seed}
	if t.Seed == 0 {
		t.Seed = StudySeed
	}
	s.next++
	s.sources[t.ID] = source
	return t
}

// Turn is one trial, from the question to what was learned.
func (s *Study) Turn() (search.Result, error) {
	t, err := s.Ask()
	if err != nil {
		return search.Result{}, err
	}
	if p, ok := s.Strategy.(search.Preparer); ok { // as the daemon does while a trial runs
		h := s.History
		h.Pending = append(slices.Clone(h.Pending), t)
		p.Prepare(s.ctx, h)
	}
	o, err := s.Measure(t)
	if err != nil {
		return search.Result{}, err
	}
	if err := s.Finish(t, o); err != nil {
		return search.Result{}, err
	}
	return s.History.Done[len(s.History.Done)-1], nil
}

// Ask asks the judge for a re-run, the stream of edits, or the strategy, and
// admits what is proposed.
func (s *Study) Ask() (search.Trial, error) {
	s.History.Trials = s.Trials
	if c, ok := s.Judge.(search.Rerunner); ok {
		if p, ok := c.Rerun(s.History); ok {
			return s.Admit(p)
		}
	}
	if e := s.Task.Edits; e != nil && s.edits.Float64() < e.Share {
		if p, ok := e.Propose(s.edits, s.History.Champion); ok {
			return s.Admit(p)
		}
	}
	p, err := s.Strategy.Ask(s.ctx, s.History)
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
	source, consts := s.sources[parent.ID], parent.Constants
	if source == nil {
		source = parent.Source
	}
	if p.Source != nil {
		source = p.Source
		var err error
		if consts, err = Read(source); err != nil {
			return search.Trial{}, fmt.Errorf("proposal %q: train.py: %w", p.Description, err)
		}
	}
	source, consts, err := Apply(source, consts, p.Values)
	if err != nil {
		return search.Trial{}, fmt.Errorf("proposal %q: %w", p.Description, err)
	}
	return s.trial(p, source, consts, parent.Constants), nil
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

// truth is a trial's value without noise.
func (s *Study) truth(t search.Trial) (float64, search.Status) {
	if e := s.Task.Edits; e != nil {
		return e.value(t.Source, Values(t.Constants), s.Task.True)
	}
	return s.Task.True(Values(t.Constants))
}

// Outcome runs a trial on a task of its own.
func (s *Study) Outcome(t search.Trial) search.Outcome {
	v, status := s.truth(t)
	noise := s.Task.Noise * s.noise.NormFloat64()
	if status != search.Completed {
		return search.Outcome{Status: status}
	}
	return search.Outcome{Status: status, ValBPB: s.score(t.ID, v+noise)}
}

// Truth is a trial's value without noise; NaN if it has none or is unknown.
func (s *Study) Truth(id int64) float64 {
	t, ok := s.find(id)
	if !ok || s.Task.True == nil {
		return math.NaN()
	}
	v, status := s.truth(t)
	if status != search.Completed {
		return math.NaN()
	}
	return v
}

// Measure runs a trial. Its error ends the study.
func (s *Study) Measure(t search.Trial) (search.Outcome, error) {
	if s.Task.Measure == nil {
		return s.Outcome(t), nil
	}
	seed := rand.New(rand.NewPCG(s.seed, uint64(t.ID))).Uint64N(1<<31-1) + 1
	m, err := s.Task.Measure(s.ctx, t.ID, Values(t.Constants), seed)
	if err != nil || m.Status != search.Completed {
		return search.Outcome{Status: m.Status, Detail: m.Detail}, err
	}
	return search.Outcome{Status: m.Status, ValBPB: s.score(t.ID, m.Value)}, nil
}

// score brings a foreign value to a scale on which judges believe it: 10 is the
// first one, and a unit its size. Only what is nine times as far away is bent.
func (s *Study) score(id int64, v float64) float64 {
	s.raw[id] = v
	if !s.Task.Foreign {
		return v
	}
	if s.unit == 0 {
		s.offset, s.unit = v, math.Abs(v)
		if s.unit < 1e-9 {
			s.unit = 1
		}
	}
	x := (v - s.offset) / s.unit
	if far := math.Abs(x) - 9; far > 0 {
		x = math.Copysign(9+0.99*far/(1+far), x)
	}
	return 10 + x
}

// Finish judges and records a trial, and tells the strategy.
func (s *Study) Finish(t search.Trial, o search.Outcome) error {
	r := search.Result{Trial: t, Outcome: o}
	r.Decision = s.Judge.Judge(s.known(), r)
	s.History.Done = append(s.History.Done, r)
	s.Strategy.Tell(r)
	best := math.Inf(1)
	if n := len(s.Best); n > 0 {
		best = s.Best[n-1]
	}
	value, ok := s.raw[t.ID]
	if _, scored := r.Score(); !ok || !scored {
		value = math.NaN()
	}
	if r.Decision.Verdict == search.Keep {
		s.History.Champion = t
		var err error
		// As in the daemon, an edit may have dropped a constant that an override
		// names: the rest of the space is sound.
		if s.History.Space, err = search.NewSpace(t.Constants, s.Overrides); err != nil && s.Task.Edits == nil {
			return err
		}
		if best = value; s.Task.True != nil {
			best, _ = s.truth(t)
		}
	}
	s.Best = append(s.Best, best)
	s.Values = append(s.Values, value)
	return nil
}

// known is the history as judges are given it: without a champion before the
// first.
func (s *Study) known() search.History {
	h := s.History
	if len(h.Done) == 0 {
		h.Champion = search.Trial{}
	}
	return h
}

// Run runs a study of so many trials, the baseline among them.
func Run(task Task, factory search.Factory, trials int, seed uint64) (*Study, error) {
	strategy, err := factory(search.Environment{Seed: seed})
	if err != nil {
		return nil, err
	}
	s, err := NewStudy(task, strategy, seed)
	if err != nil {
		return nil, err
	}
	s.Trials = trials
	for len(s.History.Done) < trials {
		if _, err := s.Turn(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Exhausted reports whether a study ends because everything has been tried.
func Exhausted(err error) bool {
	return errors.Is(err, search.ErrExhausted) || errors.Is(err, search.ErrNoDimension)
}

// Source returns the train.py of a trial; 0 is the start.
func (s *Study) Source(id int64) ([]byte, error) {
	if source, ok := s.sources[max(id, 1)]; ok {
		return source, nil
	}
	return nil, fmt.Errorf("there is no trial %d", id)
}
