// Package supervisor is the loop: ask, admit, run, judge, record, tell. It
// never stops by itself and never asks anybody; a restart goes on from the
// journal.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
	"autoresearchd/search/warm"
)

// ErrEnded says that the study was ended by `stop`.
var ErrEnded = errors.New("the study has ended")

// Refusal is why a study cannot begin until a person mends something: to start
// the daemon again is no use.
type Refusal struct{ Err error }

func (r Refusal) Error() string { return r.Err.Error() }
func (r Refusal) Unwrap() error { return r.Err }

// Meter is told what nobody else keeps. metrics.Metrics is one.
type Meter interface {
	ObservePhase(p search.Phase, d time.Duration)
	ObserveKill(p search.Phase, cause string, d time.Duration)
	ObserveAsk(strategy string, d time.Duration)
}

// Options are what the loop works with.
type Options struct {
	Config   *config.Config
	Journal  *journal.Journal
	Repo     *lineage.Repo
	Trainer  trainer.Trainer
	Registry *search.Registry
	Meter    Meter
	GPU      trainer.GPU                                                         // nil: none
	Device   string                                                              // where trials run: "cpu", "cuda:0"
	Memory   int64                                                               // of that device, bytes; 0: not known
	Trials   int                                                                 // end after so many more trials; 0: never
	Stay     bool                                                                // wait at the end instead of returning: a service manager would only start the daemon again
	Progress func()                                                              // called as the loop moves on
	Finished func(r journal.Record)                                              // called when a trial is recorded
	Over     func(why string)                                                    // called once when trials are no longer to run; nil: nobody asks
	Model    func(c *config.Config) (search.Model, error)                        // the model server of a configuration; nil: none
	Start    func(ctx context.Context, c search.Command) (search.Process, error) // starts programs for strategies; nil: none
	Log      *slog.Logger
}

// Supervisor runs a study. Its methods may be called from any goroutine.
type Supervisor struct {
	o     Options
	study journal.Study
	tsv   *lineage.Results

	earlier []search.Earlier // studies that [search] warm_start names

	// Of the loop's goroutine alone.
	config    *config.Config
	strategy  search.Strategy
	judge     search.Judge
	crashes   int            // in a row
	trouble   string         // the last that the loop waited for, so that it is logged once
	complaint string         // the last about [search.space], so that it is said once
	told      int            // how many of done the strategy knows
	ran       int            // trials of this run
	refused   map[int64]bool // suggestions that do not fit the champion any more
	preparing *preparation   // nil: none

	mu         sync.Mutex
	wake       chan struct{} // closed and replaced when something below changes
	next       *config.Config
	paused     bool
	ended      bool
	state      string // what the loop does now, for people
	obstacle   string // what must be mended before the study goes on; empty: nothing
	running    *running
	cancel     context.CancelFunc // of the running trial
	done       []search.Result    // without sources and curves
	tally      tally              // of done
	commits    map[int64]string
	champion   *journal.Record
	stands     standing
	quarantine *trainer.Quarantine // nil: the device is fit
	reloaded   time.Time
	refusal    string // why the last reload was refused; empty: it was not
	started    time.Time
	active     time.Time          // since when trials are to run; zero while paused or over
	weights    map[string]float64 // what a portfolio makes of its strategies
	trained    float64            // counted training seconds of this run
	listed     map[int64]bool     // trials whose row is in results.tsv
}

// New opens the study, or begins one.
func New(ctx context.Context, o Options) (*Supervisor, error) {
	s := &Supervisor{o: o, config: o.Config, wake: make(chan struct{}), commits: map[int64]string{}, listed: map[int64]bool{}, refused: map[int64]bool{}, state: "starting", started: time.Now(), reloaded: time.Now()}
	if s.o.Log == nil {
		s.o.Log = slog.New(slog.DiscardHandler)
	}
	if s.o.Progress == nil {
		s.o.Progress = func() {}
	}
	if s.o.Finished == nil {
		s.o.Finished = func(journal.Record) {}
	}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	var err error
	if s.earlier, err = earlier(o.Config.Search.WarmStart); err != nil {
		return nil, err
	}
	strategy, judge, err := s.plugins(o.Config)
	if err != nil {
		return nil, err
	}
	s.strategy, s.judge = strategy, judge
	return s, nil
}

