package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// plainDevices are what every program may use.
var plainDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// system is what every program may read: what the distribution has installed,
// and the kernel's view of the machine. Of /etc, what libraries ask for and no
// more, since keys are kept there.
var system = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store",
	"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
	"/etc/localtime", "/etc/timezone", "/etc/os-release", "/etc/debian_version", "/etc/locale.alias", "/etc/mime.types", "/etc/magic",
	"/etc/hosts", "/etc/host.conf", "/etc/protocols", "/etc/services", "/etc/fonts", "/etc/OpenCL", "/etc/vulkan", "/etc/ssl/certs", "/etc/ssl/openssl.cnf",
	"/sys/devices", "/sys/bus", "/sys/class", "/sys/module", "/sys/fs/cgroup", "/sys/kernel/mm",
}

// forNetwork is what name look-ups read besides.
var forNetwork = []string{"/etc/resolv.conf", "/etc/gai.conf", "/etc/ca-certificates", "/etc/pki", "/usr/share/ca-certificates"}

// A private root is where a program finds what its policy names, under the same
// names, and nothing else: no other file, no socket of others, no other process.

// mountPoint is one path of it.
type mountPoint struct {
	path  string // without links
	write bool
	own   bool // it belongs to the daemon's user, and so to the program's
}

const (
	oldRoot = "/old" // where the machine's root is while the private one is made
	newRoot = "/new"
)

// makeRoot gives this process, which is alone in its mount namespace, a private
// root. idmap is a user namespace in which the daemon's user is the program's;
// -1: they are the same.
func makeRoot(p Policy, ownProc bool, idmap int) error {
	links := map[string]string{}
	var points []mountPoint
	add := func(paths []string, write, own bool) {
		for _, path := range paths {
			if at, ok := resolve(path, links); ok {
				points = append(points, mountPoint{at, write, own})
			}
		}
	}
	add(system, false, false)
	if p.Network {
		add(forNetwork, false, false)
	}
	add(p.Read, false, true)
	add(p.Write, true, true)
	for _, path := range p.List { // what lies there makes it
		resolve(path, links)
	}
	var denied []string
	for _, path := range p.Deny {
		if at, ok := resolve(path, map[string]string{}); ok {
			denied = append(denied, at)
		}
	}
	slices.SortStableFunc(points, func(a, b mountPoint) int { return strings.Compare(a.path, b.path) }) // folders before what lies in them

	const base = "/tmp"
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"keep mounts to itself", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount a file system for it", func() error {
			return unix.Mount("autoresearchd", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=16m")
		}},
		{"make its folders", func() error { return errors.Join(os.Mkdir(base+oldRoot, 0o755), os.Mkdir(base+newRoot, 0o755)) }},
		{"enter it", func() error { return errors.Join(unix.PivotRoot(base, base+oldRoot), os.Chdir("/")) }},
		{"make it a mount", func() error { return unix.Mount(newRoot, newRoot, "", unix.MS_BIND, "") }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("make a private root: %s: %w", step.what, err)
		}
	}
	if err := makeTmp(p.Tmp, idmap); err != nil { // before what lies in it
		return fmt.Errorf("make a private root: %w", err)
	}
	if err := fill(points, links, p.Tmp, idmap); err != nil {
		return fmt.Errorf("make a private root: %w", err)
	}
	if err := makeDevices(p.Devices); err != nil {
		return fmt.Errorf("make a private root: %w", err)
	}
	if err := cover(denied); err != nil {
		return fmt.Errorf("make a private root: %w", err)
	}
	if err := makeProc(ownProc); err != nil {
		return fmt.Errorf("make a private root: %w", err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	err := errors.Join(os.Chdir(newRoot), unix.PivotRoot(".", "."))
	if err == nil {
		err = errors.Join(unix.Unmount(".", unix.MNT_DETACH), os.Chdir("/"), unix.MountSetattr(unix.AT_FDCWD, "/", 0, &attr))
	}
	if err != nil {
		return fmt.Errorf("make a private root: leave the machine's: %w", err)
	}
	return nil
}

// resolve returns a path without links, and notes the links that lead there.
func resolve(path string, links map[string]string) (string, bool) {
	left := strings.Split(strings.Trim(filepath.Clean(path), "/"), "/")
	at := "/"
	for hops := 0; len(left) > 0; {
		next := filepath.Join(at, left[0])
		info, err := os.Lstat(next)
		if err != nil {
			return "", false
		}
		left = left[1:]
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if hops++; err != nil || hops > 40 {
			return "", false
		}
		links[next] = target
		if !filepath.IsAbs(target) {
			target = filepath.Join(at, target)
		}
		left, at = append(strings.Split(strings.Trim(filepath.Clean(target), "/"), "/"), left...), "/"
	}
	return at, true
}

// fill mounts what the policy names, and makes the folders and links on the way.
func fill(points []mountPoint, links map[string]string, tmp string, idmap int) error {
	var mounted []mountPoint
	for _, point := range points {
		if slices.ContainsFunc(mounted, func(m mountPoint) bool {
			return (point.path == m.path || strings.HasPrefix(point.path, strings.TrimSuffix(m.path, "/")+"/")) && (m.write || !point.write) && (m.own || !point.own)
		}) {
			continue
		}
		if err := makeRoom(point.path, tmp); err != nil {
			return err
		}
		own := -1
		if point.own {
			own = idmap
		}
		if err := bind(point.path, point.path, point.write, false, own); err != nil {
			return err
		}
		mounted = append(mounted, point)
	}
	for link, target := range links {
		if err := os.MkdirAll(newRoot+filepath.Dir(link), 0o755); err != nil {
			continue // its folder is mounted, and the link with it
		}
		_ = os.Symlink(target, newRoot+link)
	}
	return nil
}

// cover hides what must not be opened, behind a device where devices cannot be.
// Landlock denies it too, but not below /tmp, all of which is the program's.
func cover(denied []string) error {
	for _, path := range denied {
		info, err := os.Lstat(newRoot + path)
		switch {
		case err != nil:
			continue // it is not there anyway
		case info.IsDir():
			err = unix.Mount("autoresearchd", newRoot+path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "size=4k,mode=000")
		default:
			err = bind("/dev/null", path, false, false, -1)
		}
		if err != nil {
			return fmt.Errorf("hide %s: %w", path, err)
		}
	}
	return nil
}

// makeRoom makes what a path can be mounted on. tmp is the folder that is /tmp.
func makeRoom(path, tmp string) error {
	info, err := os.Stat(oldRoot + path)
	if err != nil {
		return fmt.Errorf("find %s: %w", path, errors.Unwrap(err))
	}
	if _, err := os.Lstat(newRoot + path); err == nil {
		return nil
	}
	at := newRoot + path
	if rest, ok := strings.CutPrefix(path, "/tmp/"); ok && tmp != "" {
		at = filepath.Join(oldRoot+tmp, rest) // as whom its owner knows, where mounts show another
	}
	if info.IsDir() {
		return os.MkdirAll(at, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// bind mounts what the machine has at one path at another one of the new root.
func bind(from, to string, write, devices bool, idmap int) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, oldRoot+from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("take %s: %w", from, err)
	}
	defer unix.Close(fd)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID}
	if !devices {
		attr.Attr_set |= unix.MOUNT_ATTR_NODEV
	}
	if !write {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("close %s to devices and setuid programs: %w", from, err)
	}
	if idmap >= 0 {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(idmap)}
		err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr)
		if err != nil && write { // what is only read may be open to others
			return fmt.Errorf("show %s as another user's (an idmapped mount): %w", from, err)
		}
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, newRoot+to, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", to, err)
	}
	return nil
}

