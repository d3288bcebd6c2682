package trainer

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/compiled"
	"autoresearchd/daemon/device"
	"autoresearchd/metrics/gpu"
	"autoresearchd/pyembed"
	"autoresearchd/search"
)

// A host is `autoresearchd trainer host`: on another machine it holds a local
// place for one seat of the daemon, which reaches it by frames on its standard
// streams. Files come in frames too, so that nothing of the study need be there:
//
//	daemon                                           host, on a node
//	      ── begin: settings ─▶ ◀─ hello: what it is ─
//	      ── start, stage, ask, end, release ─▶        each for one trainer
//	      ◀─ event, print, use, gone ─────────
//	      ── alive ─▶ ◀─ alive ───────────────         who hears none for long lets go
const hostArg = "host"

// lease is how long either side goes on without a word of the other; beat is
// how often each says one.
const (
	lease = 2 * time.Minute
	beat  = 10 * time.Second
)

// Holds is the file by which a host says that its allocation is in use. It is
// touched every beat.
func holdFile(job string) string { return "/tmp/autoresearchd-" + job + ".held" }

// host is one, from inside.
type host struct {
	options Options
	place   *local
	device  string
	gpus    device.GPU
	scratch string
	heard   atomic.Int64 // when the daemon last spoke, in nanoseconds

	out sync.Mutex
	to  io.Writer

	mu       sync.Mutex
	trainees map[int64]*guest
}

// hostMain serves one daemon until it says no more, and leaves nothing behind.
func hostMain() int {
	requests, events, err := privateStreams()
	if err != nil {
		fmt.Fprintln(os.Stderr, "autoresearchd trainer host:", err)
		return 1
	}
	h := &host{to: events, trainees: map[int64]*guest{}}
	if err := h.serve(requests); err != nil {
		fmt.Fprintln(os.Stderr, "autoresearchd trainer host:", err)
		return 1
	}
	return 0
}

// tell says something to the daemon. A line end follows each frame, since what
// lies between may hold text back until there is one.
func (h *host) tell(e hostEvent) {
	h.out.Lock()
	defer h.out.Unlock()
	_ = writeFrame(lineWriter{h.to}, e) // who does not hear it is missed by the lease
}

// lineWriter lengthens a frame by a line end, which JSON passes over.
type lineWriter struct{ io.Writer }

func (w lineWriter) Write(frame []byte) (int, error) {
	body := frame[4:]
	longer := binary.BigEndian.AppendUint32(make([]byte, 0, len(frame)+1), uint32(len(body)+1))
	return w.Writer.Write(append(append(longer, body...), '\n'))
}

func (h *host) serve(from io.Reader) error {
	in := bufio.NewReaderSize(from, 1<<16)
	var first hostRequest
	if err := readFrame(in, &first); err != nil {
		return err
	}
	if first.Op != "begin" || first.Setup == nil {
		return errors.New("it is started by the daemon, on a node of a cluster")
	}
	job, step, name := os.Getenv("SLURM_JOB_ID"), os.Getenv("SLURM_JOB_ID")+"."+os.Getenv("SLURM_STEP_ID"), os.Getenv("SLURMD_NODENAME")
	gpus := h.begin(first.Setup)
	defer h.leave()
	hello := h.look(first.Setup, gpus)
	hello.Job, hello.Step, hello.Host = job, step, cmp.Or(name, hello.Host)
	h.tell(hostEvent{Kind: "hello", Hello: hello})
	if len(hello.Faults) > 0 {
		return nil
	}

	requests, broken := make(chan hostRequest, 16), make(chan error, 1)
	h.heard.Store(time.Now().UnixNano())
	go func() {
		for {
			var r hostRequest
			if err := readFrame(in, &r); err != nil {
				broken <- err
				return
			}
			h.heard.Store(time.Now().UnixNano())
			requests <- r
		}
	}()
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCONT, syscall.SIGUSR1)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	h.hold(job)
	for {
		select {
		case r := <-requests:
			h.answer(r)
		case err := <-broken:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case s := <-ends:
			if s == syscall.SIGCONT { // which Slurm sends before it means to end a step
				continue
			}
			h.tell(hostEvent{Kind: "leaving", Why: fmt.Sprintf("Slurm ended the step (%v): its allocation expired, was preempted or cancelled", s)})
			return nil
		case <-tick.C:
			if time.Since(time.Unix(0, h.heard.Load())) > lease {
				return fmt.Errorf("the daemon has not been heard for %v", lease)
			}
			h.hold(job)
			h.tell(hostEvent{Kind: "alive", GPUs: h.figures(gpus)})
		}
	}
}

// figures are what NVML says of the seat's GPU.
func (h *host) figures(gpus gpu.GPUs) []gpu.Sample {
	index, ok := device.CUDAIndex(h.device)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return slices.DeleteFunc(gpus.Sample(ctx), func(s gpu.Sample) bool { return s.Device != index })
}

// hold says that the allocation is in use.
func (h *host) hold(job string) {
	if job != "" {
		now := time.Now()
		_ = os.Chtimes(holdFile(job), now, now)
	}
}

