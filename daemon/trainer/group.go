package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/slurm"
)

// Cgroups makes a control group for each trial where this process may: then
// nothing that a trial starts can outlive it. A zero value makes none.
type Cgroups struct {
	base   string // in the unified hierarchy: <base>/trial-<id>.<n>
	pids   string // the same in the old pids hierarchy, where the unified one lacks that controller
	direct bool   // processes can be started inside of a group; else they are moved there
	Why    string // why there are none
}

// FindCgroups looks for a hierarchy that this process may write to. In a
// delegated service the daemon first moves itself into a leaf of its own.
func FindCgroups() *Cgroups {
	mount, ok := cgroupMount("cgroup2", "")
	if !ok {
		return &Cgroups{Why: "no unified control group hierarchy is mounted"}
	}
	own, err := ownCgroup("0::")
	if err != nil {
		return &Cgroups{Why: err.Error()}
	}
	parent := filepath.Join(mount, own)
	base := filepath.Join(parent, groupName())
	clearGroups(parent)
	if err := os.Mkdir(base, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return &Cgroups{Why: fmt.Sprintf("control groups cannot be made under %s: %v", parent, err)}
	}
	c := &Cgroups{base: base}
	if has(filepath.Join(parent, "cgroup.controllers"), "pids") {
		if !has(filepath.Join(parent, "cgroup.subtree_control"), "pids") {
			// A group that hands controllers down holds no process itself.
			leaf := base + daemonLeaf
			if os.Mkdir(leaf, 0o755) == nil || exists(leaf) {
				_ = put(filepath.Join(leaf, "cgroup.procs"), strconv.Itoa(os.Getpid()))
			}
			_ = put(filepath.Join(parent, "cgroup.subtree_control"), "+pids +memory")
		}
		_ = put(filepath.Join(base, "cgroup.subtree_control"), "+pids +memory")
	} else if old, ok := cgroupMount("cgroup", "pids"); ok {
		if own, err := ownCgroup(":pids:"); err == nil {
			clearGroups(filepath.Join(old, own))
			c.pids = filepath.Join(old, own, filepath.Base(base))
			if err := os.Mkdir(c.pids, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				c.pids = ""
			}
		}
	}
	c.direct = startsInside(base)
	return c
}

const (
	groupPrefix = "autoresearchd-"
	daemonLeaf  = ".daemon" // behind the name of a daemon's groups: where it is itself
)

// groupName names this process's groups. A pid comes again, a pid with its
// begin does not; and a group must be new, see startsInside.
func groupName() string {
	st, _ := stat(os.Getpid())
	return fmt.Sprintf("%s%d.%s", groupPrefix, os.Getpid(), st.begun)
}

// clearGroups removes what processes that are gone have left in a hierarchy. A
// group that holds a process cannot be removed.
func clearGroups(parent string) {
	names, _ := filepath.Glob(filepath.Join(parent, groupPrefix+"*"))
	for _, dir := range names {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(dir), groupPrefix), daemonLeaf)
		number, begun, _ := strings.Cut(name, ".")
		pid, err := strconv.Atoi(number)
		if st, ok := stat(pid); err != nil || ok && (begun == "" || st.begun == begun) {
			continue
		}
		inner, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
		for _, file := range inner {
			_ = os.Remove(filepath.Dir(file))
		}
		_ = os.Remove(dir)
	}
}

// startsInside reports whether a process can be cloned into a new group. Linux
// counts for each group how often it was killed, and since 6.12.14 ends at once
// what is cloned from a group with one count into a group with another, taking
// it for a fork that escaped. So a group is never used again, and nothing is
// cloned into one where this process's own was killed before it came, as a
// service manager's may be.
func startsInside(base string) bool {
	dir := filepath.Join(base, "probe")
	if os.Mkdir(dir, 0o755) != nil {
		return false
	}
	defer rmdir(dir)
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	// Its exec fails, which it can only say if it lives.
	pid, err := syscall.ForkExec("", []string{""}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}})
	if err == nil {
		var status unix.WaitStatus
		_, _ = unix.Wait4(pid, &status, 0, nil)
	}
	return errors.Is(err, unix.ENOENT)
}

