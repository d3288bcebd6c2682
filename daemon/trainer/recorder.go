package trainer

import (
	"cmp"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"autoresearchd/daemon/watchdog"
	"autoresearchd/pyembed"
	"autoresearchd/search"
)

// sampleEvery is how often a running trial's memory and folder are looked at.
const sampleEvery = time.Second

// recorder takes in what both isolations hear of a trial, and tells it on.
type recorder struct {
	options *Options
	observe func(Event)

	stay *stay

	mu  sync.Mutex    // events and printed lines come from two goroutines
	dog *watchdog.Dog // nil: the trial has not begun, or is over
	at  time.Time     // when its evaluation was over; zero: it was not
	collector
}

func newRecorder(o *Options, t search.Trial, observe func(Event)) *recorder {
	if observe == nil {
		observe = func(Event) {}
	}
	return &recorder{options: o, observe: observe, collector: collector{budget: t.Budget, audit: t.Audit, fresh: t.Fresh, ordered: time.Now()}}
}

// watch gives the trial's deadlines a recorder that moves them; nil takes them
// away.
func (r *recorder) watch(dog *watchdog.Dog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dog = dog
}

// order is the trial as a trainer is told. One that has no place of its own to
// print to ends with the trial.
func (o *Options) order(given Order, in trainee) *order {
	t, work, logFD := given.Trial, in.sees(o.work(given.ID)), in.logFD()
	out := &order{
		Script: pyembed.Script{Path: filepath.Join(work, cmp.Or(given.script, "train.py")), Directory: work, Argv: []string{"train.py"}, Last: logFD < 0},
		Seed:   t.Seed, Seconds: t.Budget.Seconds, Steps: t.Budget.Steps, Uncounted: t.Budget.First(), Audit: t.Audit, Cache: o.Cache, LogFD: logFD,
		Gate: given.Gate != nil, Overlap: o.Overlap && in.cuda(), Prove: o.Notary != nil,
	}
	if t.Fresh != nil {
		out.Bar, out.Weights = t.Fresh.Bar, filepath.Join(work, weightsFile)
	}
	return out
}

// leave says that nothing more of the trial is to come.
func (r *recorder) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stay.end(r.at)
}

// take notes an event and moves the watchdog.
func (r *recorder) take(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.note(e, now)
	switch e.Kind {
	case "phase":
		r.enter(e.Phase)
	case "batch":
		if r.score != "" {
			r.enter(search.Train) // it was not over
		} else if r.dog != nil {
			r.dog.Beat()
		}
	case "step":
		if r.dog != nil {
			r.dog.Step()
		}
		r.observe(Event{Step: &Step{Number: e.Step, Tokens: e.Tokens, Counted: r.counted()}})
	case "score", "audit", "exit":
		later := e.Kind == "score" && r.audit
		if e.Kind != "exit" && !later {
			r.at = now
		}
		if later || r.toAudit() { // the audit is yet to come
			if r.dog != nil {
				r.dog.Enter(search.Exit)
			}
			break
		}
		if e.Kind == "exit" || r.spent(e) {
			r.stay.end(r.at)
		}
		r.enter(search.Exit)
	}
	r.enforce()
}

// again begins the deadline of a phase anew, for what was not the trial's doing.
func (r *recorder) again(p search.Phase) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dog != nil {
		r.dog.Enter(search.Exit)
		r.dog.Enter(p)
	}
}

// enter moves to a phase. mu is held.
func (r *recorder) enter(p search.Phase) {
	if r.dog != nil {
		r.dog.Enter(p)
	}
	r.observe(Event{Phase: p})
}

// enforce ends a trial that went on beyond its budget, or cannot recover. mu is
// held.
func (r *recorder) enforce() {
	switch {
	case r.dog == nil:
	case r.tampered != "":
		r.dog.Fire(watchdog.Firing{Phase: search.Train, Cause: watchdog.CauseOverrun, Why: r.tampered})
	case r.over != "":
		r.dog.Fire(watchdog.Firing{Phase: search.Train, Cause: watchdog.CauseOverrun, Why: r.over})
	case r.lost != "" && r.score == "":
		r.dog.Fire(watchdog.Firing{Phase: search.Train, Cause: watchdog.CauseDiverged, Why: r.lost})
	}
}

// line takes in a step that the script printed; progress is nil where its
// line is not like upstream's.
func (r *recorder) line(step int, progress *Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	alive := r.print(step)
	if progress != nil {
		if alive && r.alone(step, time.Now()) {
			r.enter(search.Train)
		}
		r.progress(*progress)
		r.observe(Event{Progress: progress})
	}
	if alive && r.dog != nil {
		r.dog.Beat()
	}
	r.enforce()
}

// tick says that time goes by.
func (r *recorder) tick(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold(now)
	r.enforce()
	r.observe(Event{})
}

func (r *recorder) tell(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observe(e)
}

// sample takes the peak of the device's memory that the trial holds, in bytes;
// -1: not known.
func (r *recorder) sample(used int64) {
	if used < 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.PeakVRAM = max(r.out.PeakVRAM, used)
	r.observe(Event{Memory: used})
}

// FolderSize adds up the bytes that a folder takes on disk. Links are not
// followed.
func FolderSize(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}
