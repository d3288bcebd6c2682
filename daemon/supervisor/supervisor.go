// Package supervisor is the loop: ask, admit, run, judge, record, tell. A
// proposer does the asking, for the study; each seat runs one trial at a time,
// in a small loop of its own, and its faults are its own. The loop never stops
// by itself and never asks anybody; a restart goes on from the journal.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// ErrEnded says that the study was ended by `stop`.
var ErrEnded = errors.New("the study was stopped")

// Meter is told what nobody else keeps. metrics.Metrics is one.
type Meter interface {
	ObservePhase(p search.Phase, d time.Duration)
	ObserveKill(p search.Phase, cause string, d time.Duration)
	ObserveAsk(strategy string, d time.Duration)
}

// Options are what the loop works with.
type Options struct {
	Study    *study.Study
	Config   *config.Config
	Trainer  trainer.Trainer
	Registry *search.Registry
	Meter    Meter
	GPU      trainer.GPU                                                         // nil: none
	Devices  []device.Device                                                     // at least one: a seat each
	Look     func(d device.Device) (device.Device, *device.Unfit)                // says how a device without a trial is now, and why it is unfit; nil: as it was
	Beside   func(seat string) (used int64, ok bool)                             // bytes in use of the device of a seat on another machine; not ok: not known, or no second trial may begin there; nil: nowhere
	Soon     func(d device.Device)                                               // told while a trial is to begin there before long; nil: nobody asks
	Trials   int                                                                 // end after so many more trials; 0: never
	Stay     bool                                                                // wait at the end instead of returning: a service manager would only start the daemon again
	Progress func()                                                              // called as the loop moves on
	Finished func(study.Ending)                                                  // called when a trial is recorded
	Over     func(why string)                                                    // called once when trials are no longer to run; nil: nobody asks
	Anew     func() int64                                                        // the trial whose program must run again before others do, for a notary; 0 or nil: none
	Sandbox  string                                                              // what confines trials, in words; "": nothing is asked to
	Model    func(c *config.Config) (search.Model, error)                        // the model server of a configuration; nil: none
	Start    func(ctx context.Context, c search.Command) (search.Process, error) // starts programs for strategies; nil: none
	Log      *slog.Logger
}

// Supervisor runs a study. Its methods may be called from any goroutine.
type Supervisor struct {
	o        Options
	study    *study.Study
	proposer *proposer
	pruner   pruner
	seats    []*seat // it grows, under mu
	board    Board

	turning sync.Mutex // held while trials begin to be wanted, or cease to be
	mu      sync.Mutex
	wake    chan struct{} // closed and replaced when somebody speaks to the loop
	moved   chan struct{} // closed and replaced when a trial is decided
	began   int           // trials of earlier runs; -1: not known yet
	started time.Time
	active  time.Time   // since when trials are to run; zero while paused or over
	trained float64     // counted training seconds of this run
	ended   string      // what Over was told last; empty: trials are to run
	stuck   bool        // candidates wait for a class that no seat can run on
	enter   func(*seat) // lets a seat join the loop; nil: none runs
}

// New makes the loop of an open study.
func New(o Options) (*Supervisor, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func() {}
	}
	if o.Finished == nil {
		o.Finished = func(study.Ending) {}
	}
	s := &Supervisor{o: o, study: o.Study, pruner: pruner{study: o.Study}, board: Board{study: o.Study}, wake: make(chan struct{}), moved: make(chan struct{}), began: -1, started: time.Now()}
	s.Add(o.Devices...)
	if err := s.confirmable(o.Config); err != nil {
		return nil, study.Refusal{Err: err}
	}
	var err error
	s.proposer, err = newProposer(o, s.end)
	return s, err
}

// Run runs the loop until ctx ends, the study is ended, or the trials that
// were asked for are done. A cancelled ctx ends the running trials, which are
// recorded as interrupted. What one seat cannot go on after ends the others.
func (s *Supervisor) Run(ctx context.Context) error {
	defer s.proposer.retire()
	err := s.seats[0].persist(ctx, func() error { return s.resume(ctx) })
	if err != nil {
		return unlessOver(ctx, err)
	}
	s.mu.Lock()
	s.began, s.trained = len(s.study.History().Done), 0
	s.mu.Unlock()
	s.proposer.learn()
	for _, seat := range s.seats {
		seat.inherit()
	}

	defer s.rest()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error)
	loops := 0 // under mu
	s.mu.Lock()
	s.enter = func(seat *seat) {
		loops++
		go func() { ends <- seat.loop(ctx) }()
	}
	for _, seat := range s.seats {
		s.enter(seat)
	}
	s.mu.Unlock()
	for left := true; left; {
		end := <-ends
		s.mu.Lock()
		if loops--; loops == 0 {
			left, s.enter = false, nil
		}
		s.mu.Unlock()
		if end != nil && (err == nil || errors.Is(err, ErrEnded)) {
			err = end
		}
		if end != nil && !errors.Is(end, ErrEnded) {
			cancel()
		}
	}
	s.proposer.learn()
	return err
}