// rmdir removes a group once the kernel has let go of its last process, which
// takes a moment longer than that process's end.
func rmdir(dir string) {
	for pause := time.Millisecond; pause < time.Second; pause *= 2 {
		if err := os.Remove(dir); !errors.Is(err, unix.EBUSY) {
			return
		}
		time.Sleep(pause)
	}
}

// Close removes the daemon's own groups.
func (c *Cgroups) Close() {
	for _, dir := range []string{c.base, c.pids} {
		if dir != "" {
			_ = os.Remove(dir)
		}
	}
}

// group is everything that one trial started.
type group struct {
	cgroup string // "" where none could be made
	pids   string
	loose  bool   // the leader was moved into cgroup, so that a child may have stayed outside
	marker string // beginning of the environment entry that marks its processes
	leader int
	begun  string // when the leader began
	sweeps bool   // what this process holds itself is no member
}

func (c *Cgroups) make(name, marker string, processes int, memory int64) *group {
	g := &group{marker: marker}
	if c == nil || c.base == "" {
		return g
	}
	dir := filepath.Join(c.base, name)
	if os.Mkdir(dir, 0o755) != nil {
		return g
	}
	g.cgroup, g.loose = dir, !c.direct
	limit := strconv.Itoa(processes)
	if processes > 0 && put(filepath.Join(dir, "pids.max"), limit) != nil && c.pids != "" {
		old := filepath.Join(c.pids, name)
		if os.Mkdir(old, 0o755) == nil && put(filepath.Join(old, "pids.max"), limit) == nil {
			g.pids = old
		}
	}
	if memory > 0 {
		_ = put(filepath.Join(dir, "memory.max"), strconv.FormatInt(memory, 10))
		_ = put(filepath.Join(dir, "memory.swap.max"), "0")
		_ = put(filepath.Join(dir, "memory.oom.group"), "1")
	}
	return g
}

// open returns a descriptor of the control group for clone3, or nil.
func (g *group) open() *os.File {
	if g.cgroup == "" || g.loose {
		return nil
	}
	f, err := os.Open(g.cgroup)
	if err != nil {
		g.cgroup = ""
		return nil
	}
	return f
}

// adopt notes the leader and puts it where the process limit holds. It must
// come before the leader is told to work.
func (g *group) adopt(pid int) {
	g.leader = pid
	if st, ok := stat(pid); ok {
		g.begun = st.begun
	}
	if g.loose && put(filepath.Join(g.cgroup, "cgroup.procs"), strconv.Itoa(pid)) != nil {
		_ = os.Remove(g.cgroup)
		g.cgroup = ""
	}
	if g.pids != "" {
		_ = put(filepath.Join(g.pids, "cgroup.procs"), strconv.Itoa(pid))
	}
}

// members returns the living processes of the group.
func (g *group) members() []int {
	if g.cgroup != "" {
		var all []int
		for _, file := range []string{filepath.Join(g.cgroup, "cgroup.procs"), filepath.Join(g.pids, "cgroup.procs")} {
			data, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			for _, field := range strings.Fields(string(data)) {
				if pid, err := strconv.Atoi(field); err == nil {
					all = append(all, pid)
				}
			}
		}
		if g.loose {
			all = append(all, g.marked()...)
		}
		return unique(all)
	}
	return g.marked()
}

func (g *group) marked() []int {
	if !g.leads() {
		return marked(g.marker, 0, g.sweeps)
	}
	return marked(g.marker, g.leader, g.sweeps)
}

// leads reports whether the leader's number is still its own: while its group
// has a member nobody else gets it.
func (g *group) leads() bool {
	st, ok := stat(g.leader)
	return g.leader > 0 && (!ok || st.begun == g.begun)
}

