package trainer

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// neighbourName is set in the environment of a test binary that plays a daemon
// beside others: it says who owns its seats and how many to start.
const neighbourName = "AUTORESEARCH_NEIGHBOUR_TEST"

// neighbour starts seats, one after another, as soon as it may, each for a
// self-test and an inspection.
func neighbour(order string) int {
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return 1
	}
	owner, number, _ := strings.Cut(order, " ")
	count, err := strconv.Atoi(number)
	if err != nil {
		return 1
	}
	for n := range count {
		if err := startAndInspect(Options{Python: os.Getenv("AUTORESEARCH_PYTHON"), Owner: owner}); err != nil {
			fmt.Printf("start %d: %v\n", n, err)
			return 1
		}
	}
	return 0
}

func startAndInspect(o Options) error {
	p, err := NewProcess(o)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.SelfTest(context.Background()); err != nil {
		return err
	}
	_, err = p.Inspect(context.Background(), []byte("A = 1\n"))
	return err
}

// begin starts a neighbour. place is called before its first seat, and go on
// lets it have that.
func begin(t *testing.T, owner string, count int, place func(pid int)) (end func() error) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", neighbourName, owner, count))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	place(cmd.Process.Pid)
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	return func() error {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%w: %s", err, out.String())
		}
		return nil
	}
}

// TestStarts starts daemons' seats side by side: no end of one hits another.
func TestStarts(t *testing.T) {
	const daemons = 4
	count := 5
	if n, err := strconv.Atoi(os.Getenv("AUTORESEARCH_SOAK")); err == nil {
		count = n
	}
	var all []func() error
	for range daemons {
		all = append(all, begin(t, "test-starts", count, func(int) {}))
	}
	for _, end := range all {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}

// TestSeatsOfOneOwner inspects from several goroutines at once, as the loop
// and a strategy that gets ready do, also where there are no control groups.
func TestSeatsOfOneOwner(t *testing.T) {
	for name, c := range map[string]*Cgroups{"with control groups": FindCgroups(), "without": {}} {
		p := newProcess(t, options(t))
		p.place.cgroups = c
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				for range 4 {
					if _, err := p.Inspect(context.Background(), []byte("A = 1\n")); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
		wait.Wait()
	}
}

// groups returns a folder of the hierarchy in which this machine's groups are
// made. Whoever may not make any has none of what is tested with them.
func groups(t *testing.T) string {
	t.Helper()
	c := FindCgroups()
	t.Cleanup(c.Close)
	if c.Why != "" {
		t.Skip(c.Why)
	}
	return filepath.Dir(c.base)
}

// TestStartsFromAKilledGroup starts seats from a group that was killed once,
// such as a service's that comes back after its service manager has killed it.
func TestStartsFromAKilledGroup(t *testing.T) {
	killed := filepath.Join(groups(t), "test-killed-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(killed, 0o755); err != nil {
		t.Fatal(err)
	}
	defer rmdir(killed)
	if err := put(filepath.Join(killed, "cgroup.kill"), "1"); err != nil {
		t.Fatal(err)
	}
	end := begin(t, "test-killed", 2, func(pid int) {
		if err := put(filepath.Join(killed, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			t.Error(err)
		}
	})
	if err := end(); err != nil {
		t.Error(err)
	}
}

// TestGroupsAreNew leaves groups behind: they are never used again, and go
// with the next daemon's start, except where their owner lives.
func TestGroupsAreNew(t *testing.T) {
	parent := groups(t)
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(parent, fmt.Sprintf("%s%d.1", groupPrefix, gone.Process.Pid))
	other, _ := stat(os.Getppid())
	living := filepath.Join(parent, fmt.Sprintf("%s%d.%s", groupPrefix, os.Getppid(), other.begun))
	for _, dir := range []string{dead, living} {
		if err := os.MkdirAll(filepath.Join(dir, "inspect.1"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		rmdir(filepath.Join(living, "inspect.1"))
		rmdir(living)
	}()
	c := FindCgroups()
	defer c.Close()
	if exists(dead) || !exists(living) {
		t.Errorf("of a dead owner: %v; of a living one: %v", exists(dead), exists(living))
	}
	first := c.make("twice", "", 0, 0)
	defer first.remove()
	if second := c.make("twice", "", 0, 0); first.cgroup == "" || second.cgroup != "" {
		t.Errorf("a group is used again: %q, %q", first.cgroup, second.cgroup)
	}
}

// 21: a signal for a group whose leader is gone hits nobody who has got its number.
func TestNumberOfAnother(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := &group{marker: ownerMarker("test-nobody"), leader: cmd.Process.Pid, begun: "1"}
	if left := g.kill(killPatience); len(left) > 0 {
		t.Errorf("%v are counted to the group", left)
	}
	if st, ok := stat(cmd.Process.Pid); !ok || st.state == 'Z' {
		t.Error("another process was hit")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
