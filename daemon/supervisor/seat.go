package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// seat is a place for one trial at a time, and the loop that runs trials there.
// What fails in it holds up no other seat, unless it is the study's.
type seat struct {
	s      *Supervisor
	device Device
	log    *slog.Logger

	// Of the loop's goroutine alone.
	crashes int    // in a row
	trouble string // the last that it waited for, so that it is logged once
	taken   string // how somebody else uses its device; empty: nobody does

	// Under the supervisor's mu.
	state      string    // what it does now, for people
	since      time.Time // it does
	obstacle   string    // what must be mended before it goes on; empty: nothing
	running    *running
	cancel     context.CancelFunc // of the running trial
	quarantine hindrance          // nil: the device is fit
}

// loop runs one trial after another until ctx ends or trials are no longer to
// run. Its error is one that no seat can go on after.
func (s *seat) loop(ctx context.Context) error {
	for {
		if over, err := s.idle(ctx); over || err != nil {
			return err
		}
		err := s.turn(ctx)
		if err == nil || errors.Is(err, errNotNow) {
			continue
		}
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil
		}
		if err = study.Full(err); fatal(err) {
			return err
		}
		if s.wait(ctx, err) != nil {
			return nil
		}
	}
}

// turn is one trial: a Proposal becomes a Trial, a Trial yields an Outcome, an
// Outcome gets a Decision.
func (s *seat) turn(ctx context.Context) error {
	may := func() error { _, _, err := s.s.may(); return err }
	t, err := s.s.proposer.begin(ctx, s.device, may, s.say)
	var o search.Outcome
	switch {
	case err == nil:
		s.trouble = ""
		o, err = s.run(ctx, t)
	case t.ID == 0:
		return err
	default:
		o = s.interrupted(t, err)
	}
	r, recordErr := s.record(ctx, t, o)
	if err = errors.Join(recordErr, err); err != nil {
		return err
	}
	return s.backOff(ctx, r)
}

// idle waits while no trial is to begin here. It reports whether the loop is
// over.
func (s *seat) idle(ctx context.Context) (over bool, err error) {
	for {
		s.s.o.Progress()
		s.s.mu.Lock()
		wake, moved, quarantined := s.s.wake, s.s.moved, s.quarantine != nil
		s.s.mu.Unlock()
		state, over, mayNot := s.s.may()
		switch {
		case ctx.Err() != nil:
			return true, nil
		case over:
			s.rest(state)
			s.s.over(state)
			if s.s.o.Stay {
				break
			}
			if state == "ended" {
				return true, ErrEnded
			}
			return true, nil
		case quarantined && !s.recovered():
			s.say("waiting for the GPU, which is quarantined")
		case mayNot != nil:
			s.rest(state)
		case !s.fit():
		default:
			s.s.mu.Lock()
			s.s.ended = ""
			if s.s.active.IsZero() {
				s.s.active = time.Now()
			}
			s.s.mu.Unlock()
			return false, nil
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-moved:
		case <-time.After(5 * time.Second):
		}
	}
}

var errBroken = errors.New("the trainer is broken")

// run runs a begun trial. Its error is not the trial's fault.
func (s *seat) run(ctx context.Context, t search.Trial) (search.Outcome, error) {
	ctx, end := context.WithCancelCause(ctx)
	cancel := func() { end(nil) }
	defer cancel()
	r := &running{trial: t, phase: search.Startup, since: time.Now(), pruning: pruning{end: end}}
	c, _ := s.s.proposer.rules()
	var err error
	if r.watch, err = s.s.pruner.watch(c.Pruning.Rule, t); err != nil {
		s.log.Warn("the pruning rule does not follow a trial", "trial", t.ID, "err", err)
	}
	s.s.mu.Lock()
	s.cancel, s.obstacle = cancel, ""
	s.running = r
	s.s.mu.Unlock()
	defer func() {
		s.s.mu.Lock()
		s.cancel, s.running = nil, nil
		s.s.mu.Unlock()
	}()
	s.say("running")
	log := s.log.With("trial", t.ID)
	log.Info("trial begins", "strategy", t.Proposal.Strategy, "description", t.Proposal.Description)
	o, err := s.s.o.Trainer.Run(ctx, trainer.Order{Trial: t}, func(e trainer.Event) { s.observe(log, r, e) })
	s.s.mu.Lock()
	r.sentence(&o)
	s.s.mu.Unlock()
	if o.Status == search.Crashed {
		o.Detail += s.s.study.Uncommitted(o.Detail)
	}
	o = s.spared(o)
	var quarantine *trainer.Quarantine
	if errors.As(err, &quarantine) {
		log.Error("no new trial is begun", "device", t.Device, "err", err)
		s.s.mu.Lock()
		s.quarantine = quarantine
		s.s.mu.Unlock()
		err = nil
	}
	if err != nil && !errors.Is(err, trainer.ErrRestart) {
		err = fmt.Errorf("%w: %w", errBroken, err)
		return s.interrupted(t, err), err
	}
	if m := s.s.o.Meter; m != nil {
		for phase, seconds := range o.Phases {
			m.ObservePhase(phase, time.Duration(seconds*float64(time.Second)))
		}
	}
	return o, err
}

