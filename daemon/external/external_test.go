package external_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/external"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// soon is longer than anything here may take on a loaded machine.
const soon = 2 * time.Minute

func options(t *testing.T) external.Options {
	t.Helper()
	dir := t.TempDir()
	return external.Options{Dir: filepath.Join(dir, "programs"), Base: dir, Owner: fmt.Sprintf("test-%d-%s", os.Getpid(), t.Name()), Processes: 100}
}

func programs(t *testing.T, o external.Options) *external.Programs {
	t.Helper()
	p, err := external.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// shell runs a script; its own arguments hold no shell of ours.
func shell(script string) search.Command {
	return search.Command{Argv: []string{"/bin/sh", "-c", script}}
}

func start(t *testing.T, p *external.Programs, c search.Command) search.Process {
	t.Helper()
	r, err := p.Start(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func done(t *testing.T, r search.Process) {
	t.Helper()
	select {
	case <-r.Done():
	case <-time.After(soon):
		t.Fatal("it has not ended")
	}
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ") && !strings.Contains(string(data), ") X ")
}

// pids reads n numbers, a line each.
func pids(t *testing.T, r *bufio.Reader, n int) []int {
	t.Helper()
	var out []int
	for range n {
		line, err := r.ReadString('\n')
		pid, convert := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || convert != nil {
			t.Fatalf("read a process id: %q, %v", line, err)
		}
		out = append(out, pid)
	}
	return out
}

func gone(t *testing.T, all []int) {
	t.Helper()
	for _, pid := range all {
		if alive(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left in %s", left, dir)
	}
}

func TestProgramIsSpokenTo(t *testing.T) {
	o := options(t)
	r := start(t, programs(t, o), search.Command{Argv: []string{"cat"}})
	lines := bufio.NewReader(r.Stdout())
	for _, said := range []string{"one\n", "two\n"} {
		if _, err := r.Stdin().Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
		if heard, err := lines.ReadString('\n'); heard != said || err != nil {
			t.Fatalf("heard %q, %v", heard, err)
		}
	}
	if err := r.Stdin().Close(); err != nil {
		t.Fatal(err)
	}
	done(t, r)
	if r.Err() != nil {
		t.Error(r.Err())
	}
	r.Close()
	empty(t, o.Dir)
}

func TestEndIsDescribed(t *testing.T) {
	r := start(t, programs(t, options(t)), shell("echo first >&2; echo 'no \033[31msuch module' >&2; exit 3"))
	done(t, r)
	if r.Err() == nil || r.Err().Error() != "exit status 3" {
		t.Errorf("ended with %v", r.Err())
	}
	if r.Tail() != "first\nno �[31msuch module" {
		t.Errorf("tail %q", r.Tail())
	}
}

func TestEnvironmentHoldsNoSecret(t *testing.T) {
	t.Setenv("SERVER_KEY", "k-000111222")
	t.Setenv("HOSTED_API_KEY", "k-333444555")
	t.Setenv("OTHER_API_KEY", "k-666777888")
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
	o := options(t)
	o.Secrets = []string{"SERVER_KEY"}
	c := shell(`env; cp /proc/self/environ copy; echo "told $HOSTED_API_KEY" >&2`)
	c.Env, c.Output = []string{"HOSTED_API_KEY", "PATH", "NOBODY_HAS_THIS"}, 1<<16
	r := start(t, programs(t, o), c)
	done(t, r)
	out := string(r.Output())
	for _, bad := range []string{"k-000111222", "k-666777888", "CREDENTIALS_DIRECTORY", "k-333444555", "NOBODY"} {
		if strings.Contains(out, bad) {
			t.Errorf("the output shows %s:\n%s", bad, out)
		}
	}
	for _, good := range []string{"HOSTED_API_KEY=[HOSTED_API_KEY]\n", "CUDA_VISIBLE_DEVICES=\n", "\nPATH=" + os.Getenv("PATH")} {
		if !strings.Contains("\n"+out, good) {
			t.Errorf("the output lacks %q:\n%s", good, out)
		}
	}
	if r.Tail() != "told [HOSTED_API_KEY]" {
		t.Errorf("tail %q", r.Tail())
	}
	if _, err := r.File("copy"); err == nil || !strings.Contains(err.Error(), "holds the value of HOSTED_API_KEY") {
		t.Errorf("a file with a secret: %v", err)
	}
}

func TestFiles(t *testing.T) {
	o := options(t)
	outside := filepath.Join(filepath.Dir(o.Dir), "outside")
	if err := os.WriteFile(outside, []byte("not yours"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := shell(`cat train.py notes/a.md; echo 'B = 2' >train.py; ln -s "$0" link; mkfifo pipe; mkdir folder closed; ln -s / root
		: >closed/in; chmod 0 closed; truncate -s 5M large`)
	c.Argv = append(c.Argv, outside)
	c.Output = 1000
	c.Files = map[string][]byte{"train.py": []byte("A = 1\n"), "notes/a.md": []byte("a note\n")}
	r := start(t, programs(t, o), c)
	done(t, r)
	if string(r.Output()) != "A = 1\na note\n" {
		t.Errorf("it read %q; %s", r.Output(), r.Tail())
	}
	if data, err := r.File("train.py"); string(data) != "B = 2\n" || err != nil {
		t.Errorf("train.py is %q, %v", data, err)
	}
	for _, name := range []string{"link", "pipe", "folder", "large", "nothing", "root/etc/passwd", "../cgroup", "/etc/passwd"} {
		if data, err := r.File(name); err == nil {
			t.Errorf("%s was read: %.20q", name, data)
		}
	}
	r.Close()
	empty(t, o.Dir)
	if _, err := programs(t, o).Start(context.Background(), search.Command{Argv: []string{"true"}, Files: map[string][]byte{"../x": nil}}); err == nil {
		t.Error("a file outside the working directory was written")
	}
}

// TestNothingIsLeft ends programs that do what they can to stay.
func TestNothingIsLeft(t *testing.T) {
	groups := trainer.FindCgroups()
	t.Cleanup(groups.Close)
	for name, script := range map[string]string{
		"hang":        `trap '' TERM INT HUP; echo $$; while :; do read x </dev/zero; done`,
		"fork":        `for i in 1 2 3; do sh -c 'trap "" TERM; echo $$; sleep 600' & done; echo $$; wait`,
		"double fork": `for i in 1 2 3; do (setsid sh -c 'trap "" TERM; echo $$; sleep 600; :' &) ; done; echo $$; sleep 600`,
		"flood":       `for i in 1 2 3; do sh -c 'echo $$; yes >&2' & done; echo $$; while :; do echo x >&2; done`,
	} {
		for kind, c := range map[string]*trainer.Cgroups{"with control groups": groups, "without": nil} {
			t.Run(name+" "+kind, func(t *testing.T) {
				n := 4
				if name == "hang" {
					n = 1
				}
				o := options(t)
				o.Cgroups = c
				r := start(t, programs(t, o), shell(script))
				all := pids(t, bufio.NewReader(r.Stdout()), n)
				r.Kill()
				gone(t, all)
				if r.Err() == nil {
					t.Error("it is said to have ended well")
				}
				if n := len(r.Tail()); n > 20<<10 {
					t.Errorf("%d bytes of standard error are kept", n)
				}
				r.Close()
				empty(t, o.Dir)
			})
		}
	}
}

// TestChildrenGoWithTheirParent has a program end by itself while what it
// started lives on and holds its output open.
func TestChildrenGoWithTheirParent(t *testing.T) {
	c := shell(`setsid sleep 600 & echo $!; sleep 600 & echo $!; echo said; exit 0`)
	c.Output = 1000
	r := start(t, programs(t, options(t)), c)
	done(t, r)
	if r.Err() != nil {
		t.Error(r.Err())
	}
	in := bufio.NewReader(bytes.NewReader(r.Output()))
	gone(t, pids(t, in, 2))
	if last, _ := in.ReadString('\n'); last != "said\n" {
		t.Errorf("it said %q", last)
	}
}

func TestDeadline(t *testing.T) {
	c := shell(`echo 'A = 2' >train.py; echo working; exec sleep 600`)
	c.Output = 1000
	for c.Deadline = 300 * time.Millisecond; c.Deadline < soon; c.Deadline *= 2 {
		r := start(t, programs(t, options(t)), c)
		done(t, r)
		if r.Err() == nil || r.Err().Error() != fmt.Sprintf("it was ended at its deadline of %v", c.Deadline) {
			t.Error(r.Err())
		}
		if string(r.Output()) != "working\n" {
			continue // a loaded machine did not let it get so far
		}
		if data, err := r.File("train.py"); string(data) != "A = 2\n" {
			t.Errorf("train.py %q, %v", data, err)
		}
		return
	}
	t.Error("it was never at work")
}

func TestOutputIsCapped(t *testing.T) {
	c := shell(`echo begins; i=0; while [ $i -lt 3000 ]; do echo "line $i of something that nobody will read"; i=$((i+1)); done; echo ends`)
	c.Output = 1000
	r := start(t, programs(t, options(t)), c)
	done(t, r)
	out := string(r.Output())
	if !strings.HasPrefix(out, "begins\nline 0 ") || !strings.HasSuffix(out, "\nends\n") || !strings.Contains(out, "bytes are left out here]") || len(out) > 1100 {
		t.Errorf("%d bytes: %s", len(out), out)
	}
}

func TestCloseEndsAll(t *testing.T) {
	o := options(t)
	p := programs(t, o)
	var all []int
	for range 3 {
		r := start(t, p, shell(`trap "" TERM; echo $$; sleep 600; :`))
		all = append(all, pids(t, bufio.NewReader(r.Stdout()), 1)...)
	}
	p.Close()
	gone(t, all)
	if _, err := os.Stat(o.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	if _, err := p.Start(context.Background(), shell("true")); err == nil {
		t.Error("a program was started after Close")
	}
}

// TestSweep finds what a daemon that was killed has left: by its marker, and,
// where there are control groups, what has shed it.
func TestSweep(t *testing.T) {
	groups := trainer.FindCgroups()
	t.Cleanup(groups.Close)
	plain := "setsid"
	if groups.Why == "" {
		plain = "setsid env -i"
	}
	o := options(t)
	o.Cgroups = groups
	r := start(t, programs(t, o), shell(`(`+plain+` sh -c 'echo $$; sleep 600; :' &); echo $$; sleep 600; :`))
	all := pids(t, bufio.NewReader(r.Stdout()), 2)
	programs(t, o)
	gone(t, all)
	done(t, r)
}

func TestStartFaults(t *testing.T) {
	o := options(t)
	p := programs(t, o)
	plain := filepath.Join(o.Base, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(o.Base, "tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\necho ran $1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		argv []string
		want string
	}{
		{nil, "the command is empty"},
		{[]string{"no-such-program-here"}, "start no-such-program-here: there is no such program: give its path, or one that is on PATH"},
		{[]string{"./none"}, "start ./none: there is no such program"},
		{[]string{"./plain"}, "permission denied"},
	} {
		if _, err := p.Start(context.Background(), search.Command{Argv: test.argv}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %s", test.argv, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Start(ctx, shell("true")); err == nil {
		t.Error("a cancelled start started")
	}
	empty(t, o.Dir)
	for _, argv := range [][]string{{"./tool", "./plain"}, {tool, plain}, {"../" + filepath.Base(o.Base) + "/tool", "./plain"}} {
		r := start(t, p, search.Command{Argv: argv, Output: 1000})
		done(t, r)
		if string(r.Output()) != "ran "+plain+"\n" {
			t.Errorf("%v: %s", argv, r.Output())
		}
	}
}

func TestProgramLeadsItsOwnGroup(t *testing.T) {
	r := start(t, programs(t, options(t)), shell(`echo $$; sleep 600`))
	pid := pids(t, bufio.NewReader(r.Stdout()), 1)[0]
	if group, err := unix.Getpgid(pid); group != pid || err != nil {
		t.Errorf("process %d is in group %d, %v", pid, group, err)
	}
	if session, err := unix.Getsid(pid); session != pid || err != nil {
		t.Errorf("process %d is in session %d, %v", pid, session, err)
	}
}
