package trainer

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

	mu  sync.Mutex    // events and printed lines come from two goroutines
	dog *watchdog.Dog // nil: the trial has not begun, or is over
	collector
}

func newRecorder(o *Options, t search.Trial, observe func(Event)) *recorder {
	if observe == nil {
		observe = func(Event) {}
	}
	return &recorder{options: o, observe: observe, collector: collector{budget: t.Budget}}
}

// watch gives the trial's deadlines a recorder that moves them; nil takes them
// away.
func (r *recorder) watch(dog *watchdog.Dog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dog = dog
}

// order is the trial as the seat is told.
func (o *Options) order(t search.Trial, logFD int, last bool) *order {
	work := o.work(t.ID)
	return &order{
		Script: pyembed.Script{Path: filepath.Join(work, "train.py"), Directory: work, Argv: []string{"train.py"}, Last: last},
		Seed:   t.Seed, Seconds: t.Budget.Seconds, Steps: t.Budget.Steps, Audit: t.Audit, Cache: o.Cache, LogFD: logFD,
	}
}

// take notes an event and moves the watchdog.
func (r *recorder) take(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(e, time.Now())
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
		r.enter(search.Exit)
	}
	r.enforce()
}

// enter moves to a phase. mu is held.
func (r *recorder) enter(p search.Phase) {
	if r.dog != nil {
		r.dog.Enter(p)
	}
	r.observe(Event{Phase: p})
}

// enforce ends a trial that went on beyond its budget. mu is held.
func (r *recorder) enforce() {
	if r.over != "" && r.dog != nil {
		r.dog.Fire(watchdog.Firing{Phase: search.Train, Cause: watchdog.CauseOverrun, Why: r.over})
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

func (r *recorder) tell(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observe(e)
}

// sample takes the peak of the GPU memory that the trial's processes hold, by
// NVML; the growth of the whole device where it does not tell processes apart.
func (r *recorder) sample(members []int, device int, before int64, onGPU bool) {
	if !onGPU || r.options.GPU == nil {
		return
	}
	pids := map[int]bool{}
	for _, pid := range members {
		pids[pid] = true
	}
	used, ok := r.options.GPU.ProcessMemory(pids)
	if !ok {
		if used, ok = r.options.GPU.MemoryUsed(device); ok {
			used -= before
		}
	}
	if !ok {
		return
	}
	r.out.PeakVRAM = max(r.out.PeakVRAM, used)
	r.tell(Event{Memory: used})
}

// deviceMemory returns the bytes in use on a device, or -1 if nobody knows.
func (r *recorder) deviceMemory(device int, onGPU bool) int64 {
	if onGPU && r.options.GPU != nil {
		if used, ok := r.options.GPU.MemoryUsed(device); ok {
			return used
		}
	}
	return -1
}

// awaitMemory waits until a device's memory is back to where it was before the
// trial.
func (r *recorder) awaitMemory(device int, before int64) (time.Duration, error) {
	if before < 0 {
		return 0, nil
	}
	begin := time.Now()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		used := r.deviceMemory(device, true)
		if returned(used, before) {
			return time.Since(begin), nil
		}
		if time.Since(begin) > memoryPatience {
			return time.Since(begin), &Quarantine{device: device, before: before,
				reason: fmt.Sprintf("it holds %d MiB, %d MiB before the trial, and did not give it back within %v", used>>20, before>>20, memoryPatience)}
		}
		time.Sleep(pause)
	}
}

func returned(used, before int64) bool { return used >= 0 && used <= before+memorySlack }

// Quarantine is the error of a trial that left its device unfit for another:
// its memory did not come back, or a process could not be ended.
type Quarantine struct {
	device   int
	before   int64 // bytes in use before the trial; -1: unknown
	leftover []int
	reason   string
}

func (q *Quarantine) Error() string { return "device is quarantined: " + q.reason }

// Lifted reports whether the device is fit again.
func (q *Quarantine) Lifted(gpu GPU) bool {
	for _, pid := range q.leftover {
		if st, ok := stat(pid); ok && st.state != 'Z' && st.state != 'X' {
			return false
		}
	}
	if gpu == nil || q.before < 0 {
		return true
	}
	used, ok := gpu.MemoryUsed(q.device)
	return ok && returned(used, q.before)
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

// tooMuch reports whether processes hold more of the host's memory than a trial
// may, and how many bytes those are. What they share counts once, and is looked
// at only where it matters, since the kernel has to walk their tables for it.
func (o *Options) tooMuch(pids []int) (limit int64, over bool) {
	limit = o.Memory
	if o.Room > 0 {
		var short bool
		if limit, short = HostMemory(); !short {
			return 0, false
		}
		limit /= int64(o.Room)
	}
	return limit, limit > 0 && resident(pids) > limit && proportional(pids) > limit
}

// proportional adds up the host memory in bytes that processes hold, with their
// part of what they share.
func proportional(pids []int) (total int64) {
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			total += resident([]int{pid})
			continue
		}
		for _, line := range strings.Split(string(data), "\n") {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
				kib, _ := strconv.ParseInt(fields[1], 10, 64)
				total += kib << 10
			}
		}
	}
	return total
}

// family returns a process and all that descend from it.
func family(pid int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if child, err := strconv.Atoi(e.Name()); err == nil {
			if st, ok := stat(child); ok {
				children[st.parent] = append(children[st.parent], child)
			}
		}
	}
	out := []int{pid}
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out
}

// room is what the machine itself is left: 2 GiB, of a large one a tenth.
const room = 2 << 30

// HostMemory returns the bytes that trials may take where nobody has said: what
// this machine, or the group of processes that the daemon is in, has without
// room, and half of a small one; 0: that cannot be told. short reports whether
// less than room is left: a virtual machine may look small until its memory is
// used, and then grows.
func HostMemory() (limit int64, short bool) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	kib := map[string]int64{}
	for _, line := range strings.Split(string(data), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 {
			kib[fields[0]], _ = strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return spare(kib["MemTotal:"]<<10, kib["MemAvailable:"]<<10, memoryLimits())
}

// spare is HostMemory of a machine with so many bytes, so many of them left, and
// limits of the groups.
func spare(total, left int64, limits []int64) (limit int64, short bool) {
	group := total
	for _, l := range limits {
		group = min(group, l)
	}
	without := func(bytes int64) int64 { return max(bytes/2, bytes-max(room, bytes/10)) }
	limit = without(group)
	return limit, group < total || left < total-without(total)
}

// memoryLimits are those of the control groups that this process is in.
func memoryLimits() (limits []int64) {
	for _, h := range [][4]string{{"cgroup2", "", "0::", "memory.max"}, {"cgroup", "memory", ":memory:", "memory.limit_in_bytes"}} {
		mount, ok := cgroupMount(h[0], h[1])
		own, err := ownCgroup(h[2])
		if !ok || err != nil {
			continue
		}
		for dir := filepath.Join("/", own); ; dir = filepath.Dir(dir) {
			if data, err := os.ReadFile(filepath.Join(mount, dir, h[3])); err == nil {
				if limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && limit > 0 {
					limits = append(limits, limit)
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return limits
}

// resident adds up the host memory in bytes that processes hold.
func resident(pids []int) (total int64) {
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue
		}
		if fields := strings.Fields(string(data)); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			total += pages * int64(os.Getpagesize())
		}
	}
	return total
}