// signal sends a signal to every member, and to nobody who has got the number
// of one: what is a member before and after a handle to it was opened is the
// process behind the handle. A kernel without handles gets the number.
func (g *group) signal(sig unix.Signal) {
	if g.leads() {
		_ = unix.Kill(-g.leader, sig)
	}
	handles := map[int]int{}
	for _, pid := range g.members() {
		fd, err := unix.PidfdOpen(pid, 0)
		switch {
		case err == nil:
			handles[pid] = fd
		case !errors.Is(err, unix.ESRCH):
			_ = unix.Kill(pid, sig)
		}
	}
	for _, pid := range g.members() {
		if fd, ok := handles[pid]; ok {
			_ = unix.PidfdSendSignal(fd, sig, nil, 0)
		}
	}
	for _, fd := range handles {
		unix.Close(fd)
	}
}

// kill ends every member and waits until none is left, at most for the given
// time. It returns those that remain.
func (g *group) kill(patience time.Duration) []int {
	deadline := time.Now().Add(patience)
	mine := map[int]bool{}
	begun := map[int]string{}
	empty := 0 // times in a row
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		for _, pid := range g.members() {
			if st, ok := stat(pid); ok && !mine[pid] {
				mine[pid], begun[pid] = true, st.begun
			}
		}
		if g.cgroup == "" || put(filepath.Join(g.cgroup, "cgroup.kill"), "1") != nil {
			g.signal(unix.SIGKILL)
		} else if g.pids != "" || g.loose { // which may hold what the group does not
			g.signal(unix.SIGKILL)
		}
		reap(mine)
		left := g.alive(begun)
		if empty++; len(left) > 0 || g.charged() > 0 {
			empty = 0
		}
		// A process cannot be told by its marker in the moment of its exec, so
		// without a control group one look is not enough.
		if empty > 1 || empty == 1 && g.cgroup != "" || time.Now().After(deadline) {
			return left
		}
		if empty == 1 {
			continue
		}
		time.Sleep(pause)
	}
}

// alive returns the members that are no zombies, and of those known before,
// with when they began, the ones that are still on their way out: a process
// that exits has no marker any more.
func (g *group) alive(known map[int]string) []int {
	var out []int
	for _, pid := range g.members() {
		if st, ok := stat(pid); ok && st.state != 'Z' && st.state != 'X' {
			out = append(out, pid)
		}
	}
	for pid, begun := range known {
		if st, ok := stat(pid); ok && st.begun == begun && st.state != 'Z' && st.state != 'X' {
			out = append(out, pid)
		}
	}
	return unique(out)
}

// charged returns the processes, zombies included, that still count against
// the group's limit; 0 where nobody counts.
func (g *group) charged() int {
	for _, dir := range []string{g.pids, g.cgroup} {
		if data, err := os.ReadFile(filepath.Join(dir, "pids.current")); dir != "" && err == nil {
			n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
			return n
		}
	}
	return 0
}

// outOfMemory reports whether the kernel ended a member for its memory limit.
func (g *group) outOfMemory() bool {
	data, err := os.ReadFile(filepath.Join(g.cgroup, "memory.events"))
	if g.cgroup == "" || err != nil {
		return false
	}
	for _, line := range strings.Split(string(data), "\n") {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok && n != "0" {
			return true
		}
	}
	return false
}

func (g *group) remove() {
	for _, dir := range []string{g.cgroup, g.pids} {
		if dir != "" {
			rmdir(dir)
		}
	}
}

// Sweep ends what an earlier daemon left behind: the processes in a trial's
// place, by the handle that Options.Seat was told, or the path of a control
// group, and those that carry its owner's marker. What this process holds itself
// stays. It returns how many there were.
func Sweep(owner, place string) int {
	g := &group{marker: ownerMarker(owner), sweeps: true}
	found := len(g.members())
	g.kill(5 * time.Second)
	at := handle{Cgroup: place}
	if strings.HasPrefix(place, "{") {
		at = handle{}
		_ = json.Unmarshal([]byte(place), &at) // without it the marker finds them
	}
	if at.Step != "" { // on a cluster, where the step holds all that it started
		ctx, cancel := context.WithTimeout(context.Background(), stepPatience)
		defer cancel()
		c := slurm.Cluster{Env: Environment(nil)}
		if left, err := c.Steps(ctx, at.Job); err != nil || slices.Contains(left, at.Step) {
			found++
			_ = c.End(ctx, at.Job, at.Step) // the seat proves it again before a trial runs there
		}
	}
	if strings.Contains(at.Cgroup, "/"+groupPrefix) && filepath.Base(filepath.Dir(at.Cgroup)) != groupName() {
		g := &group{cgroup: at.Cgroup}
		found += len(g.members())
		g.kill(5 * time.Second)
		g.remove()
		_ = os.Remove(filepath.Dir(at.Cgroup))
	}
	return found
}

