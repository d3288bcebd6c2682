package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Modes of [Find], as in the configuration.
const (
	Off     = "off"
	Auto    = "auto"    // go without what is not there
	Require = "require" // refuse where nothing holds a promise
)

// Leave names a layer that Find shall do without: for drills and tests of what
// other machines lack.
type Leave struct{ Spaces, PIDs, UID bool }

// Asked is what a configuration asks of each machine that runs programs.
type Asked struct {
	Mode    string `json:"mode"`
	Without Leave  `json:"without"`
}

// Wish is what Find looks for.
type Wish struct {
	Mode    string
	Owner   string     // chooses the user that programs become where this process is root
	Command string     // of this binary, that leads to [Stage]
	Like    Policy     // of the programs to come
	Try     [][]string // commands that must succeed in the sandbox
	Env     []string   // of them; nil: this process's own
	Without Leave
}

// Find tries what this machine allows. In mode Require it returns an error that
// names what is missing and the remedies.
func Find(w Wish) (*Box, error) {
	if w.Mode == Off {
		return nil, nil
	}
	b := &Box{uid: -1, idmap: -1, command: w.Command}
	b.findWith(w)
	var missing []string
	b.Layers, missing = decide(b.found)
	if w.Mode == Require && len(missing) > 0 {
		b.Close()
		return nil, fmt.Errorf(`trial.sandbox = "require" is refused: on this machine nothing ensures that %s: %s; or set trial.sandbox = "auto" to go without`, strings.Join(missing, ", that "), remedies(b.Layers))
	}
	return b, nil
}

func remedies(layers []Layer) string {
	var words []string
	for _, l := range layers {
		if l.Why != "" {
			words = append(words, fmt.Sprintf("%s: %s (%s)", l.Name, l.Why, l.Remedy))
		}
	}
	return strings.Join(words, "; ")
}

// attempt is a choice of layers.
type attempt struct {
	spaces, pids, uid bool
	nested            bool // root's, but made as anybody may
	rest              bool // Landlock and seccomp
}

// attempts are those that Find makes, best first.
func attempts(root bool, without Leave) (all []attempt) {
	all = []attempt{{true, true, true, false, true}, {true, true, false, false, true}, {true, true, false, true, true},
		{true, false, true, false, true}, {true, false, false, false, true}, {true, false, false, true, true}, {rest: true}, {}}
	return slices.DeleteFunc(all, func(a attempt) bool {
		return !root && (a.uid || a.nested) || without.UID && a.uid || without.PIDs && a.pids || without.Spaces && a.spaces
	})
}

// findWith makes attempts until one succeeds. A layer that is not in it is not
// there for the reason that the last attempt with it failed for.
func (b *Box) findWith(w Wish) {
	m := &b.found
	m.root = os.Getuid() == 0
	m.landlock, m.noRules = landlockABI()
	if _, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil {
		m.filter = "the kernel has no filters"
	}
	rules, filter := m.noRules, m.filter
	const out = "left out"
	spaces, pids, user, rest := out, out, out, ""
	for _, a := range attempts(m.root, w.Without) {
		m.spaces, m.pids, m.user, m.noRules, m.filter, b.nested = spaces, pids, user, rules, filter, a.nested
		if a.spaces {
			m.spaces = ""
		}
		if a.pids {
			m.pids = ""
		}
		if a.uid || !m.root && a.spaces {
			m.user = ""
		}
		if !a.rest {
			if b.off, m.nothing = true, rest; m.noRules == "" {
				m.noRules = rest
			}
			if m.filter == "" {
				m.filter = rest
			}
			return
		}
		err := b.become(a, w.Owner)
		if err == nil {
			err = b.try(w)
		}
		if err == nil {
			return
		}
		b.Close()
		rest = err.Error()
		if a.spaces {
			spaces = rest
		}
		if a.pids {
			pids = rest
		}
		if a.uid || !m.root && a.spaces {
			user = rest
		}
	}
}

// become gets ready for programs to be another user.
func (b *Box) become(a attempt, owner string) (err error) {
	if !a.uid {
		return nil
	}
	b.uid = freeUser(owner)
	if b.idmap, err = b.userNamespace(); err != nil {
		return fmt.Errorf("make a user namespace: %w", err)
	}
	return nil
}

