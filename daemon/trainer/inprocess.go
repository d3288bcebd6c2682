package trainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"autoresearchd/daemon/compiled"
	"autoresearchd/daemon/device"
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

// InProcess runs trials one after another in this process's own interpreter. It
// has no second one that could get ready beside a trial: an order waits until
// the trial before it has ended.
type InProcess struct {
	options Options
	view    *compiled.View
	stays   stays
	turn    chan struct{} // holds a token while the interpreter works
	in, out *os.File      // the ends of the trainer's streams that are the daemon's
	heard   chan event
}

// NewInProcess starts CPython in this process.
func NewInProcess(o Options) (*InProcess, error) {
	p := &InProcess{options: o, view: o.Compiled.View(), turn: make(chan struct{}, 1), heard: make(chan event, 64)}
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
	requests, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start CPython: %w", err)
	}
	out, events, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start CPython: %w", err)
	}
	p.in, p.out = in, out
	go func() {
		runtime.LockOSThread() // the interpreter's thread, for good
		defer events.Close()
		if err := serve(requests, events, true); err != nil {
			_ = writeFrame(events, event{Kind: "broken", Broken: err.Error()})
		}
	}()
	go func() {
		defer close(p.heard)
		for {
			var e event
			if err := readFrame(out, &e); err != nil {
				return
			}
			p.heard <- e
		}
	}()
	t := &embedded{InProcess: p}
	err = greet(context.Background(), t)
	if err == nil {
		_, err = ask(context.Background(), t, request{Op: "start", Python: o.Python})
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Close lets the interpreter be: torch does not survive its end.
func (p *InProcess) Close() error { return nil }

// mine waits for the interpreter, until done is called.
func (p *InProcess) mine(ctx context.Context) (done func(), err error) {
	select {
	case p.turn <- struct{}{}:
		return func() { <-p.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Inspect reads a train.py in this interpreter.
func (p *InProcess) Inspect(ctx context.Context, source []byte) (Inspection, error) {
	done, err := p.mine(ctx)
	if err != nil {
		return Inspection{}, err
	}
	defer done()
	// An answer that nobody waits for would be taken for the next one's.
	e, err := ask(context.WithoutCancel(ctx), &embedded{InProcess: p}, request{Op: "inspect", Python: p.options.Python, Source: source})
	if err != nil {
		return Inspection{}, err
	}
	return *e.Inspection, nil
}

// Warm implements Trainer: its interpreter is warm from the second trial on.
func (p *InProcess) Warm(string, []byte) {}

// Run runs a trial. When it must be ended by force, the error is ErrRestart.
func (p *InProcess) Run(ctx context.Context, given Order, observe func(Event)) (search.Outcome, error) {
	done, err := p.mine(ctx)
	if err != nil {
		return search.Outcome{Status: search.Interrupted, Detail: "ended from outside"}, nil
	}
	printed, script, err := os.Pipe()
	if err != nil {
		done()
		return search.Outcome{}, fmt.Errorf("run trial %d: %w", given.ID, err)
	}
	t := &embedded{InProcess: p, spool: &spool{limit: int(p.options.LogLimit)}, printed: printed, script: script, silent: make(chan struct{}), done: done}
	t.device, t.onGPU = device.CUDAIndex(given.Device)
	go func() {
		defer close(t.silent)
		buf := make([]byte, 32<<10)
		for {
			n, err := printed.Read(buf)
			t.add(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	out, err := conduct(ctx, &p.options, &p.stays, t, true, given, observe)
	var fresh place // not this process
	if p.options.Notary != nil {
		fresh = p.options.Notary.place
	}
	return p.options.audited(ctx, fresh, given, out, err, observe)
}

// embedded is the trainer in this process, for one trial.
type embedded struct {
	*InProcess
	*spool
	device          int
	onGPU           bool
	before          int64 // bytes in use on the device before the trial; -1: unknown
	printed, script *os.File
	silent          chan struct{}
	done            func()
	forced          bool // its trial has not ended by itself
}

func (t *embedded) ask(r request) error {
	r.Protocol = protocol
	return writeFrame(t.in, r)
}

func (t *embedded) events() <-chan event   { return t.heard }
func (t *embedded) ended() <-chan struct{} { return nil }
func (t *embedded) logFD() int             { return int(t.script.Fd()) }

func (t *embedded) moveIn(string) error { return nil }

func (t *embedded) sees(work string) string { return work }

func (t *embedded) confined() (bool, string) { return false, "none" }
func (t *embedded) handle() string           { return "{}" }

// There is no standby here.
func (t *embedded) calm()  {}
func (t *embedded) rouse() {}
func (t *embedded) renew() {}

func (t *embedded) cuda() bool { return t.onGPU }

func (t *embedded) occupy() {
	t.before = -1
	if gpu := t.options.GPU; t.onGPU && gpu != nil {
		if used, ok := gpu.MemoryUsed(t.device); ok {
			t.before = used
		}
	}
}

func (t *embedded) use() use {
	self := os.Getpid()
	limit, over := t.options.tooMuch(family(self))
	u := use{device: -1, limit: limit, over: over}
	if gpu := t.options.GPU; t.onGPU && gpu != nil {
		if own, ok := gpu.ProcessMemory(map[int]bool{self: true}); ok {
			u.device = own
		} else if used, ok := gpu.MemoryUsed(t.device); ok && t.before >= 0 {
			u.device = used - t.before
		}
	}
	return u
}

// end can end nothing: freed says what that means.
func (t *embedded) end(_ time.Duration, forced bool) gone {
	t.forced = forced
	return gone{}
}

func (t *embedded) settle(hear func(event)) {
	_ = t.printed.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if !t.forced {
		t.script.Close()
	}
	<-t.silent
	for {
		select {
		case e := <-t.heard:
			hear(e)
		default:
			return
		}
	}
}

func (t *embedded) freed() (time.Duration, error) {
	if !t.forced {
		return 0, nil
	}
	return 0, ErrRestart
}

func (t *embedded) release(well bool) {
	t.printed.Close()
	if !t.forced {
		t.view.Keep(well)
		t.done()
	}
}
