package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/study"
	"autoresearchd/search"
	"autoresearchd/search/constraint"
	"autoresearchd/search/warm"
)

// proposer makes trials for whichever seat asks, one after another: each
// proposal knows what is pending.
type proposer struct {
	o     Options
	study *study.Study
	end   func() int // how many trials the study is to have; 0: no end in sight

	turn      sync.Mutex // one proposal after another; what follows is its
	strategy  search.Strategy
	earlier   []search.Earlier // studies that [search] warm_start names
	told      int              // how many of what is done the strategy knows
	passed    map[int64]bool   // suggestions that do not fit the champion any more
	complaint string           // the last about [search.space], so that it is said once
	preparing *preparation     // nil: none

	mu       sync.Mutex
	config   *config.Config // in force
	judge    search.Judge
	next     *config.Config     // to come into force before the next proposal; nil: none
	weights  map[string]float64 // what a portfolio makes of its strategies
	reloaded time.Time
	refusal  string // why the last reload was refused; empty: it was not
}

func newProposer(o Options, end func() int) (*proposer, error) {
	p := &proposer{o: o, study: o.Study, end: end, config: o.Config, passed: map[int64]bool{}, reloaded: time.Now()}
	var err error
	if p.earlier, err = study.Earlier(o.Config.Search.WarmStart); err != nil {
		return nil, err
	}
	if p.strategy, p.judge, err = p.plugins(o.Config); err != nil {
		return nil, err
	}
	return p, nil
}

// plugins builds the strategy and the judge that a configuration names.
func (p *proposer) plugins(c *config.Config) (search.Strategy, search.Judge, error) {
	t, err := p.tools(c)
	if err != nil {
		return nil, nil, err
	}
	strategy, err := p.o.Registry.Build(c.Search.Strategy, search.Environment{Seed: p.study.About().Seed, Tools: t})
	if err != nil {
		return nil, nil, err
	}
	judge, err := search.LookupJudge(c.Judge.Rule)
	if err != nil {
		return nil, nil, err
	}
	return warm.Wrap(strategy, p.earlier), judge, nil
}

// rules are what is in force.
func (p *proposer) rules() (*config.Config, search.Judge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.config, p.judge
}

// vetoes bounds how many proposals for one trial may be vetoed.
const vetoes = 5

// begin asks until it gets a trial that is worth the device, and begins it. may
// is asked when it is this seat's turn. To the strategy a vetoed trial is
// pending, so that it proposes something else. An error with a trial that has
// an id is about one that has begun, and cannot run.
func (p *proposer) begin(ctx context.Context, d Device, may func() error, say func(string)) (search.Trial, error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.reload()
	p.tell()
	var vetoed []search.Trial
	for {
		if err := may(); err != nil {
			return search.Trial{}, err
		}
		proposal, err := p.ask(ctx, vetoed, say)
		if err != nil {
			return search.Trial{}, err
		}
		proposal.vetoed = vetoed
		say("preparing the trial")
		t, err := p.admit(ctx, d, proposal)
		switch {
		case errors.Is(err, errVetoed):
			vetoed = append(vetoed, t)
		case errors.Is(err, errUnfit) && proposal.suggestion != 0:
			// A champion came between that has not its constants: the study must not wait for it.
			p.passed[proposal.suggestion] = true
			p.o.Log.Error("a suggestion is passed over", "err", err)
		case err != nil:
			return t, err
		default:
			p.prepare(ctx, t)
			return t, nil
		}
	}
}

// learn tells the strategy what it has not been told yet, unless it is being
// asked: then the next proposal begins with that.
func (p *proposer) learn() {
	if p.turn.TryLock() {
		defer p.turn.Unlock()
		p.tell()
	}
}

