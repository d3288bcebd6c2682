package trainer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/device"
	"autoresearchd/search"
)

// Process runs each trial in a fresh process of this binary, on this host. It
// runs trials of several devices at once.
type Process struct {
	options   Options
	place     *local
	stays     stays
	cluster   *cluster
	inspector inspector
	standbys  standbys
}

// NewProcess makes the process a subreaper, so that the orphans of trials come
// to it and not to init.
func NewProcess(o Options) (*Process, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the subreaper of trials: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Sandbox.On() { // what an earlier daemon's trainers left
		if err := os.RemoveAll(o.scratches()); err != nil {
			return nil, fmt.Errorf("remove the scratch folders of earlier trials: %w", err)
		}
	}
	p := &Process{options: o}
	p.place = newLocal(&p.options)
	p.cluster = newCluster(&p.options, p.place.cgroups)
	p.inspector = inspector{options: &p.options, place: p.place, turn: make(chan struct{}, 1)}
	p.standbys = standbys{of: map[string]*standby{}, later: map[string][]byte{}, failures: map[string]int{}, said: map[string]bool{}}
	if why := p.place.cgroups.Why; why != "" {
		o.Log.Info("trials run without control groups", "reason", why)
	}
	return p, nil
}

// at is the place of a seat.
func (p *Process) at(device string) place {
	if b := p.cluster.berth(device); b != nil {
		return b
	}
	return p.place
}

// Cgroups are the daemon's, for what else it starts.
func (p *Process) Cgroups() *Cgroups { return p.place.cgroups }

// Close ends the trainers that wait, and removes the daemon's control groups.
func (p *Process) Close() error {
	p.inspector.close()
	p.standbys.close()
	p.cluster.close()
	p.place.cgroups.Close()
	return nil
}

// Inspect reads a train.py in a trainer that stays for the next one.
func (p *Process) Inspect(ctx context.Context, source []byte) (Inspection, error) {
	return p.inspector.inspect(ctx, source)
}

// SelfTest starts a trainer that ignores every signal it can and never ends,
// and proves that it can be killed.
func (p *Process) SelfTest(ctx context.Context) error {
	t, err := p.place.start(job{name: "self-test", dir: "/", env: p.options.environment(search.Trial{Device: device.CPU})})
	if err != nil {
		return err
	}
	defer t.release(false)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := greet(ctx, t); err == nil {
		_, _ = ask(ctx, t, request{Op: "hang"}) // whatever it has come to, it must be gone
	}
	gone := t.end(10*time.Millisecond, true)
	t.settle(func(event) {})
	if len(gone.left) > 0 {
		return fmt.Errorf("self-test: a hanging trial could not be killed: processes %v are still there after %v; no trial would be safe here", gone.left, gone.took.Round(time.Millisecond))
	}
	return nil
}

// Run runs a trial. Its folder exists and holds work/ with train.py and the
// modules beside it.
func (p *Process) Run(ctx context.Context, order Order, observe func(Event)) (search.Outcome, error) {
	o, t := &p.options, order.Trial
	if observe == nil {
		observe = func(Event) {}
	}
	var eased sync.WaitGroup
	defer eased.Wait() // later, it would ease what gets ready beside the next trial
	told := func(e Event) {
		observe(e)
		if e.Phase == search.Evaluate {
			eased.Go(func() { p.evaluates(t.Device) }) // it may start something, and the trial's events wait
		}
	}
	fresh := place(p.place)
	if p.cluster.berth(t.Device) != nil {
		fresh = nil
	}
	if warm := p.take(ctx, t); warm != nil {
		out, err := conduct(ctx, o, &p.stays, warm, true, order, told)
		if !errors.Is(err, errUnheard) {
			return o.audited(ctx, fresh, order, out, err, observe)
		}
	}
	cold, err := p.at(t.Device).start(job{name: fmt.Sprintf("trial-%d", t.ID), id: t.ID, trains: true, device: t.Device, dir: o.work(t.ID), env: p.at(t.Device).environment(t)})
	if err != nil {
		return search.Outcome{}, err
	}
	out, err := conduct(ctx, o, &p.stays, cold, false, order, told)
	return o.audited(ctx, fresh, order, out, err, observe)
}

// greet waits for a trainer's hello.
func greet(ctx context.Context, t trainee) error {
	e, err := next(ctx, t)
	if err != nil {
		return err
	}
	return e.Hello.fits()
}

// ask asks a trainer that has said hello, and waits for its answer.
func ask(ctx context.Context, t trainee, r request) (event, error) {
	if err := t.ask(r); err != nil {
		return event{}, err
	}
	return next(ctx, t)
}

func next(ctx context.Context, t trainee) (event, error) {
	select {
	case e, ok := <-t.events():
		switch {
		case !ok:
			return event{}, errors.New("the trainer ended without an answer")
		case e.Kind == "broken":
			return event{}, errors.New(e.Broken)
		}
		return e, nil
	case <-ctx.Done():
		return event{}, ctx.Err()
	}
}