// Close lets go of what programs are started with.
func (b *Box) Close() {
	if b == nil {
		return
	}
	if b.idmap >= 0 {
		unix.Close(b.idmap)
	}
	b.idmap, b.uid = -1, -1
}

// On reports whether programs are to be started through Wrap.
func (b *Box) On() bool { return b != nil && !b.off }

// freeUser chooses a user for an owner's programs, among the numbers that
// systemd uses for such, and none that /etc/passwd names.
func freeUser(owner string) int {
	const first, last = 61184, 65519
	h := fnv.New32a()
	_, _ = io.WriteString(h, owner)
	passwd, _ := os.ReadFile("/etc/passwd")
	uid := first + int(h.Sum32()%(last-first+1))
	for range last - first {
		if !strings.Contains(string(passwd), fmt.Sprintf(":%d:", uid)) {
			break
		}
		if uid++; uid > last {
			uid = first
		}
	}
	return uid
}

// userNamespace returns a descriptor of one in which root is the programs' user. The process
// that it was made with is gone when this returns.
func (b *Box) userNamespace() (int, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return -1, err
	}
	defer w.Close()
	defer r.Close()
	one := []syscall.SysProcIDMap{{ContainerID: 0, HostID: b.uid, Size: 1}}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"autoresearchd", b.command, wordTry} // it waits for its standard input to end
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: one, GidMappings: one, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return -1, err
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		return -1, fmt.Errorf("open a user namespace: %w", err)
	}
	return fd, nil
}

// Wrap has cmd started in the sandbox instead: it must not have been started.
// Whoever starts it then calls Go, and may ask for its Fate once it has ended.
func (b *Box) Wrap(cmd *exec.Cmd, p Policy) (*Link, error) {
	m := b.found
	s := spec{Policy: p, Path: cmd.Path, Argv: cmd.Args, UID: b.uid, Filter: m.filter == "", Spaces: m.spaces == "", PIDs: m.pids == "" && m.spaces == "", IDMap: b.idmap >= 0}
	if m.noRules == "" {
		s.ABI = m.landlock
	}
	s.Watched = s.Filter && !s.Spaces
	if b.idmap < 0 {
		s.UID = -1
	}
	s.Words = len(cmd.Args) != 2 || cmd.Args[1] != b.command
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("start a sandbox: %w", err)
	}
	l := &Link{spec: data, words: s.Words}
	ours, theirs := [2]*os.File{}, [2]*os.File{}
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("start a sandbox: %w", err)
		}
		if ours[i], theirs[i] = r, w; i == 0 {
			ours[i], theirs[i] = w, r
		}
	}
	l.in, l.out, l.theirs = ours[0], ours[1], theirs[:]
	cmd.ExtraFiles = theirs[:]
	if s.IDMap {
		fd, err := unix.FcntlInt(uintptr(b.idmap), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, fmt.Errorf("start a sandbox: %w", err)
		}
		l.theirs = append(l.theirs, os.NewFile(uintptr(fd), "idmap"))
		cmd.ExtraFiles = l.theirs
	}
	cmd.Path, cmd.Args = "/proc/self/exe", []string{"autoresearchd", b.command, wordLead}
	attr := cmd.SysProcAttr
	if attr == nil {
		attr = &syscall.SysProcAttr{}
		cmd.SysProcAttr = attr
	}
	if s.Spaces {
		attr.Cloneflags |= unix.CLONE_NEWNS | unix.CLONE_NEWIPC
		if !p.Network {
			attr.Cloneflags |= unix.CLONE_NEWNET
		}
		if s.PIDs {
			attr.Cloneflags |= unix.CLONE_NEWPID
		}
		if !m.root || b.nested {
			attr.Cloneflags |= unix.CLONE_NEWUSER
			l.maps = cmd
			// Whoever is not root in there would lose them by its first exec.
			attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}
		}
	}
	return l, nil
}

// Link is the daemon's end of a program's leader.
type Link struct {
	spec    []byte
	in, out *os.File
	theirs  []*os.File
	words   bool      // the spec's
	maps    *exec.Cmd // whose user namespace has no ids yet; nil: it needs none
}

