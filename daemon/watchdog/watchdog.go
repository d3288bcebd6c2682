// Package watchdog decides when a trial has taken too long. [Machine] is a
// pure state machine over durations since the trial's start; [Dog] drives one
// with timers on the monotonic clock, so that neither a jump of the wall clock
// nor a suspended machine moves a deadline.
package watchdog

import (
	"fmt"
	"sync"
	"time"

	"autoresearchd/search"
)

// Limits are the deadlines of a trial. Zero means none.
type Limits struct {
	Startup  time.Duration // start to the first training batch
	Compile  time.Duration // from one sign of life to the next, before the first optimizer step
	Gate     time.Duration // the wait for the evaluation of a neighbour; Total leaves it out
	Stall    time.Duration // between optimizer steps while training
	Train    time.Duration // the whole of training: the budget and a margin
	Evaluate time.Duration // one evaluation
	Exit     time.Duration // score to the end of the process
	Total    time.Duration // the whole trial
}

// The causes of a Firing beside the names of the phases.
const (
	CauseStall    = "stall"
	CauseOverrun  = "overrun"
	CauseDiverged = "diverged"
	CauseTotal    = "total"
)

// Causes are those that can end a trial in a phase.
func Causes(p search.Phase) []string {
	switch p {
	case search.Train:
		return []string{CauseStall, CauseOverrun, CauseDiverged, CauseTotal}
	case search.Gate:
		return []string{string(p)}
	}
	return []string{string(p), CauseTotal}
}

// Firing is a deadline that has passed.
type Firing struct {
	Phase search.Phase
	Cause string // a phase's name, or one of the causes above
	Limit time.Duration
	Why   string // in words, where the limit is not a deadline of the watchdog's own; "" else
}

func (f Firing) String() string {
	if f.Why != "" {
		return f.Why
	}
	switch f.Cause {
	case CauseStall:
		return fmt.Sprintf("no optimizer step for %v (watchdog.stall)", f.Limit)
	case CauseOverrun:
		return fmt.Sprintf("training went on beyond %v, its budget and a margin", f.Limit)
	case CauseTotal:
		return fmt.Sprintf("not finished after %v (watchdog.total), in phase %s", f.Limit, f.Phase)
	case string(search.Startup):
		return fmt.Sprintf("no training batch was asked for within %v (watchdog.startup)", f.Limit)
	case string(search.Compile):
		return fmt.Sprintf("no optimizer step within %v of the last batch (watchdog.compile)", f.Limit)
	case string(search.Gate):
		return fmt.Sprintf("the evaluation of the trial before it did not end within %v (watchdog.evaluate and watchdog.exit)", f.Limit)
	}
	return fmt.Sprintf("%s took longer than %v (watchdog.%s)", f.Cause, f.Limit, f.Cause)
}

// Machine is the state of one trial's deadlines. Its times are durations
// since the trial's start and must not run backwards.
type Machine struct {
	limits  Limits
	phase   search.Phase
	entered time.Duration // when the phase began
	beat    time.Duration // the last optimizer step, or sign of life before the first
	spent   map[search.Phase]time.Duration
}

// New returns a machine in phase startup at time zero.
func New(limits Limits) *Machine {
	return &Machine{limits: limits, phase: search.Startup, spent: map[search.Phase]time.Duration{}}
}

// Phase returns the present phase.
func (m *Machine) Phase() search.Phase { return m.phase }

// Enter begins a phase. A script may evaluate in the middle and train on, so
// any order is legal; entering the present phase again changes nothing.
func (m *Machine) Enter(phase search.Phase, now time.Duration) {
	if phase == m.phase {
		return
	}
	m.spent[m.phase] += now - m.entered
	m.phase, m.entered, m.beat = phase, now, now
}

// Step notes an optimizer step. One outside training begins it.
func (m *Machine) Step(now time.Duration) {
	m.Enter(search.Train, now)
	m.beat = now
}

// Beat notes a sign of life that is no optimizer step: the wait for the next
// begins anew.
func (m *Machine) Beat(now time.Duration) { m.beat = now }

