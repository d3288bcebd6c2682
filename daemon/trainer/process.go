package trainer

import (
	"context"
	"errors"
	"fmt"

	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/watchdog"
	"autoresearchd/search"
)

const (
	// memoryPatience bounds the wait for a killed trial's GPU memory.
	memoryPatience = 30 * time.Second
	// memorySlack is the GPU memory in bytes that may differ from before.
	memorySlack = 64 << 20
)

var seats atomic.Int64 // started by this process

// Process runs each trial in a fresh process of this binary.
type Process struct {
	options Options
	binary  string
	cgroups *Cgroups
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
	p := &Process{options: o, binary: "/proc/self/exe", cgroups: FindCgroups()}
	if p.cgroups.Why != "" {
		o.Log.Info("trials run without control groups", "reason", p.cgroups.Why)
	}
	return p, nil
}

// Cgroups are the daemon's, for what else it starts.
func (p *Process) Cgroups() *Cgroups { return p.cgroups }

// Close removes the daemon's control groups.
func (p *Process) Close() error {
	p.cgroups.Close()
	return nil
}

// process is a running seat.
type process struct {
	*Leash
	in     *os.File // requests
	events *os.File
	log    *os.File
}

// spawn starts a seat for a trial, or with 0 for something else, that waits
// for its request.
func (p *Process) spawn(name string, id int64, dir string, env []string, cores []int) (*process, error) {
	var ours, theirs [3]*os.File
	closeAll := func(files [3]*os.File) {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours)
			closeAll(theirs)
			return nil, fmt.Errorf("start a seat: %w", err)
		}
		ours[i], theirs[i] = r, w
		if i == 0 {
			ours[i], theirs[i] = w, r
		}
	}
	defer closeAll(theirs)
	cmd := exec.Command(p.binary, "trainer")
	cmd.Args[0] = "autoresearchd"
	if p.options.Confine {
		cmd.Args = append(cmd.Args, p.options.Closed...)
		cmd.Args = append(cmd.Args, confined)
	}
	marker := Marker(p.options.Owner, id)
	cmd.Dir, cmd.Env = dir, append(env, marker)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	leash, err := p.cgroups.Start(cmd, name, marker, Share{p.options.Processes, p.options.Memory, cores})
	if err != nil {
		closeAll(ours)
		return nil, fmt.Errorf("start a seat: %w", err)
	}
	return &process{Leash: leash, in: ours[0], events: ours[1], log: ours[2]}, nil
}

// end makes sure that nothing of the seat is left, and lets go of it.
func (s *process) end(grace time.Duration) (leftover []int, took time.Duration) {
	leftover, took = s.End(grace)
	s.in.Close()
	return leftover, took
}