// tell does it, in the order of History.Done. turn is held.
func (p *proposer) tell() {
	done := p.study.History().Done
	for _, r := range done[p.told:] {
		p.strategy.Tell(r)
	}
	p.told = len(done)
	var weights map[string]float64
	if w, ok := p.strategy.(search.Weigher); ok {
		weights = w.Weights(search.History{Done: done})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weights = weights
}

// ask gets the next proposal: the baseline while there is no score to beat, a
// person's suggestion, or the strategy's.
func (p *proposer) ask(ctx context.Context, vetoed []search.Trial, say func(string)) (proposed, error) {
	p.o.Progress()
	h := p.history(vetoed)
	if h.Champion.ID == 0 {
		return proposed{Proposal: search.Proposal{Strategy: "baseline", Description: "baseline"}}, nil
	}
	suggestions, err := p.study.Waiting(kindValues)
	if err != nil {
		return proposed{}, err
	}
	for _, g := range suggestions {
		if !p.passed[g.ID] {
			return proposed{Proposal: suggested(g, h.Champion), suggestion: g.ID}, nil
		}
	}
	if j, ok := p.judge.(search.Rerunner); ok {
		if p, ok := j.Rerun(h); ok {
			return proposed{Proposal: p}, nil
		}
	}
	name := p.config.Search.Strategy
	say("asking " + name)
	begin := time.Now()
	q, err := p.strategy.Ask(ctx, h)
	if p.o.Meter != nil {
		p.o.Meter.ObserveAsk(name, time.Since(begin))
	}
	if err != nil {
		return proposed{}, fmt.Errorf("ask strategy %s: %w", name, err)
	}
	// A portfolio names who it asked; other names have a meaning here.
	if _, err := p.o.Registry.Lookup(q.Strategy); err != nil && q.Strategy != warm.Name {
		q.Strategy = name
	}
	return proposed{Proposal: q, suggestion: p.idea(q), checked: true}, nil
}

// proposed is a proposal and the suggestion that it came from, if any.
type proposed struct {
	search.Proposal
	suggestion int64
	checked    bool           // a strategy's: it is looked at before it touches the device
	vetoed     []search.Trial // what was proposed before it and vetoed
}

// history is what strategies may know.
func (p *proposer) history(vetoed []search.Trial) search.History {
	h := p.study.History()
	h.Pending = append(h.Pending, vetoed...)
	h.Earlier, h.Trials = p.earlier, p.end()
	if h.Champion.ID == 0 {
		return h
	}
	// A kept edit may have dropped a constant that an override names: the rest
	// of the space is sound, and the study goes on in it.
	var err error
	if h.Space, err = search.NewSpace(h.Champion.Constants, p.config.Search.Overrides()); err != nil && err.Error() != p.complaint {
		p.complaint = err.Error()
		p.o.Log.Warn("some of [search.space] does not fit the champion any more", "err", err)
	}
	return h
}

// errUnfit says that a proposal cannot be applied to its parent.
var errUnfit = errors.New("it does not fit its parent")

// admit turns a proposal into a trial: its full source, every constant
// resolved, its seed, and its folder, durably begun.
func (p *proposer) admit(ctx context.Context, d Device, q proposed) (search.Trial, error) {
	parent, err := p.study.Parent(ctx, q.Parent)
	if err != nil {
		return search.Trial{}, err
	}
	source, constants := parent.Source, parent.Constants
	if q.Source != nil {
		source = q.Source
		i, err := p.o.Trainer.Inspect(ctx, source)
		if err != nil {
			return search.Trial{}, err
		}
		if constants = i.Constants; i.Error != "" {
			return search.Trial{}, fmt.Errorf("proposal %q of %s: train.py: %s", q.Description, q.Strategy, i.Error)
		}
	}
	if source, err = search.Patch(source, constants, q.Values); err != nil {
		return search.Trial{}, fmt.Errorf("proposal %q of %s: %w: %w", q.Description, q.Strategy, errUnfit, err)
	}
	i, fault, err := p.study.Examine(ctx, source)
	if err != nil {
		return search.Trial{}, err
	}
	if fault != "" {
		return search.Trial{}, fmt.Errorf("train.py cannot be a trial: %s", fault)
	}
	t := search.Trial{
		Proposal: q.Proposal, Source: source, Constants: i.Constants, Changed: search.Changed(parent.Constants, i.Constants),
		Code: constraint.Skeleton(source, i.Constants),
		Seed: q.Seed, Budget: p.config.Trial.Budget, Device: d.Name, StartedAt: time.Now().UTC(),
	}
	if t.Seed == 0 {
		t.Seed = p.study.About().Seed
	}
	t.Audit = p.config.Judge.Audit && search.IsRerun(t)
	if q.checked {
		if t, err = p.worthIt(ctx, d, t, parent.Constants, q.vetoed); err != nil {
			return t, err
		}
	}
	t.ID, t.Proposal.Source = 0, nil // the journal keeps the full one, and gives the id
	if t.Proposal.Ideas = nil; q.suggestion != 0 && len(q.Ideas) > 0 {
		t.Proposal.Ideas = []int64{q.suggestion}
	}
	return p.study.Begin(ctx, t, parent.Commit, q.suggestion)
}

// errVetoed says that a trial is not worth the device.
var errVetoed = errors.New("vetoed")

// worthIt looks at a strategy's trial before it touches the device: one that
// repeats another or would not fit is vetoed, one that nearly fits is mended.
func (p *proposer) worthIt(ctx context.Context, d Device, t search.Trial, before []search.Constant, vetoed []search.Trial) (search.Trial, error) {
	h := p.history(vetoed)
	limits := p.config.Watchdog
	v := constraint.Check(h, t, constraint.Options{Memory: d.Memory, FirstStep: time.Duration(limits.Startup + limits.Compile).Seconds()})
	switch v.Action {
	case constraint.Veto:
		if len(vetoed) >= vetoes {
			if v.Like != 0 {
				return search.Trial{}, fmt.Errorf("strategy %s proposes only what has been tried: %q: %s", t.Proposal.Strategy, t.Proposal.Description, v.Reason)
			}
			return t, nil // what is believed of memory and time can be wrong: this one tests it
		}
		p.o.Log.Info("a proposal is vetoed", "strategy", t.Proposal.Strategy, "description", t.Proposal.Description, "reason", v.Reason)
		t.ID = int64(len(h.Done) + len(h.Pending) - len(vetoed) + 1) // the one that it would have had
		return t, errVetoed
	case constraint.Repair:
		p.o.Log.Info("a proposal is mended", "strategy", t.Proposal.Strategy, "description", t.Proposal.Description, "reason", v.Reason)
		source, err := search.Patch(t.Source, t.Constants, v.Values)
		if err != nil {
			return search.Trial{}, fmt.Errorf("mend proposal %q: %w", t.Proposal.Description, err)
		}
		i, err := p.o.Trainer.Inspect(ctx, source)
		if err != nil {
			return search.Trial{}, err
		}
		t.Proposal.Description += " (mended: " + search.Describe(t.Constants, i.Constants) + ")"
		t.Source, t.Constants, t.Changed = source, i.Constants, search.Changed(before, i.Constants)
	}
	return t, nil
}

// suggested turns a person's suggestion into a proposal.
func suggested(g journal.Suggestion, champion search.Trial) search.Proposal {
	return search.Proposal{
		Strategy: "suggestion", Description: "suggested: " + describe(champion.Constants, g.Values),
		Parent: champion.ID, Values: g.Values,
	}
}

// describe says in one line what a suggestion changes.
func describe(from []search.Constant, values map[string]search.Value) string {
	to := append([]search.Constant(nil), from...)
	for i, c := range to {
		if v, ok := values[c.Name]; ok {
			to[i].Value = v
		}
	}
	return search.Describe(from, to)
}

// Reload puts a configuration in force before the next proposal. It is refused,
// and the old one stays, where it changes what needs a restart.
func (p *proposer) Reload(c *config.Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := config.Reloadable(p.config, c)
	if err == nil {
		_, _, err = p.plugins(c)
	}
	if err != nil {
		p.refusal = err.Error()
		return err
	}
	p.refusal = ""
	p.next = c
	return nil
}

// reloadFailed notes why there was no sound configuration to reload.
func (p *proposer) reloadFailed(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusal = why.Error()
}

// refused is why the last reload was; empty: it was not.
func (p *proposer) refused() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusal
}

// coming is the configuration that the next proposal is made with.
func (p *proposer) coming() *config.Config {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		return p.next
	}
	return p.config
}

// reload is the other side of Reload. turn is held.
func (p *proposer) reload() {
	p.mu.Lock()
	c := p.next
	p.next = nil
	p.mu.Unlock()
	if c == nil {
		return
	}
	strategy, judge, err := p.plugins(c)
	if err != nil {
		p.o.Log.Error("the new configuration was not put in force", "err", err)
		p.reloadFailed(err)
		return
	}
	p.stop()
	p.strategy, p.told = strategy, 0 // it is told everything anew
	p.mu.Lock()
	p.config, p.judge, p.reloaded = c, judge, time.Now()
	p.mu.Unlock()
	p.tell()
	p.o.Log.Info("configuration reloaded", "strategy", c.Search.Strategy, "judge", c.Judge.Rule)
}
