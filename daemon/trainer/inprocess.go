package trainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"autoresearchd/daemon/compiled"
	"autoresearchd/daemon/device"
	"autoresearchd/daemon/watchdog"
	"autoresearchd/search"
)

// ErrRestart says that the outcome stands, and that this process must end
// itself so that a fresh one goes on: a trial in it cannot be killed alone.
var ErrRestart = errors.New("the daemon must be started again")

// RestartStatus is the exit status of a daemon that wants to be started again.
const RestartStatus = 75

// Supervised returns an error where nothing would start the daemon again after
// it ended itself.
func Supervised(getenv func(string) string) error {
	if getenv("INVOCATION_ID") != "" || getenv("AUTORESEARCH_SUPERVISED") == "1" {
		return nil
	}
	return errors.New(`trial.isolation "inprocess" is refused: a hanging trial can be ended only together with the daemon, and nothing here would start it again; ` +
		`use isolation = "process", run it as a systemd service, or set AUTORESEARCH_SUPERVISED=1 under a supervisor that restarts it`)
}

// InProcess runs trials one after another in this process's own interpreter.
type InProcess struct {
	options Options
	view    *compiled.View
	calls   chan func(*seat)
	tell    func(event) error // the running trial's; set on the interpreter's thread
}

// NewInProcess starts CPython in this process.
func NewInProcess(o Options) (*InProcess, error) {
	p := &InProcess{options: o, view: o.Compiled.View(), calls: make(chan func(*seat))}
	env := p.view.Env()
	if o.Cache != "" {
		env = append(env, "AUTORESEARCH_CACHE="+o.Cache)
	}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("start CPython: %w", err)
		}
	}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // the interpreter's thread, for good
		s, err := newSeat(o.Python, false, func(e event) error { return p.tell(e) })
		ready <- err
		if err != nil {
			return
		}
		for call := range p.calls {
			call(s)
		}
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	return p, nil
}

// Close lets the interpreter be: torch does not survive its end.
func (p *InProcess) Close() error { return nil }

// Inspect reads a train.py in this interpreter.
func (p *InProcess) Inspect(ctx context.Context, source []byte) (Inspection, error) {
	type answer struct {
		i   Inspection
		err error
	}
	got := make(chan answer, 1)
	select {
	case p.calls <- func(s *seat) {
		i, err := s.inspect(source)
		got <- answer{i, err}
	}:
	case <-ctx.Done():
		return Inspection{}, ctx.Err()
	}
	a := <-got
	return a.i, a.err
}

// Warm implements Trainer: its interpreter is warm from the second trial on.
func (p *InProcess) Warm(string, []byte) {}

// Run runs a trial. When it must be ended by force, the error is ErrRestart.
func (p *InProcess) Run(ctx context.Context, given Order, observe func(Event)) (search.Outcome, error) {
	t := given.Trial
	o := &p.options
	r := newRecorder(o, t, observe)
	log, err := newRunLog(filepath.Join(o.Folder(t.ID), "run.log"), o.LogLimit, r.line)
	if err != nil {
		return search.Outcome{}, err
	}
	printed, script, err := os.Pipe()
	if err != nil {
		return search.Outcome{}, errors.Join(fmt.Errorf("run trial %d: %w", t.ID, err), log.close())
	}
	defer printed.Close()
	silent := make(chan struct{})
	go func() {
		defer close(silent)
		log.copyFrom(printed)
	}()
	index, onGPU := device.CUDAIndex(t.Device)
	before := r.deviceMemory(index, onGPU)
	self := []int{os.Getpid()}
	size := FolderSize(o.Folder(t.ID)) // is not the trial's doing
	begin := time.Now()
	dog := watchdog.Watch(o.limits(t.Budget))
	r.watch(dog)
	over := make(chan error, 1)
	order := o.order(t, int(script.Fd()), false)
	p.calls <- func(s *seat) {
		p.tell = func(e event) error { r.take(e); return nil }
		over <- s.run(*order)
	}
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	end := ending{memory: o.Memory}
	var broken error
	for running := true; running; {
		select {
		case broken = <-over:
			running = false
		case f := <-dog.Fired():
			end.firing, running = &f, false
		case <-ctx.Done():
			end.cancelled, running = context.Cause(ctx), false
		case <-sample.C:
			r.tell(Event{})
			r.sample(self, index, before, onGPU)
			if limit, over := o.tooMuch(family(self[0])); over {
				end.memory = limit
				end.outOfMemory, running = true, false
			}
			if o.Quota > 0 && FolderSize(o.Folder(t.ID))-size > o.Quota {
				end.quota, running = true, false
			}
		}
	}
	phase, spent := dog.Stop()
	r.watch(nil)
	forced := end.firing != nil || end.cancelled != nil || end.outOfMemory || end.quota
	_ = printed.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if !forced {
		script.Close()
	}
	<-silent
	if err := log.close(); err != nil {
		return search.Outcome{}, err
	}
	if broken != nil {
		return search.Outcome{}, fmt.Errorf("run trial %d: %w", t.ID, broken)
	}
	if end.firing != nil {
		r.tell(Event{Kill: &Kill{Phase: phase, Cause: end.firing.Cause}})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.outcome(end, log)
	out.WallSeconds = time.Since(begin).Seconds()
	out.Phases = spent
	if forced {
		return out, ErrRestart
	}
	p.view.Keep(out.Status == search.Completed)
	return out, nil
}
