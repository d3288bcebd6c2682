package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/compiled"
	"autoresearchd/daemon/device"
	"autoresearchd/search"
)

// memoryPatience bounds the wait for a killed trial's GPU memory.
const memoryPatience = 30 * time.Second

var seats atomic.Int64 // started by this process

// local is the place for trainers on this host: each is a process of this very
// binary, in a control group of its own where that can be.
type local struct {
	options *Options
	binary  string
	cgroups *Cgroups

	mu       sync.Mutex
	devices  map[int]*tenancy
	patience time.Duration // see memoryPatience
}

// tenancy is a GPU with the trials that are there.
type tenancy struct {
	trials map[*process]bool
	empty  int64 // bytes that others use, as far as is known: in use while none of the trials was there; -1: unknown
}

// process is a trainer on this host.
type process struct {
	*Leash
	*spool
	place  *local
	name   string
	device int
	onGPU  bool
	at     bool // it occupies the device
	still  calm
	view   *compiled.View
	marker string
	in     *os.File // requests
	out    *os.File // events
	log    *os.File
	heard  chan event
	silent chan struct{}
	killed gone
	inside // where it is confined
}

func newLocal(o *Options) *local {
	return &local{options: o, binary: "/proc/self/exe", cgroups: FindCgroups(), devices: map[int]*tenancy{}, patience: memoryPatience}
}

// held are the markers of trainers that this process holds: Sweep leaves them.
var held sync.Map

func (l *local) environment(t search.Trial) []string { return l.options.environment(t) }

func (l *local) onCores(name string) (trains, calm bool) { return device.IsCPU(name), canCalm() }

func (l *local) start(j job) (trainee, error) {
	if _, short := HostMemory(); j.spare && short {
		return nil, errors.New("the host has no memory to spare")
	}
	p := &process{place: l, name: j.name, heard: make(chan event, 64), silent: make(chan struct{}), spool: &spool{limit: max(tailSize, int(l.options.LogLimit))}}
	p.device, p.onGPU = device.CUDAIndex(j.device)
	var theirs [3]*os.File
	ours := [3]**os.File{&p.in, &p.out, &p.log}
	fail := func(err error) (trainee, error) {
		for i := range ours {
			if *ours[i] != nil {
				(*ours[i]).Close()
			}
		}
		return nil, fmt.Errorf("start a trainer: %w", err)
	}
	defer func() {
		for _, f := range theirs {
			if f != nil {
				f.Close()
			}
		}
	}()
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			return fail(err)
		}
		if *ours[i], theirs[i] = r, w; i == 0 {
			*ours[i], theirs[i] = w, r
		}
	}
	cmd := exec.Command(l.binary, command)
	cmd.Args[0] = "autoresearchd"
	if l.options.Confine && !l.options.Sandbox.On() { // which closes them too
		cmd.Args = append(cmd.Args, l.options.Closed...)
		cmd.Args = append(cmd.Args, confined)
	}
	p.marker = Marker(l.options.Owner, j.id)
	p.view = &compiled.View{}
	if j.trains {
		p.view = l.options.Compiled.View()
	}
	cmd.Dir, cmd.Env = j.dir, slices.Concat(j.env, p.view.Env(), []string{p.marker})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	if l.options.Sandbox.On() {
		if err := p.confine(cmd, j); err != nil {
			p.view.Close(false)
			p.unconfine()
			return fail(err)
		}
	}
	held.Store(p.marker, true)
	leash, err := l.cgroups.Start(cmd, j.name, p.marker, Share{l.options.Processes, l.options.Memory, l.options.Cores[j.device]})
	if p.link != nil {
		p.link.Go(err == nil)
	}
	if err != nil {
		held.Delete(p.marker)
		p.view.Close(false)
		p.unconfine()
		return fail(err)
	}
	p.Leash = leash
	p.listen()
	return p, nil
}