// Go tells the leader what to start, or not to, once it is where its limits hold.
func (l *Link) Go(started bool) {
	for _, f := range l.theirs {
		f.Close()
	}
	if !started {
		l.in.Close()
		l.out.Close()
		return
	}
	if l.maps != nil {
		if err := mapSelf(l.maps.Process.Pid); err != nil {
			l.spec, _ = json.Marshal(spec{Fault: "give its namespace a user: " + err.Error(), Words: l.words})
		}
	}
	go func() { // more than a pipe may hold
		_, _ = l.in.Write(l.spec)
		l.in.Close()
	}()
}

// mapSelf gives the user namespace of a process this process's own ids. It must
// have begun its program: before that it is as hidden (hide.Self) as the daemon
// that it was forked from, and its files of /proc are root's.
func mapSelf(pid int) error {
	for _, file := range [][2]string{{"setgroups", "deny"}, {"gid_map", fmt.Sprintf("%d %d 1", os.Getgid(), os.Getgid())}, {"uid_map", fmt.Sprintf("%d %d 1", os.Getuid(), os.Getuid())}} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, file[0]), []byte(file[1]), 0); err != nil {
			return err
		}
	}
	return nil
}

// Fate returns the signal that the program died of; 0: it ended by itself, or
// with its leader. born says that there was a program at all: why not, its
// standard error says. It is for a leader that has ended.
func (l *Link) Fate() (died syscall.Signal, born bool) {
	_ = l.out.SetReadDeadline(time.Now().Add(time.Second))
	data, _ := io.ReadAll(io.LimitReader(l.out, 16))
	l.out.Close()
	if string(data) == unborn {
		return 0, false
	}
	n, _ := strconv.Atoi(string(data))
	return syscall.Signal(n), true
}

// try starts a program that opens what it was promised, and what else must succeed.
func (b *Box) try(w Wish) error {
	data, err := json.Marshal(w.Like)
	if err != nil {
		return err
	}
	if err := b.run(w, []string{"/proc/self/exe", b.command, wordTry}, string(data)); err != nil {
		return err
	}
	for _, argv := range w.Try {
		if err := b.run(w, argv, ""); err != nil {
			return fmt.Errorf("%s in the sandbox: %w", filepath.Base(argv[0]), err)
		}
	}
	return nil
}

// run runs a command in the sandbox, and returns what it printed as an error.
func (b *Box) run(w Wish, argv []string, input string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0])
	cmd.Args, cmd.Env, cmd.Dir = argv, w.Env, "/"
	if argv[0] == "/proc/self/exe" {
		cmd.Args = append([]string{"autoresearchd"}, argv[1:]...)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second
	var out strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	link, err := b.Wrap(cmd, w.Like)
	if err != nil {
		return err
	}
	err = cmd.Start()
	link.Go(err == nil)
	if err != nil {
		return fmt.Errorf("start a process in namespaces: %w", errors.Unwrap(err))
	}
	err = cmd.Wait()
	link.Fate()
	if text := strings.TrimSpace(out.String()); err != nil && text != "" {
		lines := strings.Split(text, "\n")
		return errors.New(lines[len(lines)-1])
	}
	return err
}

// try is the program that does so. Its standard input is a policy.
func try(in io.Reader, out io.Writer) int {
	data, err := io.ReadAll(in)
	var p Policy
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	for _, path := range p.Read {
		if err != nil {
			break
		}
		var f *os.File
		if f, err = os.Open(path); err == nil {
			f.Close()
		} else if errors.Is(err, os.ErrNotExist) || denies(p, path) {
			err = nil
		}
	}
	for _, path := range p.Write {
		if err != nil {
			break
		}
		var f *os.File
		if f, err = os.CreateTemp(path, ".try"); err == nil {
			f.Close()
			err = os.Remove(f.Name())
		}
	}
	if err == nil {
		_, err = os.ReadFile("/proc/self/status")
	}
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	return 0
}

func denies(p Policy, path string) bool {
	for _, d := range p.Deny {
		if real(d) == real(path) || strings.HasPrefix(real(path), real(d)+"/") {
			return true
		}
	}
	return false
}
