// Package simulate plays whole studies without a trainer: the same turns,
// strategies and judges as the daemon's, on tasks whose truth is known. It is
// what `autoresearchd simulate` and the strategies' tests run.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"autoresearchd/search"
	"autoresearchd/search/turn"
)

// Study is a simulated study: the loop without a trainer.
type Study struct {
	Task      Task
	Overrides map[string]search.Override // of the task's, to begin with
	Strategy  search.Strategy
	Judge     search.Judge
	History   search.History
	Best      []float64 // value without noise of the champion, after each decision; +Inf before the first
	Values    []float64 // as measured, NaN for a trial that has none; the task's own scale
	Trials    int       // that the study is to have; 0: nobody knows
	Places              // where trials run at once

	ctx          context.Context
	seed         uint64
	noise        *rand.Rand
	edits        *rand.Rand
	next         int64
	sources      map[int64][]byte
	raw          map[int64]float64
	offset, unit float64 // of a foreign scale, from its first value
	clock        float64
	ends         map[int64]float64 // of pending trials, by the clock
	at           map[int64]int     // the places of trials
	place        int               // of the trial that is asked for
}

// NewStudy starts a study under the greedy judge, its first trial done. It, Run and
// RunAt are the bench on which strategies are tested, here and in their own folders.
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
	return BeginAt(ctx, Places{}, task, strategy, judge, seed)
}

// BeginAt is Begin where trials run at places, the first at the first one.
func BeginAt(ctx context.Context, places Places, task Task, strategy search.Strategy, judge search.Judge, seed uint64) (*Study, error) {
	s := &Study{Task: task, Overrides: task.Overrides, Strategy: strategy, Judge: judge, ctx: ctx, seed: seed, next: 1,
		noise: rand.New(rand.NewPCG(seed, 0x6e6f697365)), edits: rand.New(rand.NewPCG(seed, 0x656469746f72)),
		sources: map[int64][]byte{}, raw: map[int64]float64{}, ends: map[int64]float64{}, at: map[int64]int{}}
	s.Classes, s.ConfirmOn = places.Classes, places.ConfirmOn
	_, consts := Source(task.Lines)
	if _, err := search.NewSpace(consts, s.Overrides); err != nil {
		return nil, err
	}
	r, err := s.Turn()
	if err == nil && s.History.Champion.ID == 0 { // without a score it is where proposals start from all the same
		s.History.Champion = r.Trial
		s.History.Space, err = search.NewSpace(consts, s.Overrides)
	}
	s.Places = places
	return s, err
}

// StudySeed is the seed of trials that name none.
const StudySeed = 42

// Ask asks for the trial that comes next: the judge's re-run, an edit of the
// stream of edits, or the strategy's, unless it is vetoed. It has not begun.
func (s *Study) Ask() (search.Trial, error) {
	s.History.Trials = s.Trials
	strategy := s.Strategy
	if s.Task.Edits != nil {
		strategy = editor{s}
	}
	t, _, err := turn.Turn{World: s.world(), Strategy: strategy, Name: "strategy", Judge: s.Judge, Seed: StudySeed,
		Kind: s.class(s.place).Kind, ConfirmOn: s.ConfirmOn}.Next(s.ctx, s.History)
	if err != nil {
		return search.Trial{}, err
	}
	return s.name(t), nil
}

// Admit makes a trial of a proposal, whatever it is worth.
func (s *Study) Admit(p search.Proposal) (search.Trial, error) {
	t, _, err := turn.Turn{World: s.world(), Seed: StudySeed}.Admit(s.ctx, p)
	if err != nil {
		return search.Trial{}, err
	}
	return s.name(t), nil
}

// name gives a trial its id.
func (s *Study) name(t search.Trial) search.Trial {
	t.ID = s.next
	s.next++
	s.sources[t.ID] = t.Source
	return t
}

// editor is a strategy beside which there is a stream of edits.
type editor struct{ *Study }

func (e editor) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if e.edits.Float64() >= e.Task.Edits.Share {
		return e.Strategy.Ask(ctx, h)
	}
	tried := make(map[string]bool, len(e.sources))
	for _, source := range e.sources {
		tried[string(source)] = true
	}
	for range 50 {
		p, ok := e.Task.Edits.Propose(e.edits, h.Champion)
		if ok && tried[string(p.Source)] {
			continue // it would be vetoed
		}
		if ok {
			return p, nil
		}
		break
	}
	return e.Strategy.Ask(ctx, h)
}

func (e editor) Tell(r search.Result) { e.Strategy.Tell(r) }

// world reads what Source wrote.
func (s *Study) world() turn.World {
	read := func(_ context.Context, source []byte) ([]search.Constant, string, error) {
		constants, err := Read(source)
		if err != nil {
			return nil, err.Error(), nil
		}
		return constants, "", nil
	}
	return turn.World{
		Parent: func(_ context.Context, id int64) ([]byte, []search.Constant, error) {
			source, err := s.Source(id)
			if err != nil {
				return nil, nil, fmt.Errorf("find the parent of a proposal: %w", err)
			}
			constants, err := Read(source)
			return source, constants, err
		},
		Inspect: read,
		Examine: func(ctx context.Context, source []byte) ([]search.Constant, string, error) {
			constants, fault, err := read(ctx, source)
			if fault == "" && err == nil {
				if again, _ := Source(Lines(constants), Code(source)...); string(again) != string(source) {
					return nil, fmt.Sprintf("the patch changed more than literals:\n%s", source), nil
				}
			}
			return constants, fault, err
		},
	}
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
	v += s.class(s.at[t.ID]).Offset
	noise := s.Task.Noise * s.noise.NormFloat64()
	if status != search.Completed {
		return search.Outcome{Status: status}
	}
	return search.Outcome{Status: status, ValBPB: s.score(t.ID, v+noise)}
}

// Value is what a decided trial was measured at, on the task's own scale; NaN if
// it has none.
func (s *Study) Value(id int64) float64 {
	for i, r := range s.History.Done {
		if r.Trial.ID == id {
			return s.Values[i]
		}
	}
	return math.NaN()
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
	r.Decision = turn.Decide(s.Judge, s.History, r)
	s.History = turn.After(s.History, r)
	delete(s.ends, t.ID)
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

// Run runs a study of so many trials, the baseline among them.
func Run(task Task, factory search.Factory, trials int, seed uint64) (*Study, error) {
	return RunAt(Places{}, task, factory, trials, seed)
}

// RunAt is Run with several trials at once.
func RunAt(places Places, task Task, factory search.Factory, trials int, seed uint64) (*Study, error) {
	strategy, err := factory(search.Environment{Seed: seed})
	if err != nil {
		return nil, err
	}
	judge, err := search.LookupJudge("greedy")
	if err != nil {
		return nil, err
	}
	s, err := BeginAt(context.Background(), places, task, strategy, judge, seed)
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
	return errors.Is(err, search.ErrExhausted) || errors.Is(err, search.ErrNoDimension) || errors.Is(err, turn.ErrTried)
}

// Source returns the train.py of a trial; 0 is the start.
func (s *Study) Source(id int64) ([]byte, error) {
	if id == 0 {
		source, _ := Source(s.Task.Lines)
		return source, nil
	}
	if source, ok := s.sources[id]; ok {
		return source, nil
	}
	return nil, fmt.Errorf("there is no trial %d", id)
}