// marked finds the processes with an environment entry that begins with
// marker, and those in the session of leader; without those that this process
// holds itself, if so asked.
func marked(marker string, leader int, others bool) []int {
	entries, _ := os.ReadDir("/proc")
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if st, ok := stat(pid); leader > 0 && ok && (st.session == leader || st.group == leader) {
			out = append(out, pid)
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || marker == "" {
			continue
		}
		for _, entry := range bytes.Split(env, []byte{0}) {
			if bytes.HasPrefix(entry, []byte(marker)) {
				if _, mine := held.Load(string(entry)); mine && others {
					break
				}
				out = append(out, pid)
				break
			}
		}
	}
	return out
}

type procStat struct {
	state                  byte
	parent, group, session int
	begun                  string // in clock ticks since boot: with the pid, which process it is
}

func stat(pid int) (procStat, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, false
	}
	_, rest, ok := strings.Cut(string(data), ") ") // the name may hold anything but is followed by this
	if i := strings.LastIndex(string(data), ") "); i >= 0 {
		rest = string(data)[i+2:]
	}
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return procStat{}, false
	}
	var st procStat
	st.state = fields[0][0]
	st.parent, _ = strconv.Atoi(fields[1])
	st.group, _ = strconv.Atoi(fields[2])
	st.session, _ = strconv.Atoi(fields[3])
	st.begun = fields[19]
	return st, true
}

// orphans are zombies that reap has met, and when.
var orphans = struct {
	sync.Mutex
	since map[int]time.Time
}{since: map[int]time.Time{}}

// courtesy is how long a zombie that leads its own group is left to whoever may
// wait for it: os/exec, which collects its children at once.
const courtesy = time.Second

// reap collects orphans that came to this process, its subreaper, as zombies.
// Children that os/exec waits for are in this process's own process group, are
// seats' leaders, or lead groups of their own, as git does. An orphan can lead a
// group too: it is collected at once if it is known to be a trial's, else by a
// later call, when nobody else has.
func reap(mine map[int]bool) {
	own := unix.Getpgrp()
	entries, _ := os.ReadDir("/proc")
	orphans.Lock()
	defer orphans.Unlock()
	met := map[int]time.Time{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		st, ok := stat(pid)
		if !ok || st.state != 'Z' || st.parent != os.Getpid() || st.group == own || spawned.waits(pid) {
			continue
		}
		if st.group == pid && !mine[pid] {
			since, known := orphans.since[pid]
			if !known {
				since = time.Now()
			}
			if time.Since(since) < courtesy {
				met[pid] = since
				continue
			}
		}
		var status unix.WaitStatus
		_, _ = unix.Wait4(pid, &status, unix.WNOHANG, nil)
	}
	orphans.since = met
}

// cgroupMount finds where a hierarchy is mounted.
func cgroupMount(kind, option string) (string, bool) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", false
	}
	for _, line := range strings.Split(string(data), "\n") {
		head, tail, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(head), strings.Fields(tail)
		if !ok || len(left) < 5 || len(right) < 3 || right[0] != kind {
			continue
		}
		if option == "" || strings.Contains(","+right[2]+",", ","+option+",") {
			return left[4], true
		}
	}
	return "", false
}

func ownCgroup(key string) (string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(data), "\n") {
		if i := strings.Index(line, key); i >= 0 && (key != "0::" || i == 0) {
			return line[i+len(key):], nil
		}
	}
	return "", fmt.Errorf("this process is in no control group %s", key)
}

func has(file, word string) bool {
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for _, f := range strings.Fields(string(data)) {
		if f == word {
			return true
		}
	}
	return false
}

func put(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func unique(pids []int) []int {
	seen := map[int]bool{}
	out := pids[:0]
	for _, p := range pids {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}
