package trainer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/search"
)

// 20: the kernel ends a trial with the thread that started it. Whoever asked for
// the trial may have been on another, and that one ends here.
func TestThreadThatAskedEnds(t *testing.T) {
	o := options(t)
	p := newProcess(t, o)
	gate := filepath.Join(o.work(1), "go") // where it sees it in a sandbox too
	folder(t, o, 1, training+fmt.Sprintf("while not os.path.exists(%q): train(1); time.sleep(0.01)\nevaluate_bpb(1.5, None, 4)\n", gate))
	type start struct {
		trainee trainee
		thread  int
		err     error
	}
	starts := make(chan start, 1)
	var ask func()
	ask = func() {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			go ask() // a process's first thread does not end
			return
		}
		tr, err := p.place.start(job{name: "trial-1", id: 1, trains: true, device: "cpu", dir: o.work(1), env: o.environment(trial(1))})
		starts <- start{tr, unix.Gettid(), err}
	}
	go ask()
	s := <-starts
	if s.err != nil {
		t.Fatal(s.err)
	}
	thread := fmt.Sprintf("/proc/self/task/%d", s.thread)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(thread); os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the thread does not end")
		}
	}
	steps := 0
	out, err := conduct(context.Background(), &p.options, &p.stays, s.trainee, false, Order{Trial: trial(1)}, func(e Event) {
		if e.Step != nil {
			if steps++; steps == 20 {
				if err := os.WriteFile(gate, nil, 0o600); err != nil {
					t.Error(err)
				}
			}
		}
	})
	if err != nil || out.Status != search.Completed || strings.Contains(out.Detail, "SIGKILL") {
		t.Errorf("%v, %s: %s", err, out.Status, out.Detail)
	}
}
