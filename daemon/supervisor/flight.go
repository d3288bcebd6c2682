package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// flight is a begun trial from its start to its outcome.
type flight struct {
	*running
	cancel func()
	log    *slog.Logger

	// Each is closed once.
	trains    chan struct{} // its counted training has begun
	evaluates chan struct{} // all its training is over
	scored    chan struct{} // so is its evaluation, or the trial
	over      chan struct{} // what follows is known

	outcome search.Outcome
	err     error // not the trial's fault
}

// reached closes one of a flight's channels, if it is open. The supervisor's mu
// is held.
func reached(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

var errBroken = errors.New("the trainer is broken")

// launch begins the next trial and lets it run. With a neighbour, whose
// training is over, it waits at a gate until the neighbour's evaluation is over
// too.
func (s *seat) launch(ctx context.Context, neighbour *flight, say func(string)) (*flight, error) {
	may := func() error { _, _, _, err := s.s.may(); return err }
	t, err := s.s.proposer.begin(ctx, s.device, may, say)
	if t.ID == 0 || err != nil && fatal(err) { // what has begun is found by the next start
		return nil, err
	}
	ctx, end := context.WithCancelCause(ctx)
	cancel := func() { end(nil) }
	f := &flight{
		running: &running{trial: t, phase: search.Startup, since: time.Now(), pruning: pruning{end: end}}, cancel: cancel, log: s.log.With("trial", t.ID),
		trains: make(chan struct{}), evaluates: make(chan struct{}), scored: make(chan struct{}), over: make(chan struct{}),
	}
	if err != nil { // it has begun, and cannot run
		f.outcome, f.err = interrupted(f.log, err), err
		cancel()
		reached(f.scored)
		reached(f.over)
		return f, nil
	}
	c, _ := s.s.proposer.rules()
	if f.watch, err = s.s.pruner.watch(c.Pruning.Rule, t); err != nil {
		f.log.Warn("the pruning rule does not follow a trial", "err", err)
	}
	order := trainer.Order{Trial: t}
	if neighbour != nil {
		order.Gate = &trainer.Gate{After: neighbour.trial.ID, Open: neighbour.scored}
	}
	f.log.Info("trial begins", introduce(t)...)
	go func() {
		defer cancel()
		o, err := s.s.o.Trainer.Run(ctx, order, func(e trainer.Event) { s.observe(f, e) })
		s.land(f, o, err)
	}()
	return f, nil
}

// land takes in how a flight has ended.
func (s *seat) land(f *flight, o search.Outcome, err error) {
	s.s.mu.Lock()
	f.sentence(&o)
	s.s.mu.Unlock()
	if o.Status == search.Crashed {
		o.Detail += s.s.study.Uncommitted(o.Detail)
	}
	var away *trainer.Lost
	if errors.As(err, &away) && o.Status != "" {
		f.log.Error("a node's device was lost", "device", f.trial.Device, "err", away)
		o, err = without(o, away.Why), nil
	}
	o = s.excused(f, s.spared(o))
	var quarantine *trainer.Quarantine
	if errors.As(err, &quarantine) {
		f.log.Error("no new trial is begun", "device", f.trial.Device, "err", err)
		s.keep(quarantine)
		err = nil
	}
	if err != nil && !errors.Is(err, trainer.ErrRestart) {
		err = fmt.Errorf("%w: %w", errBroken, err)
		o = interrupted(f.log, err)
	}
	if m := s.s.o.Meter; m != nil {
		for phase, seconds := range o.Phases {
			m.ObservePhase(phase, time.Duration(seconds*float64(time.Second)))
		}
	}
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	if quarantine != nil {
		s.quarantine = quarantine
	}
	f.outcome, f.err = o, err
	reached(f.scored)
	reached(f.over)
}

// excused is an outcome that is no evidence of its program: a run that was
// starved, or that ran out of memory because two were on the seat. It is void,
// and there is another; what the other comes to stands.
func (s *seat) excused(f *flight, o search.Outcome) search.Outcome {
	done := s.s.study.History().Done
	if why := search.Hasty(done, f.trial, o); why != "" {
		f.log.Warn("a run is to be looked at", "why", why)
		o.Flags = append(o.Flags, why)
	}
	why, void := search.Starved(done, f.trial, o)
	s.s.mu.Lock()
	beside := s.cur != nil && s.next != nil && (f == s.cur || f == s.next)
	if o.Status == search.OutOfMemory && beside {
		why, void = "two trials on one device ran out of its memory", true
		s.crowded = true
	}
	s.s.mu.Unlock()
	switch {
	case !void:
	case search.Repeats(done, f.trial):
		f.log.Warn("a run fares as the last one, which was void, and stands", "why", why)
		o.Flags = append(o.Flags, "once more "+why+": it stands")
	default:
		if bpb, scored := (search.Result{Outcome: o}).Score(); scored {
			why += fmt.Sprintf(" (its val_bpb was %.6f)", bpb)
		}
		f.log.Warn("a run is void", "why", why)
		o.Status, o.ValBPB, o.Void = search.Interrupted, 0, why
	}
	return o
}

// interrupted is the outcome of a trial that could not run.
func interrupted(log *slog.Logger, why error) search.Outcome {
	log.Warn("a trial was interrupted", "why", why)
	return search.Outcome{Status: search.Interrupted, Detail: why.Error()}
}

// observe takes in what the trainer tells of a trial.
func (s *seat) observe(f *flight, e trainer.Event) {
	s.s.o.Progress()
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	enter := func(p search.Phase) {
		if f.phase != p {
			f.phase, f.since = p, time.Now()
			f.log.Debug("phase", "phase", p)
		}
	}
	switch {
	case e.Phase != "":
		enter(e.Phase)
		// A script may evaluate on the way, and an audit evaluates once more.
		switch {
		case e.Phase == search.Train:
			reached(f.trains)
		case e.Phase == search.Evaluate && f.share() >= spent:
			reached(f.evaluates)
		case e.Phase == search.Exit && f.share() >= spent && !f.trial.Audit:
			reached(f.scored)
		}
	case e.Step != nil:
		enter(search.Train)
		reached(f.trains)
		f.step = *e.Step
	case e.Progress != nil:
		f.progress = *e.Progress
		f.draw()
		if f.phase != search.Evaluate && f.phase != search.Exit { // a step's words may come before it
			f.hear(f.log, search.Point{Step: f.progress.Step, Seconds: f.step.Counted, Tokens: f.step.Tokens, Loss: f.progress.Loss})
		}
	case e.Memory > 0:
		f.memory, f.measured, f.peak = e.Memory, time.Now(), max(f.peak, e.Memory)
	case e.Kill != nil:
		f.log.Warn("the watchdog killed the trial", "phase", e.Kill.Phase, "cause", e.Kill.Cause, "seconds", e.Kill.Seconds, "gpu seconds", e.Kill.GPU)
		if m := s.s.o.Meter; m != nil {
			m.ObserveKill(e.Kill.Phase, e.Kill.Cause, time.Duration(e.Kill.Seconds*float64(time.Second)))
		}
	}
}

// spent is the share of its budget from which on a trial that evaluates will
// not train again.
const spent = 0.98

// show says which trials are on the seat.
func (s *seat) show(cur, next *flight) {
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.cur, s.next = cur, next
	if cur != nil {
		s.obstacle = ""
	}
}

// look is how often it is looked whether a trial that evaluates leaves room.
const look = 300 * time.Millisecond

// follow waits for the end of a trial and records it. While it evaluates, the
// next one may begin beside it, which is returned.
func (s *seat) follow(ctx context.Context, cur *flight) (next *flight, err error) {
	s.say("running")
	s.show(cur, nil)
	trains, evaluates := cur.trains, cur.evaluates
	var timer *time.Timer
	var looks <-chan time.Time
	type launched struct {
		*flight
		err error
	}
	var coming chan launched
	var late error // of the next trial's beginning
	for {
		var nextOver chan struct{}
		if next != nil {
			nextOver = next.over
		}
		select {
		case <-trains:
			trains = nil
			s.warm(ctx, cur)
		case <-evaluates:
			evaluates = nil
			timer = time.NewTimer(0)
			defer timer.Stop()
			looks = timer.C
		case <-looks:
			if s.crashes > 0 || !s.overlaps() {
				looks = nil
			} else if s.room() {
				looks = nil
				coming = make(chan launched, 1)
				go func() {
					f, err := s.launch(ctx, cur, func(string) {})
					coming <- launched{f, err}
				}()
			} else {
				timer.Reset(look)
			}
		case l := <-coming:
			coming = nil
			next, late = l.flight, l.err
			s.show(cur, next)
		case <-nextOver: // before its neighbour: it is decided first
			f := next
			next = nil
			s.show(cur, nil)
			if late = s.conclude(ctx, f); late != nil && fatal(late) {
				return nil, late
			}
		case <-cur.over:
			s.show(next, nil)
			if err := s.conclude(ctx, cur); err != nil {
				late = err
			}
			if coming != nil {
				l := <-coming
				if next = l.flight; l.err != nil && late == nil {
					late = l.err
				}
				s.show(next, nil)
			}
			return next, late
		}
	}
}

// conclude records an ended trial. Its error is that of the study or of the
// trainer.
func (s *seat) conclude(ctx context.Context, f *flight) error {
	r, err := s.record(ctx, f.trial, f.outcome)
	switch {
	case err != nil:
		return err
	case f.err == nil:
		s.count(r)
	}
	return f.err
}

// warm lets the trainer get ready for the trial after this one; beside the
// first, which they wait for, for those of the other seats too.
func (s *seat) warm(ctx context.Context, cur *flight) {
	c, _ := s.s.proposer.rules()
	if _, rests, _, _ := s.s.may(); rests || c.Trial.Standby == "off" {
		return
	}
	s.s.mu.Lock()
	source, seats := cur.trial.Source, s.s.seats
	s.s.mu.Unlock()
	if champion := s.s.study.Champion(); champion != nil {
		var err error
		if source, err = s.s.study.Source(ctx, champion.Trial.ID); err != nil {
			return // the study meets the same fault, and deals with it
		}
		seats = []*seat{s}
	}
	for _, each := range seats {
		s.s.o.Trainer.Warm(each.device.Name, source)
	}
}

// overlaps reports whether trials may get ready here beside an evaluation:
// where that costs the evaluation little, which is on a GPU.
func (s *seat) overlaps() bool {
	c, _ := s.s.proposer.rules()
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	_, onGPU := device.CUDAIndex(cmp.Or(s.device.Local, s.device.Name))
	known := s.s.o.GPU != nil
	if s.device.Host != "" {
		known = s.s.o.Beside != nil
	}
	return onGPU && !s.crowded && known && c.Trial.Overlap != "off" && c.Trial.Isolation == "process"
}

// The memory of a device that an evaluation may still take.
const (
	spare      = 2 << 30
	spareShare = 0.05
	recent     = 8 // trials that say what the next one may need
)

// used is how much of the seat's GPU is in use, in bytes.
func (s *seat) used() (int64, bool) {
	if s.device.Host != "" {
		return s.s.o.Beside(s.device.Name)
	}
	index, _ := device.CUDAIndex(s.device.Name)
	return s.s.o.GPU.MemoryUsed(index)
}

// room reports whether the device has memory for another trial now, as far as
// the last ones on such a device tell; not where they do not.
func (s *seat) room() bool {
	used, ok := s.used()
	if !ok || s.device.Memory == 0 {
		return false
	}
	var need int64
	done := s.s.study.History().Done
	for i, seen := len(done)-1, 0; i >= 0 && seen < recent; i-- {
		if r := done[i]; r.Outcome.PeakVRAM > 0 && r.Trial.Kind == s.device.Kind {
			need = max(need, r.Outcome.PeakVRAM)
			seen++
		}
	}
	return need > 0 && used+need+spare+int64(spareShare*float64(s.device.Memory)) <= s.device.Memory
}
