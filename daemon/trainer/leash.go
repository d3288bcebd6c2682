package trainer

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killPatience bounds the wait for a killed group to be gone.
const killPatience = 10 * time.Second

// Leash holds a program that runs, and everything that it starts.
type Leash struct {
	cmd   *exec.Cmd
	group *group
	ended chan struct{} // closed when the leader has been waited for
	err   error         // what Wait said; read after ended
}

// Share is what a program and all that it starts may have of this machine.
type Share struct {
	Processes int   // at a time; 0: no limit
	Memory    int64 // bytes; 0: no limit
	Cores     []int // to run on; nil: the daemon's own
}

// Start starts cmd as the leader of a session and group of its own, which dies
// with the daemon. marker, made by Marker, is an entry of cmd's environment.
// What cmd is connected to must be files, so that nobody waits for more than
// the leader.
func (c *Cgroups) Start(cmd *exec.Cmd, name, marker string, share Share) (*Leash, error) {
	// Two leaders never share a group, or the end of one were the other's.
	g := c.make(fmt.Sprintf("%s.%d", name, seats.Add(1)), marker, share.Processes, share.Memory)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	if f := g.open(); f != nil {
		defer f.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	}
	if err := spawned.start(cmd, share.Cores); err != nil {
		g.remove()
		return nil, err
	}
	g.adopt(cmd.Process.Pid)
	// The kernel shall take a trial before it takes the daemon.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", cmd.Process.Pid), []byte("900"), 0)
	l := &Leash{cmd: cmd, group: g, ended: make(chan struct{})}
	go func() {
		l.err = cmd.Wait() // plain descriptors: it waits for the leader alone
		spawned.forget(cmd.Process.Pid)
		close(l.ended)
	}()
	return l, nil
}

// Ended is closed when the leader has ended; what it started may live on.
func (l *Leash) Ended() <-chan struct{} { return l.ended }

// Err says how the leader ended, once Ended is closed.
func (l *Leash) Err() error { return l.err }

// Cgroup is the control group that holds it all, "" where there is none; Sweep
// takes it.
func (l *Leash) Cgroup() string { return l.group.cgroup }

// End makes sure that nothing is left. TERM comes first unless the leader has
// ended by itself. It returns the processes that could not be ended.
func (l *Leash) End(grace time.Duration) (leftover []int, took time.Duration) {
	begin := time.Now()
	select {
	case <-l.ended:
	default:
		l.group.signal(unix.SIGTERM)
		timer := time.NewTimer(grace)
		select {
		case <-l.ended:
		case <-timer.C:
		}
		timer.Stop()
	}
	return l.group.kill(killPatience), time.Since(begin)
}

// Release removes the control group, after End.
func (l *Leash) Release() { l.group.remove() }
