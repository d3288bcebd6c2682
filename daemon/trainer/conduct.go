package trainer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"autoresearchd/daemon/watchdog"
	"autoresearchd/search"
)

// errUnheard says that a trainer had ended before its order came.
var errUnheard = errors.New("the trainer had ended before its order came")

// conduct gives a trainer its order, hears and watches it, and ends it. greeted
// says that its hello has been heard. It lets go of the trainer in any case.
func conduct(ctx context.Context, o *Options, all *stays, t trainee, greeted bool, given Order, observe func(Event)) (search.Outcome, error) {
	well := false
	defer func() { t.release(well) }()
	trial := given.Trial
	r := newRecorder(o, trial, observe)
	log, err := newRunLog(filepath.Join(o.Folder(trial.ID), "run.log"), o.LogLimit, r.line)
	if err != nil {
		t.end(0, true)
		return search.Outcome{}, err
	}
	r.stay = all.begin(trial.ID)
	defer r.leave()
	gate := newGate(given.Gate, all)
	proof := newProof(o, trial, t)
	defer proof.close()
	if o.Seat != nil {
		o.Seat(trial.ID, t.handle())
	}
	size := FolderSize(o.Folder(trial.ID)) // is not the trial's doing
	begin := time.Now()
	dog := watchdog.Watch(o.limits(trial.Budget))
	r.watch(dog)
	t.occupy()
	t.print(log.add)

	end := ending{memory: o.Memory}
	broken := ""
	order := func() bool {
		err := t.ask(request{Op: "order", Python: o.Python, Order: o.order(given, t)})
		if err != nil {
			broken = err.Error()
		}
		return err == nil
	}
	forced := greeted && !order()
	if forced {
		dog.Stop()
		t.end(0, true)
		return search.Outcome{}, errors.Join(fmt.Errorf("run trial %d: %s", trial.ID, broken), errUnheard, log.close())
	}
	hear := func(e event) {
		switch e.Kind {
		case "broken":
			broken = e.Broken
		case "gate":
			gate.reached(r, time.Now())
		case "prove":
			proof.hear(e.Say)
			return
		case "score":
			proof.score(&e)
		}
		r.take(e)
	}
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	heard, ended := t.events(), t.ended()
	var late <-chan time.Time
	for running := true; running; {
		var open <-chan struct{}
		if greeted { // an "open" is for the order before it
			open = gate.shut()
		}
		select {
		case e, ok := <-heard:
			switch {
			case !ok:
				heard, running = nil, ended != nil // the streams may end before the process does
			case !greeted && e.Kind != "broken":
				greeted = true
				if err := e.Hello.fits(); err != nil {
					broken = err.Error()
				}
				forced = broken != "" || !order()
				running = !forced
			case e.Kind == "idle":
				running = false
			default:
				hear(e)
			}
		case <-ended:
			// What it said is heard out, since its phases count; an orphan may
			// hold the stream open, and is ended with the group.
			ended, running = nil, heard != nil
			late = time.After(time.Second)
		case <-late:
			running = false
		case s := <-proof.asked:
			if proof.take(s) {
				r.again(search.Evaluate)
			}
			_ = t.ask(request{Op: "prove", Say: s.tell})
		case <-open:
			if gate.pass(r, time.Now()) {
				_ = t.ask(request{Op: "open"}) // where it cannot be asked it has ended
			}
		case f := <-dog.Fired():
			end.firing, forced, running = &f, true, false
		case <-ctx.Done():
			end.cancelled, forced, running = context.Cause(ctx), true, false
		case <-sample.C:
			r.tick(time.Now())
			use := t.use()
			r.sample(use.device)
			// The kernel's own limit is faster, where there is one.
			if use.over {
				end.memory = use.limit
				end.outOfMemory, forced, running = true, true, false
			}
			if wrote := use.wrote; o.Quota > 0 {
				if !use.far {
					wrote += FolderSize(o.Folder(trial.ID)) - size
				}
				if wrote > o.Quota+proof.room() {
					end.quota, forced, running = true, true, false
				}
			}
		}
	}
	phase, spent := dog.Stop()
	r.watch(nil)
	gone := t.end(o.Grace, forced)
	end.outOfMemory = end.outOfMemory || gone.outOfMemory
	t.settle(hear)
	if err := log.close(); err != nil {
		return search.Outcome{}, err
	}
	if gone.lost != nil && broken == "" { // after its last word
		broken = gone.lost.Error()
	}
	back, stuck := t.freed()
	if forced && end.firing != nil {
		note := fmt.Sprintf("nothing of it was left %.2f s after the deadline", gone.took.Seconds())
		if t.cuda() {
			note += fmt.Sprintf(", its GPU memory was back %.2f s later", back.Seconds())
		}
		end.flags = append(end.flags, note)
		r.tell(Event{Kill: &Kill{Phase: phase, Cause: end.firing.Cause, Seconds: gone.took.Seconds(), GPU: back.Seconds(), Leftover: gone.left}})
	}
	if broken != "" && r.collector.exit == nil {
		return search.Outcome{}, errors.Join(fmt.Errorf("run trial %d: %s\n%s", trial.ID, broken, log.lastLines(10)), stuck)
	}
	_, how := t.confined()
	end.code, end.confined = gone.code, !strings.HasPrefix(how, "none")
	if !forced {
		end.signal = gone.signal
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	gate.conclude(r)
	out := r.outcome(end, log)
	proof.conclude(&out)
	out.WallSeconds = time.Since(begin).Seconds()
	out.Phases = spent
	out.Sandbox = how
	well = out.Status == search.Completed
	return out, stuck
}

// gate is where a trial waits for the one before it: until its seat says that
// the evaluation is over, and it is.
type gate struct {
	after  int64
	stay   *stay             // of that trial; nil: it is not known any more
	waits  []<-chan struct{} // what must still be closed
	stood  time.Time         // since when it stands there
	opened time.Time
	record *search.GateRecord
}

func newGate(given *Gate, all *stays) *gate {
	if given == nil {
		return &gate{}
	}
	g := &gate{after: given.After, waits: []<-chan struct{}{given.Open}, stay: all.of(given.After)}
	if g.stay != nil {
		g.waits = append(g.waits, g.stay.over)
	}
	return g
}

// shut is closed when the next thing that it waits for has come; nil: it waits
// for nothing.
func (g *gate) shut() <-chan struct{} {
	if len(g.waits) == 0 {
		return nil
	}
	return g.waits[0]
}

// pass notes that shut was closed, and reports whether the gate is now open.
func (g *gate) pass(r *recorder, now time.Time) bool {
	if g.waits = g.waits[1:]; len(g.waits) > 0 {
		return false
	}
	g.opened = now
	if !g.stood.IsZero() {
		g.note(r, search.Train, now.Sub(g.stood))
	}
	return true
}

// reached notes that the trial stands at the gate, or went through.
func (g *gate) reached(r *recorder, now time.Time) {
	if g.stood = now; !g.opened.IsZero() {
		g.note(r, search.Train, 0)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter(search.Gate)
}

func (g *gate) note(r *recorder, p search.Phase, waited time.Duration) {
	g.record = &search.GateRecord{After: g.after, Opened: g.opened.UTC(), Waited: waited.Seconds()}
	if g.stay != nil && !g.stay.scored.IsZero() {
		g.record.Scored = g.stay.scored.UTC()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter(p)
}

// conclude says in the outcome how the trial came through. r.mu is held.
func (g *gate) conclude(r *recorder) {
	r.out.Gate = g.record
	if g.after > 0 && g.record == nil && r.last.Step > r.budget.First() {
		r.out.Flags = append(r.out.Flags, fmt.Sprintf("it could not be held at the gate, for its steps were seen only as it printed them: its training may have overlapped the evaluation of trial %d", g.after))
	}
}