// interrupted is the outcome of a trial that could not run.
func (s *seat) interrupted(t search.Trial, why error) search.Outcome {
	s.log.Warn("a trial was interrupted", "trial", t.ID, "why", why)
	return search.Outcome{Status: search.Interrupted, Detail: why.Error()}
}

// record makes an outcome durable, has it judged, and finishes the trial, even
// while the daemon is being stopped: then it only does not wait for what holds
// the study up.
func (s *seat) record(ctx context.Context, t search.Trial, o search.Outcome) (search.Result, error) {
	var r journal.Record
	err := s.persist(ctx, func() error {
		var err error
		_, judge := s.s.proposer.rules()
		r, err = s.s.study.Conclude(ctx, t.ID, o, judge)
		return err
	})
	if err == nil {
		s.s.concluded(r)
	}
	return r.Result, err
}

// fatal says of an error that nobody can go on after it.
func fatal(err error) bool {
	return errors.Is(err, trainer.ErrRestart) || errors.Is(err, journal.ErrIO) || errors.Is(err, lineage.ErrMoved)
}

// persist repeats a step of the study until it is done. Its error is a fatal
// one, or ctx's.
func (s *seat) persist(ctx context.Context, step func() error) error {
	for {
		err := study.Full(step())
		if err == nil || fatal(err) {
			return err
		}
		if err := s.wait(ctx, err); err != nil {
			return err
		}
	}
}

// room is how long the loop waits before it looks again for room on the disk.
const room = 5 * time.Second

// wait waits after an error that is no trial's. It is logged once for the same
// reason: the log may lie on the disk that is full.
func (s *seat) wait(ctx context.Context, err error) error {
	d, state := room, "waiting for room on the disk: "+err.Error()
	if !errors.Is(err, journal.ErrDiskFull) { // no crash: what comes after must not wait for it
		s.crashes++
		d = min(5*time.Second<<min(s.crashes-1, 10), 10*time.Minute)
		state = fmt.Sprintf("waiting %v: %v", d, err)
	}
	if err.Error() != s.trouble {
		s.trouble = err.Error()
		s.log.Error("the study waits", "err", err, "for", d)
	}
	return s.sleep(ctx, d, state)
}

// backOff waits after crashes in a row: 10 s after the fifth, doubling up to
// ten minutes. Running out of memory or diverging is a search's daily bread,
// but not a baseline's: without its score nothing else can be tried.
func (s *seat) backOff(ctx context.Context, r search.Result) error {
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
	s.log.Error("trials crash one after another", "in a row", s.crashes, "waiting", wait, "last", r.Decision.Reason)
	return s.sleep(ctx, wait, fmt.Sprintf("waiting %v: %d in a row failed, the last %s", wait, s.crashes, r.Decision.Reason))
}

// sleep waits for an obstacle to be gone, moving on early when somebody speaks
// to the loop. The obstacle stands until the seat has got past it.
func (s *seat) sleep(ctx context.Context, d time.Duration, obstacle string) error {
	end := time.Now().Add(d)
	s.say(obstacle)
	s.s.mu.Lock()
	s.obstacle = obstacle
	wake := s.s.wake
	s.s.mu.Unlock()
	for left := d; left > 0; left = time.Until(end) {
		s.s.o.Progress()
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
func (s *seat) recovered() bool {
	s.s.mu.Lock()
	q := s.quarantine
	s.s.mu.Unlock()
	if !q.Lifted(s.s.o.GPU) { // asks the driver, which may take its time: not under mu
		return false
	}
	s.s.mu.Lock()
	s.quarantine = nil
	s.s.mu.Unlock()
	s.log.Info("device is back", "device", s.device.Name)
	return true
}

// rest is say where no trial is to run.
func (s *seat) rest(state string) {
	s.say(state)
	h := s.s.study.History()
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.obstacle = ""
	if len(h.Pending) == 0 {
		s.s.active = time.Time{}
	}
}

// say sets what the seat does, for people.
func (s *seat) say(state string) {
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	if s.state != state {
		s.state, s.since = state, time.Now()
	}
}
