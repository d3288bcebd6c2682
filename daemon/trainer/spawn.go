package trainer

import (
	"fmt"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// spawner starts processes from one thread that never ends: the parent-death
// signal of a child follows the thread that forked it, not the process
// (golang/go#27505).
type spawner struct {
	once  sync.Once
	calls chan func()

	mu   sync.Mutex
	pids map[int]bool // leaders that somebody waits for
}

var spawned = &spawner{pids: map[int]bool{}, calls: make(chan func())}

func (s *spawner) start(cmd *exec.Cmd, cores []int) error {
	s.once.Do(func() {
		go func() {
			runtime.LockOSThread() // and never unlocked
			for call := range s.calls {
				call()
			}
		}()
	})
	done := make(chan error, 1)
	s.calls <- func() {
		s.mu.Lock() // so that reap never meets a leader that it does not know
		defer s.mu.Unlock()
		err := on(cores, cmd.Start)
		if err == nil {
			s.pids[cmd.Process.Pid] = true
		}
		done <- err
	}
	return <-done
}

// on runs start with this thread on some cores: what it starts is born there,
// and so counts them as the machine's. The caller has locked its thread.
func on(cores []int, start func() error) error {
	if cores == nil {
		return start()
	}
	var own, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		return fmt.Errorf("read the cores of this process: %w", err)
	}
	for _, c := range cores {
		set.Set(c)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("use the cores %v: %w", cores, err)
	}
	err := start()
	if back := unix.SchedSetaffinity(0, &own); err == nil && back != nil {
		return fmt.Errorf("use all cores again: %w", back)
	}
	return err
}

func (s *spawner) waits(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pids[pid]
}

func (s *spawner) forget(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pids, pid)
}
