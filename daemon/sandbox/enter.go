package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// enter gives up what the policy does not leave, for this thread, and becomes
// the program.
func (s *spec) enter() error {
	_, err := s.read()
	if err != nil {
		return err
	}
	unix.CloseOnExec(fdListener)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	var landlock *ruleset
	if s.ABI > 0 {
		if landlock, err = s.ruleset(); err != nil {
			return err
		}
	}
	if err := renounce(s.UID); err != nil {
		return err
	}
	if landlock != nil {
		if err := landlock.restrict(); err != nil {
			return err
		}
	}
	if s.Filter {
		listener, err := filter(rules(s.Policy.Network, s.Watched))
		if err != nil {
			return err
		}
		if listener >= 0 {
			if err := unix.Sendmsg(fdListener, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
				return fmt.Errorf("hand over the listener: %w", err)
			}
			unix.Close(listener)
		}
	}
	if err := unix.Exec(s.Path, s.Argv, os.Environ()); err != nil {
		return fmt.Errorf("start %s in its sandbox: %w", s.Path, err)
	}
	return nil
}

// ruleset makes the program's rules, while this process may still look at all
// that they name.
func (s *spec) ruleset() (*ruleset, error) {
	r, err := newRuleset(s.ABI, s.Policy.Network)
	if err != nil {
		return nil, err
	}
	faults := []error{r.policy(s.Policy)}
	for _, path := range system {
		faults = append(faults, r.allow(path, readOnly))
	}
	if s.Policy.Network {
		for _, path := range forNetwork {
			faults = append(faults, r.allow(path, readOnly))
		}
	}
	faults = append(faults, r.allow("/dev/shm", r.handled), r.allow("/dev", unix.LANDLOCK_ACCESS_FS_READ_DIR))
	if s.Spaces {
		faults = append(faults, r.allow("/tmp", r.handled))
	}
	if s.PIDs {
		faults = append(faults, r.allow("/proc", readOnly|unix.LANDLOCK_ACCESS_FS_WRITE_FILE|unix.LANDLOCK_ACCESS_FS_TRUNCATE))
	} else {
		faults = append(faults, r.foreignProc())
	}
	return r, errors.Join(faults...)
}

// fdProc is far from the small numbers that scripts close or reuse.
const fdProc = 690

// foreignProc opens, of a /proc that shows other processes, what is about none
// and what is about this one, whose descriptor stays open: the kernel forgets
// names that nobody holds, and with them the rule.
func (r *ruleset) foreignProc() error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("look at /proc: %w", err)
	}
	hidden := map[string]bool{}
	for _, name := range hiddenInProc {
		hidden[name] = true
	}
	var faults []error
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil && !hidden[e.Name()] && e.Type()&os.ModeSymlink == 0 {
			faults = append(faults, r.allow(filepath.Join("/proc", e.Name()), readOnly&^unix.LANDLOCK_ACCESS_FS_EXECUTE))
		}
	}
	own, err := unix.Open(fmt.Sprintf("/proc/%d", os.Getpid()), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("open this process's /proc: %w", err)
	}
	defer unix.Close(own)
	if err := unix.Dup3(own, fdProc, 0); err != nil {
		return fmt.Errorf("keep this process's /proc: %w", err)
	}
	return errors.Join(append(faults, r.allowFD(fdProc, "/proc/self", readOnly|unix.LANDLOCK_ACCESS_FS_WRITE_FILE|unix.LANDLOCK_ACCESS_FS_TRUNCATE))...)
}

// renounce gives up every capability and, with uid, the user. It is for this
// thread, which is why it makes the calls itself.
func renounce(uid int) error {
	fail := func(what string, errno error) error { return fmt.Errorf("give up %s: %w", what, errno) }
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fail("new privileges", err)
	}
	for c := uintptr(0); c <= 63; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err == unix.EINVAL {
			break // beyond the last; without the right to drop one, none can be gained either
		}
	}
	if uid >= 0 {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			return fail("groups", errno)
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			return fail("its group", errno)
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			return fail("its user", errno)
		}
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0); errno != 0 {
		return fail("capabilities", errno)
	}
	// A change of user has undone it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fail("life without its leader", err)
	}
	return nil
}
