// Package external starts the programs of a user's that strategies work with:
// without a shell, in a scratch folder, with a clean environment, and so that
// nothing of them is left when they end.
package external

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/sandbox"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

const (
	// grace is what a program gets from TERM to KILL.
	grace = 500 * time.Millisecond
	// drain bounds the reading of what an ended program has left in its pipes.
	drain = 2 * time.Second
	// fileLimit is the size in bytes of a file that File reads.
	fileLimit = 4 << 20
	// tailLimit is how much of standard error is kept, in bytes.
	tailLimit = 16 << 10
)

// Options say where and how programs run.
type Options struct {
	Dir       string           // scratch folders are made in it; what it holds at the start is removed
	Base      string           // what ./ in a command is relative to
	Owner     string           // identifies this daemon's programs in their environment
	Secrets   []string         // names of environment variables that programs must not see
	Cgroups   *trainer.Cgroups // nil: none
	Processes int              // process limit of a program; 0: none
	Memory    int64            // host memory limit of a program in bytes; 0: none
	Sandbox   *sandbox.Box     // around programs; nil: none
	Closed    []string         // files and folders that are opened to none in it: the daemon's own
	Log       *slog.Logger
}

// Programs starts programs and ends them. Its methods may be called from any
// goroutine.
type Programs struct {
	o       Options
	private []string // Options.Closed without links

	mu      sync.Mutex
	closed  bool
	number  int
	running map[*program]bool
}

// New ends what an earlier daemon's programs have left behind.
func New(o Options) (*Programs, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, path := range []*string{&o.Dir, &o.Base} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return nil, fmt.Errorf("find the folder of programs: %w", err)
		}
		*path = absolute
	}
	// Orphans of programs come to the daemon, which collects them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the subreaper of programs: %w", err)
	}
	swept := trainer.Sweep(o.Owner, "")
	groups, _ := filepath.Glob(filepath.Join(o.Dir, "*", "cgroup"))
	for _, file := range groups {
		if cgroup, err := os.ReadFile(file); err == nil {
			swept += trainer.Sweep(o.Owner, string(cgroup))
		}
	}
	if swept > 0 {
		o.Log.Warn("programs of an earlier run were ended", "processes", swept)
	}
	if err := removeAll(o.Dir); err != nil {
		return nil, fmt.Errorf("empty the folder of programs: %w", err)
	}
	p := &Programs{o: o, running: map[*program]bool{}}
	for _, path := range o.Closed {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			p.private = append(p.private, real)
		}
	}
	return p, nil
}

// Close ends every program, and starts no other.
func (p *Programs) Close() {
	p.mu.Lock()
	p.closed = true
	var all []*program
	for r := range p.running {
		all = append(all, r)
	}
	p.mu.Unlock()
	var each sync.WaitGroup
	for _, r := range all {
		each.Go(r.Close)
	}
	each.Wait()
	_ = os.Remove(p.o.Dir)
}

// Start implements search.Tools.
func (p *Programs) Start(ctx context.Context, c search.Command) (search.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return nil, errors.New("start a program: the command is empty")
	}
	p.mu.Lock()
	p.number++
	number, closed := p.number, p.closed
	p.mu.Unlock()
	if closed {
		return nil, errors.New("start a program: the daemon is ending")
	}
	folder := filepath.Join(p.o.Dir, strconv.Itoa(number))
	r, err := p.start(c, number, folder)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.Argv[0], err), removeAll(folder))
	}
	p.mu.Lock()
	closed = p.closed
	if !closed {
		p.running[r] = true
	}
	p.mu.Unlock()
	if closed {
		r.Close()
		return nil, errors.New("start a program: the daemon is ending")
	}
	return r, nil
}

func (p *Programs) start(c search.Command, number int, folder string) (*program, error) {
	argv := make([]string, len(c.Argv))
	for i, arg := range c.Argv {
		relative := strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") || i == 0 && strings.Contains(arg, "/") && !filepath.IsAbs(arg)
		if argv[i] = arg; relative {
			argv[i] = filepath.Join(p.o.Base, arg)
		}
	}
	path, err := exec.LookPath(argv[0])
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("there is no such program: give its path, or one that is on PATH")
	} else if err != nil {
		return nil, err
	}
	work := filepath.Join(folder, "work")
	if err := write(work, c.Files); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(work)
	if err != nil {
		return nil, err
	}
	marker := trainer.Marker(p.o.Owner, int64(number))
	env, hidden := p.environment(c.Env)
	var pipes pipes
	for i := range pipes.ours {
		if pipes.ours[i], pipes.theirs[i], err = os.Pipe(); err != nil {
			pipes.close()
			root.Close()
			return nil, err
		}
	}
	// Of the first pipe the program has the reading end.
	pipes.ours[0], pipes.theirs[0] = pipes.theirs[0], pipes.ours[0]
	cmd := &exec.Cmd{Path: path, Args: argv, Dir: work, Env: append(env, "PWD="+work, marker),
		Stdin: pipes.theirs[0], Stdout: pipes.theirs[1], Stderr: pipes.theirs[2]}
	var link *sandbox.Link
	if p.o.Sandbox.On() {
		if link, err = p.confine(cmd, c, folder); err != nil {
			pipes.close()
			root.Close()
			return nil, err
		}
	}
	leash, err := p.o.Cgroups.Start(cmd, fmt.Sprintf("program-%d", number), marker, trainer.Share{Processes: p.o.Processes, Memory: p.o.Memory})
	if link != nil {
		link.Go(err == nil)
	}
	if err != nil {
		pipes.close()
		root.Close()
		return nil, err
	}
	for _, f := range pipes.theirs {
		f.Close()
	}
	if cgroup := leash.Cgroup(); cgroup != "" { // so that it is found after a SIGKILL of the daemon
		_ = os.WriteFile(filepath.Join(folder, "cgroup"), []byte(cgroup), 0o600)
	}
	r := &program{programs: p, name: c.Argv[0], leash: leash, link: link, folder: folder, root: root, secrets: hidden,
		in: pipes.ours[0], out: pipes.ours[1], err: pipes.ours[2], kill: make(chan struct{}), done: make(chan struct{}), errors: keep{limit: tailLimit}, output: keep{limit: c.Output}}
	go r.watch(c.Deadline)
	return r, nil
}

// environment is the daemon's without its secrets, but with the named ones, and
// no GPU: a trial has it. It also returns the values of the named ones.
func (p *Programs) environment(named []string) (env []string, values map[string]string) {
	values = map[string]string{}
	env = append(trainer.Environment(p.o.Secrets), "CUDA_VISIBLE_DEVICES=")
	for _, name := range named {
		entry := name + "=" + os.Getenv(name)
		if v := os.Getenv(name); v != "" && !slices.Contains(env, entry) {
			values[name] = v
			env = append(env, entry)
		}
	}
	return env, values
}

type pipes struct{ ours, theirs [3]*os.File }

func (p *pipes) close() {
	for i := range p.ours {
		p.ours[i].Close() // nil is refused, which is fine
		p.theirs[i].Close()
	}
}

// write makes a working directory.
func write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, data := range files {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("write %s: its place is outside the working directory", name)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes a folder, and what a program has protected in it.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