// makeDevices makes a /dev with a few nodes and a /dev/shm of its own.
func makeDevices(more []string) error {
	dev := newRoot + "/dev"
	err := errors.Join(os.MkdirAll(dev, 0o755), unix.Mount("autoresearchd", dev, "tmpfs", unix.MS_NOSUID, "mode=755,size=1m"), os.Mkdir(dev+"/shm", 0o1777))
	if err == nil {
		err = unix.Mount("autoresearchd", dev+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
	}
	if err != nil {
		return fmt.Errorf("make /dev: %w", err)
	}
	for _, path := range slices.Concat(plainDevices, more) {
		if _, err := os.Stat(oldRoot + path); err != nil {
			continue
		}
		if err := errors.Join(makeRoom(path, ""), bind(path, path, true, true, -1)); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}

// Of its own /proc a program may write to what belongs to processes. The rest
// is the machine's, and root may write to some of it without any capability.
var (
	fixedInProc  = []string{"sys", "sysrq-trigger", "irq", "bus", "fs", "mtrr"}
	hiddenInProc = []string{"kcore", "kmsg", "keys", "key-users", "timer_list", "sched_debug", "latency_stats", "kpagecount", "kpageflags", "kpagecgroup", "vmallocinfo", "slabinfo", "acpi", "scsi", "pressure"}
)

func makeProc(own bool) error {
	proc := newRoot + "/proc"
	if err := os.MkdirAll(proc, 0o755); err != nil {
		return err
	}
	if !own {
		return bind("/proc", "/proc", true, false, -1)
	}
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	empty := newRoot + "/dev/null"
	for _, name := range hiddenInProc {
		path := filepath.Join(proc, name)
		info, err := os.Stat(path)
		switch {
		case err != nil:
			continue
		case info.IsDir():
			err = unix.Mount("autoresearchd", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "size=4k,mode=555")
		default:
			err = unix.Mount(empty, path, "", unix.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("hide /proc/%s: %w", name, err)
		}
	}
	for _, name := range fixedInProc {
		path := filepath.Join(proc, name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
		if err == nil {
			err = unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &attr)
		}
		if err != nil {
			return fmt.Errorf("protect /proc/%s: %w", name, err)
		}
	}
	return nil
}

func makeTmp(from string, idmap int) error {
	tmp := newRoot + "/tmp"
	if err := os.MkdirAll(tmp, 0o1777); err != nil {
		return err
	}
	if from != "" {
		return bind(from, "/tmp", true, false, idmap)
	}
	return unix.Mount("autoresearchd", tmp, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size=256m")
}