// begin makes a local place as the daemon would have one here.
func (h *host) begin(s *setup) gpu.GPUs {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "SLURM") || strings.HasPrefix(name, "PMI") {
			os.Unsetenv(name) // a trial is as on any machine
		}
	}
	if me, err := user.Current(); err == nil {
		for name, value := range map[string]string{"HOME": me.HomeDir, "USER": me.Username, "LOGNAME": me.Username} {
			if os.Getenv(name) == "" && value != "" {
				os.Setenv(name, value)
			}
		}
	}
	for name, value := range map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"} {
		if os.Getenv(name) == "" {
			os.Setenv(name, value)
		}
	}
	Sweep(s.Owner, "") // what an earlier host of this seat has left here
	h.scratch = scratchFolder(s.Owner)
	gpus := gpu.Open(context.Background())
	h.gpus = gpus
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h.options = Options{
		Python: s.Python, Cache: s.Cache, LogLimit: s.LogLimit, Processes: s.Processes, Memory: s.Memory, Room: s.Room,
		Confine: s.Confine, Closed: s.Closed, Owner: s.Owner, Overlap: s.Overlap, GPU: gpus, Log: log, Cores: map[string][]int{},
		Shared: s.Shared, Deny: s.Deny, Folder: func(id int64) string { return filepath.Join(h.scratch, strconv.FormatInt(id, 10)) },
	}
	h.options.Compiled = compiled.Open(log, compiled.Limit, h.scratch+".compiled")
	h.place = newLocal(&h.options)
	return gpus
}

// scratchFolder is where a host keeps what trials have and write: always the
// same, so that the next host of the seat clears what one has left.
func scratchFolder(owner string) string {
	base := filepath.Join(os.TempDir(), "autoresearchd-"+strconv.Itoa(os.Getuid()))
	_ = os.Mkdir(base, 0o700)
	if info, err := os.Lstat(base); err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		base, _ = os.MkdirTemp("", "autoresearchd-") // somebody else has made it
	}
	dir := filepath.Join(base, fmt.Sprintf("%x", sha256.Sum256([]byte(owner)))[:16])
	_ = os.RemoveAll(dir)
	_ = os.MkdirAll(dir, 0o700)
	return dir
}

// look finds what this host has for trials, and what keeps it from running any.
func (h *host) look(s *setup, gpus gpu.GPUs) *hostHello {
	hello := &hostHello{Protocol: protocol, Python: pyembed.Version(), Now: time.Now(), Calm: canCalm(), Faults: []string{}}
	hello.Host, _ = os.Hostname()
	fault := func(err error) { hello.Faults = append(hello.Faults, err.Error()) }
	if s.Protocol != protocol {
		fault(fmt.Errorf("it speaks version %d of the protocol and the daemon version %d: install the same autoresearchd on both", protocol, s.Protocol))
		return hello
	}
	if err := CheckVenv(context.Background(), s.Python); err != nil {
		fault(err)
	}
	for _, path := range s.Needs {
		if _, err := os.Stat(path); err != nil {
			fault(fmt.Errorf("%s is not there: put the data and the venv on a file system that the nodes share, or copy them to the same paths", path))
			break
		}
	}
	m, err := device.Here(gpus)
	if err != nil {
		fault(err)
		return hello
	}
	names := []string{"auto"}
	if len(m.Visible) == 0 { // the allocation has no GPU, whatever the machine has
		names = []string{device.CPU}
	}
	ds, err := m.Resolve(names)
	if err != nil {
		fault(err)
		return hello
	}
	d := ds[0]
	if _, onGPU := device.CUDAIndex(d.Name); !onGPU && len(m.Visible) > 0 {
		fault(fmt.Errorf("the allocation has the GPU %s, which the driver does not report (%s)", strings.Join(m.Visible, ","), gpus.Reason()))
	}
	if u := device.Fit(d, gpus, -1); u != nil {
		fault(u)
	}
	if len(d.Cores) < len(m.Cores) {
		h.options.Cores[d.Name] = d.Cores
	}
	h.device, hello.Device, hello.Kind, hello.Memory = d.Name, d.Name, d.Kind, d.Memory
	if len(hello.Faults) > 0 {
		return hello
	}
	if h.options.Sandbox, err = FindSandbox(&h.options, s.Sandbox.Mode, d.Name, s.Sandbox.Without); err != nil {
		fault(err)
	}
	hello.Sandbox = h.options.Sandbox.Summary()
	return hello
}

// leave ends every trainer, and removes what was theirs.
func (h *host) leave() {
	h.mu.Lock()
	guests := h.trainees
	h.trainees = map[int64]*guest{}
	h.mu.Unlock()
	var all sync.WaitGroup
	for id, g := range guests {
		all.Go(func() {
			h.end(id, g, 0, true)
			g.t.release(false)
		})
	}
	all.Wait()
	h.options.Compiled.Close()
	h.place.cgroups.Close()
	h.options.Sandbox.Close()
	_ = os.RemoveAll(h.scratch)
}