// listen reads what the seat says until its streams end. events is closed
// after the last one; print is called with what the script prints.
func (s *process) listen(print func([]byte)) (events <-chan event, silent <-chan struct{}) {
	out, done := make(chan event, 64), make(chan struct{})
	go func() {
		defer close(out)
		for {
			var e event
			if err := readFrame(s.events, &e); err != nil {
				return
			}
			out <- e
		}
	}()
	go func() {
		defer close(done)
		buf := make([]byte, 32<<10)
		for {
			n, err := s.log.Read(buf)
			if n > 0 {
				print(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	return out, done
}

// hush bounds the reading of streams that something may still hold open, once
// everything that should hold them is dead.
func (s *process) hush() {
	deadline := time.Now().Add(10 * time.Second) // what has been said is still read on a machine that is starved
	_ = s.events.SetReadDeadline(deadline)
	_ = s.log.SetReadDeadline(deadline)
}

func (s *process) close() {
	s.in.Close()
	s.events.Close()
	s.log.Close()
	s.Release()
}

// Inspect reads a train.py in a fresh interpreter.
func (p *Process) Inspect(ctx context.Context, source []byte) (Inspection, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	seat, err := p.spawn("inspect", 0, "/", p.options.environment(search.Trial{Device: device.CPU}), nil)
	if err != nil {
		return Inspection{}, err
	}
	defer seat.close()
	var text []byte
	events, silent := seat.listen(func(b []byte) { text = append(text, b[:min(len(b), tailSize-min(tailSize, len(text)))]...) })
	err = writeFrame(seat.in, request{Op: "inspect", Python: p.options.Python, Source: source})
	var answer event
	if err == nil {
		select {
		case answer = <-events:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	seat.end(0)
	seat.hush()
	<-silent
	printed := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return Inspection{}, fmt.Errorf("inspect train.py: %w (the seat's end: %v)\n%s", err, seat.err, printed)
	case answer.Broken != "":
		return Inspection{}, fmt.Errorf("inspect train.py: %s\n%s", answer.Broken, printed)
	case answer.Inspection == nil:
		return Inspection{}, fmt.Errorf("inspect train.py: the seat ended without an answer: %v\n%s", seat.err, printed)
	}
	return *answer.Inspection, nil
}

// SelfTest starts a seat that ignores every signal it can and never ends, and
// proves that it can be killed.
func (p *Process) SelfTest(ctx context.Context) error {
	seat, err := p.spawn("self-test", 0, "/", p.options.environment(search.Trial{Device: device.CPU}), nil)
	if err != nil {
		return err
	}
	defer seat.close()
	events, silent := seat.listen(func([]byte) {})
	if err := writeFrame(seat.in, request{Op: "hang"}); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	select {
	case <-events:
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
	}
	left, took := seat.end(10 * time.Millisecond)
	seat.hush()
	<-silent
	if len(left) > 0 {
		return fmt.Errorf("self-test: a hanging trial could not be killed: processes %v are still there after %v; no trial would be safe here", left, took.Round(time.Millisecond))
	}
	return nil
}

// Warm implements Trainer.
func (p *Process) Warm(string, []byte) {}

// Run runs a trial. Its folder exists and holds work/ with train.py and the
// modules beside it.
func (p *Process) Run(ctx context.Context, order Order, observe func(Event)) (search.Outcome, error) {
	t := order.Trial
	o := &p.options
	r := newRecorder(o, t, observe)
	log, err := newRunLog(filepath.Join(o.Folder(t.ID), "run.log"), o.LogLimit, r.line)
	if err != nil {
		return search.Outcome{}, err
	}
	index, onGPU := device.CUDAIndex(t.Device)
	before := r.deviceMemory(index, onGPU)
	view, kept := o.Compiled.View(), false
	seat, err := p.spawn(fmt.Sprintf("trial-%d", t.ID), t.ID, o.work(t.ID), append(o.environment(t), view.Env()...), o.Cores[t.Device])
	if err != nil {
		view.Close(false)
		return search.Outcome{}, errors.Join(err, log.close())
	}
	defer seat.close()
	if o.Seat != nil {
		o.Seat(t.ID, seat.group.cgroup)
	}
	given := FolderSize(o.Folder(t.ID)) // is not the trial's doing
	begin := time.Now()
	dog := watchdog.Watch(o.limits(t.Budget))
	r.watch(dog)
	events, silent := seat.listen(log.add)

	end := ending{memory: o.Memory}
	broken := ""
	forced := false
	if err := writeFrame(seat.in, request{Op: "run", Python: o.Python, Run: o.order(t, -1, true)}); err != nil {
		broken = err.Error()
		forced = true
	}
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	heard, ended := events, seat.ended
	var late <-chan time.Time
	for running := !forced; running; {
		select {
		case e, ok := <-heard:
			if !ok {
				heard, running = nil, ended != nil // the streams may end before the process does
				continue
			}
			if e.Kind == "broken" {
				broken = e.Broken
			}
			r.take(e)
		case <-ended:
			// What it said is heard out, since its phases count; an orphan may
			// hold the stream open, and is ended with the group.
			ended, running = nil, heard != nil
			late = time.After(time.Second)
		case <-late:
			running = false
		case f := <-dog.Fired():
			end.firing, forced, running = &f, true, false
		case <-ctx.Done():
			end.cancelled, forced, running = context.Cause(ctx), true, false
		case <-sample.C:
			r.tell(Event{})
			members := seat.group.members()
			r.sample(members, index, before, onGPU)
			// The kernel's own limit is faster, where there is one.
			if limit, over := o.tooMuch(members); over {
				end.memory = limit
				end.outOfMemory, forced, running = true, true, false
			}
			if o.Quota > 0 && FolderSize(o.Folder(t.ID))-given > o.Quota {
				end.quota, forced, running = true, true, false
			}
		}
	}
	phase, spent := dog.Stop()
	r.watch(nil)
	// Read before the group and its counters are gone.
	left, took := seat.end(o.Grace)
	if len(left) == 0 { // else something may still write there
		defer func() { view.Close(kept) }()
	}
	end.outOfMemory = end.outOfMemory || seat.group.outOfMemory()
	seat.hush()
	for e := range events {
		if e.Kind == "broken" {
			broken = e.Broken
		}
		r.take(e)
	}
	<-silent
	if err := log.close(); err != nil {
		return search.Outcome{}, err
	}
	var back time.Duration
	var stuck error
	if onGPU {
		back, stuck = r.awaitMemory(index, before)
	}
	if len(left) > 0 {
		stuck = &Quarantine{device: index, before: before, leftover: left, reason: fmt.Sprintf("processes %v of trial %d could not be ended", left, t.ID)}
	}
	if forced && end.firing != nil {
		note := fmt.Sprintf("nothing of it was left %.2f s after the deadline", took.Seconds())
		if onGPU {
			note += fmt.Sprintf(", its GPU memory was back %.2f s later", back.Seconds())
		}
		end.flags = append(end.flags, note)
		r.tell(Event{Kill: &Kill{Phase: phase, Cause: end.firing.Cause, Seconds: took.Seconds(), GPU: back.Seconds(), Leftover: left}})
	}
	if broken != "" && r.collector.exit == nil {
		return search.Outcome{}, errors.Join(fmt.Errorf("run trial %d: %s\n%s", t.ID, broken, log.lastLines(10)), stuck)
	}
	if state := seat.cmd.ProcessState; state != nil && len(left) == 0 {
		status := state.Sys().(syscall.WaitStatus)
		end.code = state.ExitCode()
		if status.Signaled() && !forced {
			end.signal = signalName(status.Signal())
		}
	}
	out := r.outcome(end, log)
	out.WallSeconds = time.Since(begin).Seconds()
	out.Phases = spent
	kept = out.Status == search.Completed
	return out, stuck
}

func signalName(s syscall.Signal) string {
	return fmt.Sprintf("%s (%v)", unix.SignalName(s), s)
}