// listen reads what it says and prints until its streams end.
func (p *process) listen() {
	go func() {
		defer close(p.heard)
		for {
			var e event
			if err := readFrame(p.out, &e); err != nil {
				return
			}
			p.heard <- e
		}
	}()
	go func() {
		defer close(p.silent)
		buf := make([]byte, 32<<10)
		for {
			n, err := p.log.Read(buf)
			if n > 0 {
				p.add(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
}

func (p *process) ask(r request) error {
	r.Protocol = protocol
	return writeFrame(p.in, r)
}

func (p *process) events() <-chan event { return p.heard }

func (p *process) ended() <-chan struct{} { return p.Ended() }

func (p *process) logFD() int { return -1 }

func (p *process) handle() string {
	data, err := json.Marshal(handle{Cgroup: p.group.cgroup})
	if err != nil {
		return ""
	}
	return string(data)
}

// handle is how a trainer on this host is found again, beside its marker.
type handle struct {
	Cgroup string `json:"cgroup"`
	Host   string `json:"host,omitempty"` // of a cluster
	Job    string `json:"job,omitempty"`
	Step   string `json:"step,omitempty"`
}

func (p *process) cuda() bool { return p.onGPU }

func (p *process) occupy() {
	if !p.onGPU || p.at {
		return
	}
	p.at = true
	p.place.mu.Lock()
	defer p.place.mu.Unlock()
	d := p.place.devices[p.device]
	if d == nil {
		d = &tenancy{trials: map[*process]bool{}}
		p.place.devices[p.device] = d
	}
	used := p.used()
	if len(d.trials) == 0 {
		d.empty = used
	} else if theirs, ok := p.memoryOf(slices.Collect(maps.Keys(d.trials))...); ok && used >= 0 {
		d.empty = max(0, used-theirs)
	}
	d.trials[p] = true
}

// memoryOf returns the bytes of the GPU's memory that trainers hold, where NVML
// tells processes apart.
func (p *process) memoryOf(all ...*process) (int64, bool) {
	if p.place.options.GPU == nil {
		return 0, false
	}
	pids := map[int]bool{}
	for _, each := range all {
		for _, pid := range each.group.members() {
			pids[pid] = true
		}
	}
	return p.place.options.GPU.ProcessMemory(pids)
}

// leave ends what occupy began.
func (p *process) leave() {
	p.place.mu.Lock()
	defer p.place.mu.Unlock()
	if p.at {
		p.at = false
		delete(p.place.devices[p.device].trials, p)
	}
}

// neighbours returns how many other trials are on the device, and the bytes
// that others use there; -1: unknown.
func (p *process) neighbours() (trials int, empty int64) {
	p.place.mu.Lock()
	defer p.place.mu.Unlock()
	if !p.at {
		return 0, -1
	}
	d := p.place.devices[p.device]
	return len(d.trials) - 1, d.empty
}

// used returns the bytes in use on the device, or -1 if nobody knows.
func (p *process) used() int64 {
	if p.onGPU && p.place.options.GPU != nil {
		if used, ok := p.place.options.GPU.MemoryUsed(p.device); ok {
			return used
		}
	}
	return -1
}

func (p *process) use() use {
	members := p.group.members()
	limit, over := p.place.options.tooMuch(members)
	u := use{device: -1, whole: p.used(), limit: limit, over: over, wrote: p.written()}
	if !p.onGPU || p.place.options.GPU == nil {
		return u
	}
	if own, ok := p.memoryOf(p); ok {
		u.device = own
		return u
	}
	// Where NVML does not tell processes apart, what a device has more than
	// before is the trial's, if nobody else is there.
	if others, empty := p.neighbours(); others == 0 && empty >= 0 {
		if used := p.used(); used >= 0 {
			u.device = used - empty
		}
	}
	return u
}

func (p *process) end(grace time.Duration, _ bool) gone {
	g := &p.killed
	g.left, g.took = p.End(grace)
	g.outOfMemory = p.group.outOfMemory() // read before its counters are gone
	p.in.Close()
	if state := p.cmd.ProcessState; state != nil && len(g.left) == 0 {
		status := state.Sys().(syscall.WaitStatus)
		g.code = state.ExitCode()
		if status.Signaled() {
			g.signal = signalName(status.Signal())
		} else if p.link != nil {
			if sig, _ := p.link.Fate(); sig != 0 {
				g.code, g.signal = -1, signalName(sig)
			}
		}
	}
	return *g
}

func signalName(s syscall.Signal) string {
	return fmt.Sprintf("%s (%v)", unix.SignalName(s), s)
}

func (p *process) calm() { p.still.begin(p.group) }

func (p *process) rouse() { p.still.over() }

func (p *process) renew() { p.view.Renew() }

// signalled reports whether it died of a signal, once it has ended. In a sandbox
// its leader did not, and says so by its status, as a shell does.
func (p *process) signalled() bool {
	state := p.cmd.ProcessState
	return state != nil && (state.Sys().(syscall.WaitStatus).Signaled() || p.link != nil && state.ExitCode() > 128)
}

// settle bounds the reading of streams that something may still hold open, once
// everything that should hold them is dead.
func (p *process) settle(hear func(event)) {
	p.hush()
	for e := range p.heard {
		hear(e)
	}
	<-p.silent
}

// hush lets nobody wait for ever for what it has still to say.
func (p *process) hush() {
	deadline := time.Now().Add(10 * time.Second) // what has been said is still read on a machine that is starved
	_ = p.out.SetReadDeadline(deadline)
	_ = p.log.SetReadDeadline(deadline)
}

func (p *process) release(well bool) {
	p.leave()
	if len(p.killed.left) == 0 { // else something may still write there
		p.view.Close(well)
		p.unconfine()
	}
	p.in.Close()
	p.out.Close()
	p.log.Close()
	p.Release()
	held.Delete(p.marker)
}

// freed waits until a device's memory is back to where it was before any trial
// came. While another trial is there, the end of this one's processes is all
// that can be known: the driver frees with them.
func (p *process) freed() (time.Duration, error) {
	begin := time.Now()
	unfit := func(empty int64, reason string) error {
		return newQuarantine(p.device, empty, p.killed.left, reason)
	}
	if len(p.killed.left) > 0 {
		_, empty := p.neighbours()
		return 0, unfit(empty, fmt.Sprintf("processes %v of %s could not be ended", p.killed.left, p.name))
	}
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		others, empty := p.neighbours()
		if others > 0 || empty < 0 {
			return time.Since(begin), nil
		}
		used := p.used()
		if returned(used, empty) {
			return time.Since(begin), nil
		}
		if time.Since(begin) > p.place.patience {
			if used < 0 {
				return time.Since(begin), unfit(empty, "the driver does not say any more how much of its memory is in use")
			}
			return time.Since(begin), unfit(empty, fmt.Sprintf("it holds %d MiB, %d MiB before the trial, and did not give it back within %v", used>>20, empty>>20, p.place.patience))
		}
		time.Sleep(pause)
	}
}
