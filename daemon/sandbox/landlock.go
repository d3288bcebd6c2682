package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rights that each version of Landlock has added; what a ruleset handles is
// closed unless a rule opens it.
const (
	readFile = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE
	readOnly = readFile | unix.LANDLOCK_ACCESS_FS_READ_DIR
	first    = 1<<13 - 1 // the rights of ABI 1
	ofFiles  = readFile | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// landlockABI returns the version that the kernel has, or why it has none.
func landlockABI() (int, string) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case errno == unix.ENOSYS, errno == unix.EOPNOTSUPP:
		return 0, "the kernel has none, or it is switched off"
	case errno != 0:
		return 0, "the kernel refuses it: " + errno.Error()
	}
	return int(version), ""
}

// ruleset is what a thread may still do once it has confined itself.
type ruleset struct {
	fd      int
	abi     int
	handled uint64
}

func newRuleset(abi int, network bool) (*ruleset, error) {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: first}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if abi >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= networkABI {
		size = unsafe.Offsetof(attr.Scoped)
		if !network {
			attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
	}
	if abi >= scopedABI {
		size = unsafe.Sizeof(attr)
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return nil, fmt.Errorf("make a Landlock ruleset: %w", errno)
	}
	return &ruleset{fd: int(fd), abi: abi, handled: attr.Handled_access_fs}, nil
}

// allow opens a path and all below it. What is not there needs no rule.
func (r *ruleset) allow(path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	return r.allowFD(fd, path, access)
}

func (r *ruleset) allowFD(fd int, path string, access uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= ofFiles
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access & r.handled, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 && errno != unix.EBADFD {
		return fmt.Errorf("allow %s: %w", path, errno)
	}
	return nil
}

// allowBut opens path for reading, but for denied files. A rule covers all that
// lies below its folder, so a folder that holds a denied file is opened for
// listing, and each of its neighbours by itself: files that come into such a
// folder later stay closed.
func (r *ruleset) allowBut(path string, denied map[string]bool) error {
	if denied[path] {
		return nil
	}
	above := false
	for d := range denied {
		above = above || strings.HasPrefix(d, strings.TrimSuffix(path, "/")+"/")
	}
	if !above {
		return r.allow(path, readOnly)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil // what cannot be listed stays closed
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink != 0 {
			continue // what it points to has a rule, or none
		}
		if err := r.allowBut(filepath.Join(path, e.Name()), denied); err != nil {
			return err
		}
	}
	return r.list(path)
}

// list opens the names in a folder. They come with those of all below, since a
// rule knows no single folder: what is denied is its content.
func (r *ruleset) list(path string) error { return r.allow(path, unix.LANDLOCK_ACCESS_FS_READ_DIR) }

// policy opens what a program needs.
func (r *ruleset) policy(p Policy) error {
	denied := map[string]bool{}
	for _, d := range p.Deny {
		denied[real(d)] = true
	}
	var faults []error
	for _, path := range p.Read {
		faults = append(faults, r.allowBut(real(path), denied))
	}
	for _, path := range p.List {
		faults = append(faults, r.list(path))
	}
	for _, path := range p.Write {
		faults = append(faults, r.allow(path, r.handled))
	}
	for _, path := range append(plainDevices, p.Devices...) {
		faults = append(faults, r.allow(path, unix.LANDLOCK_ACCESS_FS_READ_FILE|unix.LANDLOCK_ACCESS_FS_WRITE_FILE|unix.LANDLOCK_ACCESS_FS_IOCTL_DEV))
	}
	return errors.Join(faults...)
}

// restrict closes all else to this thread, and to what it will start and exec.
func (r *ruleset) restrict() error {
	defer unix.Close(r.fd)
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), 0, 0); errno != 0 {
		return fmt.Errorf("confine by Landlock: %w", errno)
	}
	return nil
}

// real follows links as far as the path exists.
func real(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return filepath.Clean(path)
}