// Add gives devices seats. They join a loop that runs.
func (s *Supervisor) Add(devices ...device.Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range devices {
		seat := &seat{s: s, device: d, log: s.o.Log, state: "starting", since: time.Now()}
		s.seats = append(s.seats, seat)
		if s.enter != nil {
			s.enter(seat)
		}
	}
}

// unlessOver is nil for an error that only says that ctx is done.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// resume finishes what an earlier daemon had begun, and takes a baseline that
// the configuration gives as a number.
func (s *Supervisor) resume(ctx context.Context) error {
	rules := s.seats[0].rules()
	finished, err := s.study.Resume(ctx, "the daemon ended while it ran", rules)
	for _, r := range finished {
		s.o.Finished(s.study.Ending(r))
	}
	if err != nil || !s.o.Config.Study.Baseline.Recorded {
		return err
	}
	if empty, err := s.study.Empty(); err != nil || !empty {
		return err
	}
	t, err := s.proposer.record(ctx, s.seats[0].device)
	if err != nil {
		return err
	}
	r, err := s.study.Conclude(ctx, t.ID, s.study.RecordedOutcome(), rules)
	if err == nil {
		s.o.Finished(s.study.Ending(r))
	}
	return err
}

// errNotNow says that no trial is to begin at the moment.
var errNotNow = errors.New("no trial is to begin now")

// may says whether a trial is to begin now, and if not, what the study does
// instead; rests, that none is to begin whatever comes of those that run; over,
// that nothing will come of waiting.
func (s *Supervisor) may() (state string, rests, over bool, err error) {
	h := s.study.History()
	done, pending := len(h.Done), len(h.Pending)
	end := s.end()
	switch {
	case s.study.Flag(journal.Ended):
		return "ended", true, pending == 0, errNotNow
	case end > 0 && done >= end:
		return "done: the trials that were asked for have run", true, pending == 0, errNotNow
	case end > 0 && done+pending >= end:
		return "waiting for the last trials", true, false, errNotNow
	case s.study.Flag(journal.Paused):
		return "paused", true, false, errNotNow
	case h.Champion.ID == 0 && pending > 0:
		return "waiting for the baseline", false, false, errNotNow
	}
	if id := s.proposer.anew(); id != 0 && slices.ContainsFunc(h.Pending, func(t search.Trial) bool { return search.IsRerun(t) && t.Proposal.Parent == id }) {
		return fmt.Sprintf("waiting for trial %d, which runs again", id), false, false, errNotNow
	}
	return "", false, false, nil
}

// end is how many trials the study is to have, 0 if there is no end in sight.
func (s *Supervisor) end() int {
	c, _ := s.proposer.rules()
	end := c.Study.Trials
	s.mu.Lock()
	defer s.mu.Unlock()
	if own := max(s.began, 0) + s.o.Trials; s.o.Trials > 0 && (end == 0 || own < end) {
		end = own
	}
	return end
}

// over notes once that trials are no longer to run.
func (s *Supervisor) over(state string) {
	s.mu.Lock()
	news := s.ended != state
	s.ended = state
	s.mu.Unlock()
	if news && s.o.Over != nil {
		s.o.Over(state)
	}
}

// concluded counts a trial of this run, and wakes the seats that waited for it.
func (s *Supervisor) concluded(r journal.Record) {
	s.mu.Lock()
	s.trained += r.Outcome.TrainingSeconds
	close(s.moved)
	s.moved = make(chan struct{})
	s.mu.Unlock()
	s.o.Finished(s.study.Ending(r))
	s.sayConfirming()
	s.proposer.learn()
}

// rest notes that no trial is to run any more.
func (s *Supervisor) rest() {
	s.turning.Lock()
	defer s.turning.Unlock()
	if err := s.study.Rest(); err != nil {
		s.o.Log.Warn("when trials ceased could not be recorded: the last one's end stands for it", "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = time.Time{}
}

// Active returns since when trials are to run; zero while the study is paused
// or over.
func (s *Supervisor) Active() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}
