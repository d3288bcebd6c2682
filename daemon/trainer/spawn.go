package trainer

import (
	"os/exec"
	"runtime"
	"sync"
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

func (s *spawner) start(cmd *exec.Cmd) error {
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
		err := cmd.Start()
		if err == nil {
			s.pids[cmd.Process.Pid] = true
		}
		done <- err
	}
	return <-done
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
