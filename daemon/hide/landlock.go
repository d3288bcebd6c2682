package hide

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported returns why the kernel cannot confine a process, or nil: it needs
// Landlock as of Linux 5.19. The first version forbids every move between
// folders, which no trial would survive.
func Supported() error {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case errno == unix.ENOSYS, errno == unix.EOPNOTSUPP:
		return errors.New("the kernel has no Landlock, or it is switched off")
	case errno != 0:
		return fmt.Errorf("the kernel refuses Landlock: %w", errno)
	case version < 2:
		return errors.New("the kernel's Landlock is older than Linux 5.19")
	}
	return nil
}

// Exposed returns why Confine cannot close a file or folder, or "": everything
// that this user makes in one of the folders above it would be closed too,
// since Landlock knows only what is open. path is absolute; made are folders in which trials make
// files even where root could make them anywhere.
func Exposed(path string, made ...string) string {
	for dir := filepath.Dir(real(path)); len(dir) > 1; dir = filepath.Dir(dir) {
		if os.Getuid() != 0 && unix.Access(dir, unix.W_OK) == nil {
			return dir
		}
		for _, m := range made {
			if m != "" && real(m) == dir {
				return dir
			}
		}
	}
	return ""
}

// real follows links as far as the path exists.
func real(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return filepath.Clean(path)
}

// Confine takes from this thread, from what it will start and exec, for good:
// reading the paths and what is below them, and looking into processes that
// are not confined with it. All else stays allowed. The caller has locked its
// goroutine to the thread.
func Confine(paths []string) error {
	handled := uint64(unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_REFER) // REFER is denied unless it is granted
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled}
	// Its first field alone, which every kernel knows.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0)
	if errno != 0 {
		return fmt.Errorf("confine: make a ruleset: %w", errno)
	}
	rules := int(fd)
	defer unix.Close(rules)
	closed := map[string]bool{}
	for _, p := range paths {
		if p != "" {
			closed[real(p)] = true
		}
	}
	if closed["/"] {
		return errors.New("confine: the root folder cannot be closed")
	}
	if err := open(rules, "/", closed); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0); errno != 0 {
		return fmt.Errorf("confine: %w", errno)
	}
	return nil
}

// open allows a folder and all below it but what is closed: rules name what is
// open, so around a closed path each neighbour gets one.
func open(rules int, path string, closed map[string]bool) error {
	if closed[path] {
		return nil
	}
	above := false
	for c := range closed {
		if strings.HasPrefix(c, strings.TrimSuffix(path, "/")+"/") {
			above = true
		}
	}
	if !above {
		return allow(rules, path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil // what cannot be listed stays closed
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink != 0 {
			continue // what it points to has a rule of its own
		}
		if err := open(rules, filepath.Join(path, e.Name()), closed); err != nil {
			return err
		}
	}
	return nil
}

func allow(rules int, path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil // it went meanwhile, or nobody may get there
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	access := uint64(unix.LANDLOCK_ACCESS_FS_READ_FILE)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		access |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 && errno != unix.EBADFD { // a socket or such has nothing to allow
		return fmt.Errorf("allow %s: %w", path, errno)
	}
	return nil
}