func (h *host) guest(id int64) *guest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trainees[id]
}

// answer does what is asked, without waiting for what takes long.
func (h *host) answer(r hostRequest) {
	if r.Op == "start" && r.Job != nil {
		h.start(r.ID, *r.Job)
		return
	}
	g := h.guest(r.ID)
	if g == nil {
		return // "alive", or for one that could not be started, which has been said
	}
	switch r.Op {
	case "stage":
		if err := g.stage(r.Dir, r.Files); err != nil {
			h.tell(hostEvent{Kind: "event", ID: r.ID, Event: &event{Kind: "broken", Broken: err.Error()}})
		}
	case "ask":
		if r.Request == nil {
			return
		}
		g.localize(r.Request)
		if err := g.t.ask(*r.Request); err != nil {
			h.tell(hostEvent{Kind: "event", ID: r.ID, Event: &event{Kind: "broken", Broken: err.Error()}})
		}
	case "occupy":
		g.t.occupy()
		go h.watch(r.ID, g)
	case "calm":
		g.t.calm()
	case "rouse":
		g.t.rouse()
	case "renew":
		go g.t.renew()
	case "end":
		go h.end(r.ID, g, time.Duration(r.Grace*float64(time.Second)), r.Forced)
	case "release":
		h.mu.Lock()
		delete(h.trainees, r.ID)
		h.mu.Unlock()
		go func() {
			<-g.ended
			g.t.release(r.Well)
			_ = os.RemoveAll(g.dir)
		}()
	}
}

// start starts a trainer and tells on what it says.
func (h *host) start(id int64, j hostJob) {
	dir := filepath.Join(h.scratch, strconv.FormatInt(id, 10))
	err := os.MkdirAll(filepath.Join(dir, "work"), 0o700)
	var t trainee
	if err == nil {
		t, err = h.place.start(job{name: j.Name, id: j.ID, trains: j.Trains, spare: j.Spare, device: h.device, dir: filepath.Join(dir, "work"), own: dir, deny: j.Deny, env: h.place.environment(search.Trial{Device: h.device})})
	}
	if err != nil {
		h.tell(hostEvent{Kind: "event", ID: id, Event: &event{Kind: "broken", Broken: err.Error()}})
		h.tell(hostEvent{Kind: "ended", ID: id})
		h.tell(hostEvent{Kind: "gone", ID: id, Gone: &hostGone{}})
		return
	}
	g := &guest{t: t.(*process), dir: dir, folders: map[string]string{}, proofs: map[string]stamps{}, heard: make(chan struct{}), stop: make(chan struct{}), ended: make(chan struct{})}
	h.mu.Lock()
	h.trainees[id] = g
	h.mu.Unlock()
	go func() {
		defer close(g.heard)
		for e := range g.t.events() {
			if e.Kind == "prove" {
				h.prove(id, g)
			}
			h.tell(hostEvent{Kind: "event", ID: id, Event: &e})
		}
	}()
	g.t.print(func(data []byte) { h.tell(hostEvent{Kind: "print", ID: id, Data: data}) })
	go func() {
		<-g.t.ended()
		if g.t.signalled() { // so may this host be in a moment, and then that is the news
			time.Sleep(time.Second)
		}
		h.tell(hostEvent{Kind: "ended", ID: id})
		<-g.heard // an orphan may hold the stream open
		h.tell(hostEvent{Kind: "silent", ID: id})
	}()
}

// watch tells what a trial uses, until it ends.
func (h *host) watch(id int64, g *guest) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-g.t.ended():
			return
		case <-tick.C:
			u := g.t.use()
			h.tell(hostEvent{Kind: "use", ID: id, Use: &hostUse{Device: u.device, Whole: u.whole, Limit: u.limit, Over: u.over, Written: g.wrote() + u.wrote}})
		}
	}
}

// end ends a trainer, hears it out, and tells that it is gone.
func (h *host) end(id int64, g *guest, grace time.Duration, forced bool) {
	g.once.Do(func() {
		defer close(g.ended)
		close(g.stop)
		gone := g.t.end(grace, forced)
		g.t.hush()
		<-g.heard
		<-g.t.silent
		freed, err := g.t.freed()
		said := &hostGone{Left: gone.left, Took: gone.took.Seconds(), Code: gone.code, Signal: gone.signal, OutOfMemory: gone.outOfMemory, Freed: freed.Seconds()}
		if err != nil {
			said.Unfit = err.Error()
		}
		if u := device.Fit(device.Device{Name: h.device}, h.gpus, -1); u != nil && u.Lost {
			said.Unfit, said.Lost = u.Why, true
		}
		h.tell(hostEvent{Kind: "gone", ID: id, Gone: said})
	})
}

// prove sends what the trial has written for the notary.
func (h *host) prove(id int64, g *guest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for dir, sent := range g.proofs {
		err := send(g.folders[dir], sent, answerSize, func(files []stagedFile) error {
			h.tell(hostEvent{Kind: "files", ID: id, Dir: dir, Files: files})
			return nil
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "autoresearchd trainer host:", err) // the notary misses them
		}
	}
}