// Next returns the deadline that passes first, or false when none is set.
func (m *Machine) Next() (at time.Duration, f Firing, ok bool) {
	consider := func(from, limit time.Duration, cause string) {
		if limit > 0 && (!ok || from+limit < at) {
			at, f, ok = from+limit, Firing{Phase: m.phase, Cause: cause, Limit: limit}, true
		}
	}
	if m.phase != search.Gate {
		consider(m.spent[search.Gate], m.limits.Total, CauseTotal)
	}
	switch m.phase {
	case search.Startup:
		consider(m.beat, m.limits.Startup, string(m.phase))
	case search.Compile:
		consider(m.beat, m.limits.Compile, string(m.phase))
		if m.limits.Train > 0 && m.limits.Compile > 0 {
			consider(m.entered, m.limits.Compile+m.limits.Train, CauseOverrun)
		}
	case search.Gate:
		consider(m.entered, m.limits.Gate, string(m.phase))
	case search.Train:
		consider(m.beat, m.limits.Stall, CauseStall)
		consider(m.entered-m.spent[search.Train], m.limits.Train, CauseOverrun)
	case search.Evaluate:
		consider(m.entered, m.limits.Evaluate, string(m.phase))
	case search.Exit:
		consider(m.entered, m.limits.Exit, string(m.phase))
	}
	return at, f, ok
}

// Spent returns the time in each phase that was entered, in seconds.
func (m *Machine) Spent(now time.Duration) map[search.Phase]float64 {
	out := map[search.Phase]float64{}
	for phase, d := range m.spent {
		out[phase] = d.Seconds()
	}
	out[m.phase] += (now - m.entered).Seconds()
	return out
}

// Dog runs a Machine against the monotonic clock.
type Dog struct {
	mu    sync.Mutex
	m     *Machine
	start time.Time
	timer *time.Timer
	fired chan Firing
}

// Watch starts a trial's deadlines now. Stop must be called.
func Watch(limits Limits) *Dog {
	d := &Dog{m: New(limits), start: time.Now(), fired: make(chan Firing, 1)}
	d.mu.Lock() // the timer may fire before it is stored
	defer d.mu.Unlock()
	d.timer = time.AfterFunc(0, d.expire)
	return d
}

// Fired delivers at most one Firing.
func (d *Dog) Fired() <-chan Firing { return d.fired }

// Enter begins a phase.
func (d *Dog) Enter(phase search.Phase) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.m.Enter(phase, time.Since(d.start))
	d.arm()
}

// Step notes an optimizer step. A later deadline is found when the armed one
// passes, so the timer need not be touched.
func (d *Dog) Step() {
	d.mu.Lock()
	defer d.mu.Unlock()
	training := d.m.phase == search.Train
	d.m.Step(time.Since(d.start))
	if !training {
		d.arm()
	}
}

// Beat notes a sign of life that is no optimizer step. Like Step it puts a
// deadline off, which is found when the armed one passes.
func (d *Dog) Beat() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.m.Beat(time.Since(d.start))
}

// Fire ends the trial for a reason that is not a deadline.
func (d *Dog) Fire(f Firing) {
	select {
	case d.fired <- f:
	default: // it is being ended already
	}
}

// Stop ends the watch and returns the phase it ended in and the seconds spent
// in each.
func (d *Dog) Stop() (search.Phase, map[search.Phase]float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer.Stop()
	return d.m.Phase(), d.m.Spent(time.Since(d.start))
}

// arm sets the timer to the next deadline. mu is held.
func (d *Dog) arm() {
	if at, _, ok := d.m.Next(); ok {
		d.timer.Reset(at - time.Since(d.start))
	} else {
		d.timer.Stop()
	}
}

func (d *Dog) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, firing, ok := d.m.Next()
	if !ok {
		return
	}
	if time.Since(d.start) < at {
		d.arm()
		return
	}
	select {
	case d.fired <- firing:
	default:
	}
}
