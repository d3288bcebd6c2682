package trainer

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// calm is how a standby keeps out of the way of a trial while it imports: its
// threads get the processor where nobody else wants it. Neither its affinity nor
// its environment may differ from a trial's for that, for OpenMP and OpenBLAS
// count threads by them when they are loaded. It must be possible to undo.
type calm struct {
	mu    sync.Mutex
	group *group // nil: it is not calm
}

// quiet says by which means of the kernel; see findQuiet.
type quiet int

const (
	loud      quiet = iota // by none
	idle                   // the scheduling policy SCHED_IDLE
	autogroup              // the niceness of its session
)

var quietBy = sync.OnceValue(findQuiet)

// canCalm reports whether standbys can be calm.
func canCalm() bool { return quietBy() != loud }

// Calm says in words by what a standby keeps out of a trial's way; "": by nothing.
func Calm() string {
	switch quietBy() {
	case idle:
		return "its scheduling policy (SCHED_IDLE)"
	case autogroup:
		return "the niceness of its session (autogroup)"
	}
	return ""
}

// findQuiet tries what can be undone. Leaving SCHED_IDLE needs CAP_SYS_NICE, or a
// limit of niceness that reaches 0, which is 20 to the kernel. Autogroups need
// neither, but hold only outside control groups that share out the processor.
func findQuiet() quiet {
	done := make(chan bool)
	go func() {
		runtime.LockOSThread() // and never unlocked: a thread that stays idle goes
		err := setPolicy(0, unix.SCHED_IDLE)
		if err == nil {
			err = setPolicy(0, unix.SCHED_NORMAL)
		}
		done <- err == nil
	}()
	if <-done {
		return idle
	}
	if on, err := os.ReadFile("/proc/sys/kernel/sched_autogroup_enabled"); err == nil && strings.TrimSpace(string(on)) == "1" && !sharesOut() {
		return autogroup
	}
	return loud
}

// sharesOut reports whether this process is in a control group that shares out
// the processor.
func sharesOut() bool {
	if own, err := ownCgroup(":cpu"); err == nil {
		if _, path, ok := strings.Cut(own, ":"); ok && path != "/" {
			return true
		}
	}
	mount, ok := cgroupMount("cgroup2", "")
	own, err := ownCgroup("0::")
	return ok && err == nil && exists(filepath.Join(mount, own, "cpu.weight"))
}

// setPolicy goes by sched_setscheduler, whose policy systemd's RestrictRealtime
// can see, and lets pass.
func setPolicy(tid int, policy uintptr) error {
	var priority int32
	if _, _, fault := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, uintptr(tid), policy, uintptr(unsafe.Pointer(&priority))); fault != 0 {
		return fault
	}
	return nil
}

// begin makes the processes of a group calm, and all that they start.
func (c *calm) begin(g *group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch quietBy() {
	case idle:
		c.group = g
		c.threads(unix.SCHED_IDLE)
	case autogroup:
		c.group = g
		_ = niceSession(g.leader, 19)
	}
}

// over undoes it.
func (c *calm) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.group == nil {
		return
	}
	switch quietBy() {
	case idle:
		c.threads(unix.SCHED_NORMAL)
	case autogroup:
		_ = niceSession(c.group.leader, 0)
	}
	c.group = nil
}

// threads gives every thread of the group a policy. One that is started
// meanwhile has its parent's, so it looks again until nothing is new.
func (c *calm) threads(policy uintptr) {
	done := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		for _, pid := range c.group.members() {
			tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
			for _, task := range tasks {
				if tid, err := strconv.Atoi(task.Name()); err == nil && !done[tid] {
					done[tid], fresh = true, true
					_ = setPolicy(tid, policy) // one that is gone needs none
				}
			}
		}
	}
}

// niceSession sets the niceness of a session's autogroup. The kernel lets users do that
// ten times a second, all together.
func niceSession(leader, nice int) error {
	var err error
	for range 20 {
		if err = put(fmt.Sprintf("/proc/%d/autogroup", leader), strconv.Itoa(nice)); err == nil {
			return nil
		}
		time.Sleep(60 * time.Millisecond)
	}
	return err
}