// plugins builds the strategy and the judge that a configuration names.
func (s *Supervisor) plugins(c *config.Config) (search.Strategy, search.Judge, error) {
	t, err := s.tools(c)
	if err != nil {
		return nil, nil, err
	}
	strategy, err := s.o.Registry.Build(c.Search.Strategy, search.Environment{Seed: s.study.Seed, Tools: t})
	if err != nil {
		return nil, nil, err
	}
	judge, err := search.LookupJudge(c.Judge.Rule)
	if err != nil {
		return nil, nil, err
	}
	return warm.Wrap(strategy, s.earlier), judge, nil
}

// Run runs the loop until ctx ends, the study is ended, or the trials that
// were asked for are done. A cancelled ctx ends the running trial, which is
// recorded as interrupted.
func (s *Supervisor) Run(ctx context.Context) error {
	defer s.retire()
	if err := s.resume(ctx, "the daemon ended while it ran"); err != nil {
		if err := s.survive(ctx, err); err != nil {
			return err
		}
	}
	s.learn()
	s.ran = 0 // those were an earlier run's
	s.mu.Lock()
	s.trained = 0
	s.mu.Unlock()
	for {
		if over, err := s.idle(ctx); over || err != nil {
			return err
		}
		s.reload()
		if err := s.turn(ctx); err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return nil
			}
			if err := s.survive(ctx, err); err != nil {
				return err
			}
		}
	}
}

