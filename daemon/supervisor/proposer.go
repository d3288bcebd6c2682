package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"autoresearchd/daemon/change"
	"autoresearchd/daemon/config"
	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/study"
	"autoresearchd/search"
	"autoresearchd/search/constraint"
	"autoresearchd/search/turn"
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
	passed    map[int64]bool   // suggestions that cannot become trials
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

// begin plays a turn (search/turn) up to a trial that is worth the device, and
// begins it. may is asked before each proposal. An error with a trial that has
// an id is about one that has begun, and cannot run.
func (p *proposer) begin(ctx context.Context, d device.Device, may func() error, say func(string)) (search.Trial, error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.reload()
	p.tell()
	suggested, err := p.suggested()
	if err != nil {
		return search.Trial{}, err
	}
	limits, begun := p.config.Watchdog, time.Now().UTC().Round(0)
	t, suggestion, err := turn.Turn{
		World:    p.world(),
		Strategy: asked{p.strategy, p, say}, Name: p.config.Search.Strategy, Known: p.known, Judge: p.judge, Suggested: suggested,
		Limits: constraint.Options{Memory: d.Memory, FirstStep: time.Duration(limits.Startup + limits.Compile).Seconds()}, Seed: p.study.About().Seed, Kind: d.Kind, ConfirmOn: p.config.Judge.ConfirmOn,
		Anew: p.anew(),
		Listener: turn.Listener{
			Asking: func() error {
				p.o.Progress()
				say("preparing the trial")
				return may()
			},
			Vetoed: p.note("a proposal is vetoed"), Mended: p.note("a proposal is mended"),
			Unfit: func(suggestion int64, err error) { // the study must not wait for it
				p.passed[suggestion] = true
				p.o.Log.Error("a suggestion is passed over", "err", err)
			},
		},
	}.Next(ctx, p.history())
	switch {
	case errors.Is(err, search.ErrRunsAnew):
		err = errNotNow
	case errors.Is(err, search.ErrNotAnew):
		err = fmt.Errorf("no score can be proven, since the losses that trials are held against are gone from notary/reference in the state directory, and %w: bring that file back from a backup and start again, or begin another study", err)
	}
	if err != nil {
		return search.Trial{}, err
	}
	t.AskedAt = begun
	if t, err = p.start(ctx, d, t, suggestion); err == nil {
		p.prepare(ctx, t)
	}
	return t, err
}

// anew is the trial whose program must run again first; 0: none.
func (p *proposer) anew() int64 {
	if p.o.Anew == nil {
		return 0
	}
	return p.o.Anew()
}

// start begins a trial durably. turn is held.
func (p *proposer) start(ctx context.Context, d device.Device, t search.Trial, suggestion int64) (search.Trial, error) {
	parent, err := p.study.Parent(ctx, t.Proposal.Parent)
	if err != nil {
		return search.Trial{}, err
	}
	t.Proposal.Source = nil                                                                      // the journal keeps the full one
	t.Budget, t.Device, t.Kind, t.StartedAt = p.study.Budget(), d.Name, d.Kind, time.Now().UTC() // of a recorded baseline too
	switch p.config.Judge.Audit {
	case config.AuditText:
		t.Audit = search.IsRerun(t)
	case config.AuditFresh:
		t.Fresh = search.NextAudit(p.study.History(), t)
	}
	t, err = p.study.Begin(ctx, t, parent.Commit, suggestion)
	if suggestion != 0 && errors.Is(err, journal.ErrConflict) {
		return t, errNotNow // it was dropped meanwhile: the seat asks for another
	}
	return t, err
}

// record begins the trial of a baseline that the configuration gives as a number.
func (p *proposer) record(ctx context.Context, d device.Device) (search.Trial, error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	baseline := search.Proposal{Strategy: turn.Baseline, Description: study.RecordedBaseline}
	t, _, err := turn.Turn{World: p.world(), Seed: p.study.About().Seed}.Admit(ctx, baseline)
	if err != nil {
		return search.Trial{}, err
	}
	return p.start(ctx, d, t, 0)
}

// world is what a turn asks of the study and of the trainer.
func (p *proposer) world() turn.World {
	return turn.World{
		Parent: func(ctx context.Context, id int64) ([]byte, []search.Constant, error) {
			parent, err := p.study.Parent(ctx, id)
			return parent.Source, parent.Constants, err
		},
		Inspect: func(ctx context.Context, source []byte) ([]search.Constant, string, error) {
			i, err := p.o.Trainer.Inspect(ctx, source)
			return i.Constants, i.Error, err
		},
		Examine: func(ctx context.Context, source []byte) ([]search.Constant, string, error) {
			i, fault, err := p.study.Examine(ctx, source)
			return i.Constants, fault, err
		},
		Ideas: p.ideas,
	}
}

// asked is the strategy, whose every Ask is shown and measured.
type asked struct {
	search.Strategy
	p   *proposer
	say func(string)
}

func (a asked) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	name := a.p.config.Search.Strategy
	a.say("asking " + name)
	defer a.say("preparing the trial")
	begin := time.Now()
	q, err := a.Strategy.Ask(ctx, h)
	if a.p.o.Meter != nil {
		a.p.o.Meter.ObserveAsk(name, time.Since(begin))
	}
	return q, err
}

// known are the names that a strategy may give as whom it asked; others have a
// meaning here.
func (p *proposer) known(name string) bool {
	_, err := p.o.Registry.Lookup(name)
	return err == nil || name == warm.Name
}

// suggested are the values and ablations that people suggest and that can become
// trials, as far as is known.
func (p *proposer) suggested() ([]turn.Suggested, error) {
	waiting, err := p.study.Waiting(kindValues, change.Kind)
	var out []turn.Suggested
	for _, g := range waiting {
		q := search.Proposal{Values: g.Values, Parent: g.Parent, Source: g.Source}
		if g.Kind == change.Kind {
			q.Strategy, q.Description = change.Kind, g.Text
		}
		if !p.passed[g.ID] {
			out = append(out, turn.Suggested{ID: g.ID, Proposal: q})
		}
	}
	return out, err
}

// note logs what becomes of a proposal.
func (p *proposer) note(what string) func(search.Trial, string) {
	return func(t search.Trial, reason string) {
		p.o.Log.Info(what, "strategy", t.Proposal.Strategy, "description", t.Proposal.Description, "reason", reason)
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

// history is what strategies may know.
func (p *proposer) history() search.History {
	h := p.study.History()
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
		p.o.Log.Error("the new configuration is not in force", "err", err)
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
