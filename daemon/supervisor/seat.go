package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"autoresearchd/daemon/device"
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
	device device.Device // its name stays; the loop changes the rest, under the supervisor's mu
	log    *slog.Logger

	// Of the loop's goroutine alone.
	crashes int           // in a row
	trouble string        // the last that it waited for, so that it is logged once
	taken   string        // how somebody else uses its device; empty: nobody does
	last    search.Result // the trial that ended last

	// Under the supervisor's mu.
	state      string    // what it does now, for people
	since      time.Time // it does
	rests      bool      // no trial is to begin
	obstacle   string    // what must be mended before it goes on; empty: nothing
	cur        *flight   // nil: no trial runs
	next       *flight   // gets ready beside cur's evaluation; nil: none
	quarantine hindrance // nil: the device is fit
	crowded    bool      // its memory has been too little for two
}

// loop runs one trial after another until ctx ends or trials are no longer to
// run. Its error is one that no seat can go on after.
func (s *seat) loop(ctx context.Context) (err error) {
	var cur *flight
	defer func() {
		s.s.mu.Lock()
		left := []*flight{s.cur, s.next}
		s.cur, s.next = nil, nil
		s.s.mu.Unlock()
		for _, f := range left {
			if f != nil {
				f.cancel()
				<-f.over
			}
		}
	}()
	for {
		if cur == nil {
			if over, err := s.idle(ctx); over || err != nil {
				return err
			}
			cur, err = s.launch(ctx, nil, s.say)
		}
		if err == nil {
			s.trouble = ""
			cur, err = s.follow(ctx, cur)
		}
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil
		}
		switch {
		case errors.Is(err, errNotNow), cur != nil && !fatal(err):
			err = nil // what is on the seat is not held up
		case err == nil:
			err = s.backOff(ctx)
		default:
			err = s.recover(ctx, study.Disk(err))
		}
		if err != nil {
			return unlessOver(ctx, err)
		}
	}
}

// idle waits while no trial is to begin here. It reports whether the loop is
// over.
func (s *seat) idle(ctx context.Context) (over bool, err error) {
	for {
		s.s.o.Progress()
		s.s.mu.Lock()
		wake, moved, quarantined := s.s.wake, s.s.moved, s.quarantine != nil
		s.s.mu.Unlock()
		state, rests, over, mayNot := s.s.may()
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
		case rests:
			s.rest(state)
		case mayNot != nil:
			s.say(state)
			if s.s.o.Soon != nil {
				s.s.o.Soon(s.device)
			}
		case !s.fit():
		default:
			return false, unlessOver(ctx, s.work(ctx))
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-moved:
		case <-time.After(5 * time.Second):
		}
	}
}

// record makes an outcome durable, has it judged, and finishes the trial, even
// while the daemon is being stopped: then it only does not wait for what holds
// the study up.
func (s *seat) record(ctx context.Context, t search.Trial, o search.Outcome) (search.Result, error) {
	var r journal.Record
	err := s.persist(ctx, func() error {
		var err error
		r, err = s.s.study.Conclude(ctx, t.ID, o, s.rules())
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
		err := study.Disk(step())
		if err == nil || fatal(err) || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return err
		}
		if err := s.wait(ctx, err); err != nil {
			return err
		}
	}
}

// room is how long the loop waits before it looks again for room on the disk.
const room = 5 * time.Second

// recover waits after an error that is no trial's, unless it is fatal.
func (s *seat) recover(ctx context.Context, err error) error {
	if fatal(err) {
		return err
	}
	return s.wait(ctx, err)
}

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

// count counts crashes in a row. Running out of memory or diverging is a
// search's daily bread, but not a baseline's: without its score nothing else
// can be tried.
func (s *seat) count(r search.Result) {
	s.last = r
	failed := r.Outcome.Status == search.Crashed
	if r.Trial.Proposal.Strategy == "baseline" {
		failed = r.Decision.Verdict != search.Keep
	}
	switch {
	case r.Outcome.Status == search.Interrupted:
	case failed:
		s.crashes++
	default:
		s.crashes = 0
	}
}

// backOff waits after crashes in a row: 10 s after the fifth, or after the
// baseline's first, doubling up to ten minutes.
func (s *seat) backOff(ctx context.Context) error {
	patience := 5
	if s.last.Trial.Proposal.Strategy == "baseline" {
		patience = 1
	}
	if s.crashes < patience || s.last.Outcome.Status == search.Interrupted {
		return nil
	}
	wait := min(10*time.Second<<min(s.crashes-patience, 10), 10*time.Minute)
	s.log.Error("trials crash one after another", "in a row", s.crashes, "waiting", wait, "last", s.last.Decision.Reason)
	return s.sleep(ctx, wait, fmt.Sprintf("waiting %v: %d in a row failed, the last %s", wait, s.crashes, s.last.Decision.Reason))
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
	s.keep(nil)
	s.log.Info("device is back", "device", s.device.Name)
	return true
}

// keep has the next daemon know of the seat's quarantine too; nil: of none.
func (s *seat) keep(q *trainer.Quarantine) {
	if err := s.s.study.Quarantine(s.device.Name, q); err != nil {
		s.log.Error("a restart will not know of this", "device", s.device.Name, "err", err)
	}
}

// inherit takes over the quarantine that an earlier daemon has left.
func (s *seat) inherit() {
	q, err := s.s.study.Quarantined(s.device.Name)
	if err != nil {
		s.log.Error("what an earlier daemon knew of the device is lost", "device", s.device.Name, "err", err)
	}
	if q == nil {
		return
	}
	s.log.Error("no new trial is begun", "device", s.device.Name, "err", q)
	s.s.mu.Lock()
	s.quarantine = q
	s.s.mu.Unlock()
}

// work notes that trials are to run, and whether by a judge that claims.
func (s *seat) work(ctx context.Context) error {
	s.s.turning.Lock()
	defer s.s.turning.Unlock()
	if err := s.persist(ctx, func() error {
		_, judge := s.s.proposer.rules()
		_, claims := judge.(search.Claimer)
		s.s.mu.Lock()
		seats := len(s.s.seats)
		s.s.mu.Unlock()
		return errors.Join(s.s.study.SetFlag(journal.Confirms, claims), s.s.study.Work(seats))
	}); err != nil {
		return err
	}
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.ended = ""
	if s.s.active.IsZero() {
		s.s.active = time.Now()
	}
	return nil
}

// rest is say where no trial is to run.
func (s *seat) rest(state string) {
	s.say(state)
	if len(s.s.study.History().Pending) == 0 {
		s.s.rest()
	}
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.obstacle, s.rests = "", true
}

// say sets what the seat does, for people.
func (s *seat) say(state string) {
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.rests = false
	if s.state != state {
		s.state, s.since = state, time.Now()
	}
}