// turn is one trial: a Proposal becomes a Trial, a Trial yields an Outcome, an
// Outcome gets a Decision.
func (s *Supervisor) turn(ctx context.Context) error {
	p, t, err := s.propose(ctx)
	if errors.Is(err, errUnfit) && p.suggestion != 0 {
		// A champion came between that has not its constants: the study must not wait for it.
		s.refused[p.suggestion] = true
		s.o.Log.Error("a suggestion is passed over", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	s.trouble = ""
	s.prepare(ctx, t)
	o, runErr := s.run(ctx, t)
	if errors.Is(runErr, errBroken) {
		return runErr
	}
	r, err := s.record(ctx, t, o)
	if err != nil {
		return err
	}
	s.learn()
	if runErr != nil {
		return runErr
	}
	return s.backOff(ctx, r)
}

// learn tells the strategy what it has not been told yet, in the order of
// History.Done, whichever way a trial was finished.
func (s *Supervisor) learn() {
	s.mu.Lock()
	fresh := s.done[s.told:]
	s.told = len(s.done)
	for _, r := range fresh {
		s.ran++
		s.trained += r.Outcome.TrainingSeconds
	}
	s.mu.Unlock()
	for _, r := range fresh {
		s.strategy.Tell(r)
	}
	s.weigh()
}

// weigh asks a portfolio for the weights of its strategies, to be shown.
func (s *Supervisor) weigh() {
	var weights map[string]float64
	if w, ok := s.strategy.(search.Weigher); ok {
		s.mu.Lock()
		h := search.History{Done: s.done}
		s.mu.Unlock()
		weights = w.Weights(h)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.weights = weights
}

// vetoes bounds how many proposals for one trial may be vetoed.
const vetoes = 5

// propose asks until it gets a trial that is worth the GPU. To the strategy a
// vetoed one is pending, so that it proposes something else.
func (s *Supervisor) propose(ctx context.Context) (proposed, search.Trial, error) {
	var vetoed []search.Trial
	for {
		p, err := s.ask(ctx, vetoed)
		if err != nil {
			return p, search.Trial{}, err
		}
		p.vetoed = vetoed
		t, err := s.admit(ctx, p)
		if !errors.Is(err, errVetoed) {
			return p, t, err
		}
		vetoed = append(vetoed, t)
	}
}

// idle waits while the study is paused or its device is quarantined. It
// reports whether the loop is over.
func (s *Supervisor) idle(ctx context.Context) (over bool, err error) {
	for {
		s.o.Progress()
		s.mu.Lock()
		wake, paused, ended, quarantined := s.wake, s.paused, s.ended, s.quarantine != nil
		count := len(s.done)
		s.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return true, nil
		case ended:
			s.over("ended")
			if !s.o.Stay {
				return true, ErrEnded
			}
		case s.o.Trials > 0 && s.ran >= s.o.Trials, s.config.Study.Trials > 0 && count >= s.config.Study.Trials:
			s.over("done: the trials that were asked for have run")
			if !s.o.Stay {
				return true, nil
			}
		case quarantined && !s.recovered():
			s.say("waiting for the GPU, which is quarantined")
		case paused:
			s.rest("paused")
		default:
			s.mu.Lock()
			if s.active.IsZero() {
				s.active = time.Now()
			}
			s.mu.Unlock()
			return false, nil
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-time.After(5 * time.Second):
		}
	}
}

// ask gets the next proposal: the baseline while there is no score to beat, a
// person's suggestion, or the strategy's.
func (s *Supervisor) ask(ctx context.Context, vetoed []search.Trial) (proposed, error) {
	s.o.Progress()
	s.mu.Lock()
	champion := s.champion
	s.mu.Unlock()
	if champion == nil {
		return proposed{Proposal: search.Proposal{Strategy: "baseline", Description: "baseline"}}, nil
	}
	suggestions, err := s.o.Journal.Suggestions()
	if err != nil {
		return proposed{}, err
	}
	for _, g := range suggestions {
		if g.Kind == kindValues && g.Trial == 0 && !s.refused[g.ID] {
			return proposed{Proposal: s.suggested(g, champion), suggestion: g.ID}, nil
		}
	}
	h := s.history(champion)
	if j, ok := s.judge.(search.Rerunner); ok {
		if p, ok := j.Rerun(h); ok {
			return proposed{Proposal: p}, nil
		}
	}
	h.Pending = vetoed
	name := s.config.Search.Strategy
	s.say("asking " + name)
	begin := time.Now()
	p, err := s.strategy.Ask(ctx, h)
	if s.o.Meter != nil {
		s.o.Meter.ObserveAsk(name, time.Since(begin))
	}
	if err != nil {
		return proposed{}, fmt.Errorf("ask strategy %s: %w", name, err)
	}
	// A portfolio names who it asked; other names have a meaning here.
	if _, err := s.o.Registry.Lookup(p.Strategy); err != nil && p.Strategy != warm.Name {
		p.Strategy = name
	}
	return proposed{Proposal: p, suggestion: s.idea(p), checked: true}, nil
}

// proposed is a proposal and the suggestion that it came from, if any.
type proposed struct {
	search.Proposal
	suggestion int64
	checked    bool           // a strategy's: it is looked at before it touches the GPU
	vetoed     []search.Trial // what was proposed before it and vetoed
}

// history is what strategies may know.
func (s *Supervisor) history(champion *journal.Record) search.History {
	// A kept edit may have dropped a constant that an override names: the rest
	// of the space is sound, and the study goes on in it.
	space, err := search.NewSpace(champion.Trial.Constants, s.config.Search.Overrides())
	if err != nil && err.Error() != s.complaint {
		s.complaint = err.Error()
		s.o.Log.Warn("some of [search.space] does not fit the champion any more", "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return search.History{Champion: champion.Trial, Space: space, Done: s.done, Earlier: s.earlier, Trials: s.end()}
}

// end is how many trials the study is to have, 0 if there is no end in sight.
// mu is held.
func (s *Supervisor) end() int {
	end := s.config.Study.Trials
	if own := len(s.done) - s.ran + s.o.Trials; s.o.Trials > 0 && (end == 0 || own < end) {
		end = own
	}
	return end
}

var errBroken = errors.New("the trainer is broken")

// run runs an admitted trial. Its error is not the trial's fault.
func (s *Supervisor) run(ctx context.Context, t search.Trial) (search.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.cancel, s.obstacle = cancel, ""
	s.running = &running{trial: t, phase: search.Startup, since: time.Now()}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.cancel, s.running = nil, nil
		s.mu.Unlock()
	}()
	s.say("running")
	log := s.o.Log.With("trial", t.ID)
	log.Info("trial begins", "strategy", t.Proposal.Strategy, "description", t.Proposal.Description)
	o, err := s.o.Trainer.Run(ctx, trainer.Order{Trial: t}, func(e trainer.Event) { s.observe(log, e) })
	if o.Status == search.Crashed {
		o.Detail += s.uncommitted(o.Detail)
	}
	var quarantine *trainer.Quarantine
	if errors.As(err, &quarantine) {
		log.Error("no new trial is begun", "device", t.Device, "err", err)
		s.mu.Lock()
		s.quarantine = quarantine
		s.mu.Unlock()
		err = nil
	}
	if err != nil && !errors.Is(err, trainer.ErrRestart) {
		return o, fmt.Errorf("%w: %w", errBroken, err)
	}
	if s.o.Meter != nil {
		for phase, seconds := range o.Phases {
			s.o.Meter.ObservePhase(phase, time.Duration(seconds*float64(time.Second)))
		}
	}
	return o, err
}

// backOff waits after crashes in a row: 10 s after the fifth, doubling up to
// ten minutes. Running out of memory or diverging is a search's daily bread,
// but not a baseline's: without its score nothing else can be tried.
func (s *Supervisor) backOff(ctx context.Context, r search.Result) error {
	failed, patience := r.Outcome.Status == search.Crashed, 5
	if r.Trial.Proposal.Strategy == "baseline" {
		failed, patience = r.Decision.Verdict != search.Keep, 1
	}
	switch {
	case r.Outcome.Status == search.Interrupted:
		return nil
	case failed:
		s.crashes++
	default:
		s.crashes = 0
	}
	if s.crashes < patience {
		return nil
	}
	wait := min(10*time.Second<<min(s.crashes-patience, 10), 10*time.Minute)
	s.o.Log.Error("trials crash one after another", "in a row", s.crashes, "waiting", wait, "last", r.Decision.Reason)
	return s.sleep(ctx, wait, fmt.Sprintf("waiting %v: %d in a row failed, the last %s", wait, s.crashes, r.Decision.Reason))
}

// survive decides whether the loop goes on after an error that is no trial's,
// and then waits and finishes what was begun before anything new is.
func (s *Supervisor) survive(ctx context.Context, err error) error {
	for {
		err = full(err)
		if errors.Is(err, trainer.ErrRestart) || errors.Is(err, journal.ErrIO) || errors.Is(err, lineage.ErrMoved) {
			return err
		}
		var wait time.Duration
		var state string
		if errors.Is(err, journal.ErrDiskFull) { // no crash: what comes after must not wait for it
			wait, state = room, "waiting for room on the disk: "+err.Error()
		} else {
			s.crashes++
			wait = min(5*time.Second<<min(s.crashes-1, 10), 10*time.Minute)
			state = fmt.Sprintf("waiting %v: %v", wait, err)
		}
		s.wait(err, wait)
		if s.sleep(ctx, wait, state) != nil {
			return nil // the loop sees by itself that ctx is done
		}
		if err = s.resume(ctx, err.Error()); err == nil {
			s.learn()
			return nil
		}
	}
}

// wait logs that the loop waits, once for the same reason: the log may lie on
// the disk that is full.
func (s *Supervisor) wait(err error, d time.Duration) {
	if err.Error() != s.trouble {
		s.trouble = err.Error()
		s.o.Log.Error("the study waits", "err", err, "for", d)
	}
}

// sleep waits for an obstacle to be gone, moving on early when somebody speaks
// to the loop. The obstacle stands until the loop has got past it.
func (s *Supervisor) sleep(ctx context.Context, d time.Duration, obstacle string) error {
	end := time.Now().Add(d)
	s.mu.Lock()
	s.state, s.obstacle = obstacle, obstacle
	wake := s.wake
	s.mu.Unlock()
	for left := d; left > 0; left = time.Until(end) {
		s.o.Progress()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
			return nil
		case <-time.After(min(left, 5*time.Second)):
		}
	}
	return nil
}

// recovered looks whether a quarantined device gave its memory back.
func (s *Supervisor) recovered() bool {
	s.mu.Lock()
	q := s.quarantine
	s.mu.Unlock()
	if !q.Lifted(s.o.GPU) { // asks the driver, which may take its time: not under mu
		return false
	}
	s.mu.Lock()
	s.quarantine = nil
	s.mu.Unlock()
	s.o.Log.Info("device is back", "device", s.o.Device)
	return true
}

// over is rest for a study that has come to its end.
func (s *Supervisor) over(state string) {
	s.mu.Lock()
	before := s.state
	s.mu.Unlock()
	s.rest(state)
	if before != state && s.o.Over != nil {
		s.o.Over(state)
	}
}

// Active returns since when trials are to run; zero while the study is paused
// or over.
func (s *Supervisor) Active() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// rest is say where no trial is to run.
func (s *Supervisor) rest(state string) {
	s.say(state)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active, s.obstacle = time.Time{}, ""
}

// say sets what the loop does, for people.
func (s *Supervisor) say(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}
