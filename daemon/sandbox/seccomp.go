package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter is assembled here, in a few lines: github.com/elastic/go-seccomp-bpf
// lets calls of another architecture pass where a filter allows what it does not
// name, and a trial could make every denied call by the 32-bit table.

// test is a condition on an argument's lower half. Under a mask it must have the
// value, or must not.
type test struct {
	argument int
	mask     uint32 // 0: all bits
	value    uint32
	not      bool
}

// rule answers a system call under all its tests.
type rule struct {
	call  uintptr
	tests []test
	ret   uint32
}

func answer(errno unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(errno) }

// newSpaces are the flags of clone that make namespaces; CLONE_NEWTIME is not clone's.
const newSpaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// forbidden are calls that training has no use for and that reach the kernel's
// or other processes' insides. Programs that try some of them, such as runtimes
// that look for io_uring, are told that they are not there.
var forbidden = map[unix.Errno][]uintptr{
	unix.EPERM: {
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_FANOTIFY_INIT, unix.SYS_OPEN_BY_HANDLE_AT,
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT,
		unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		unix.SYS_UNSHARE, unix.SYS_SETNS,
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
		unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_VHANGUP,
	},
	unix.ENOSYS: {unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_CLONE3}, // a filter cannot see clone3's flags; libraries go on with clone
}

// rules are the filter of a program. watched says that connections and changes
// of modes are decided by the leader, which sees their paths.
func rules(network, watched bool) []rule {
	var all []rule
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
		for _, call := range append(forbidden[errno], forbiddenHere[errno]...) {
			all = append(all, rule{call: call, ret: answer(errno)})
		}
	}
	for flag := uint32(1); flag != 0; flag <<= 1 {
		if flag&newSpaces != 0 {
			all = append(all, rule{unix.SYS_CLONE, []test{{0, flag, flag, false}}, answer(unix.EPERM)})
		}
	}
	const ofType = 0xf // the rest are flags
	// A datagram needs no connection to be sent to whoever listens in the file system.
	all = append(all,
		rule{unix.SYS_SOCKET, []test{{0, 0, unix.AF_UNIX, false}, {1, ofType, unix.SOCK_DGRAM, false}}, answer(unix.EPERM)},
		rule{unix.SYS_SOCKETPAIR, []test{{1, ofType, unix.SOCK_DGRAM, false}}, answer(unix.EPERM)},
		rule{unix.SYS_SOCKETPAIR, []test{{0, 0, unix.AF_UNIX, true}}, answer(unix.EPERM)},
		rule{unix.SYS_IOCTL, []test{{1, 0, unix.TIOCSTI, false}}, answer(unix.EPERM)},
		rule{unix.SYS_IOCTL, []test{{1, 0, unix.TIOCLINUX, false}}, answer(unix.EPERM)},
	)
	families := []test{{0, 0, unix.AF_UNIX, true}}
	if network {
		families = append(families, test{0, 0, unix.AF_INET, true}, test{0, 0, unix.AF_INET6, true}, test{0, 0, unix.AF_NETLINK, true})
	}
	all = append(all, rule{unix.SYS_SOCKET, families, answer(unix.EPERM)})
	if watched {
		for call := range watchedCalls {
			all = append(all, rule{call: call, ret: unix.SECCOMP_RET_USER_NOTIF})
		}
		for _, call := range ownership {
			all = append(all, rule{call: call, ret: answer(unix.EPERM)})
		}
	}
	return all
}

// ownership is what changes files' owners and attributes by name, which
// Landlock does not see; a root of its own is read-only where it matters.
var ownership = append([]uintptr{unix.SYS_FCHOWNAT, unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FCHMODAT2}, ownershipHere...)

// assemble makes a program of rules, of which the first that fits answers.
func assemble(all []rule) []unix.SockFilter {
	const (
		load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		atLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		and     = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		ret     = unix.BPF_RET | unix.BPF_K
		number  = 0 // offsets in struct seccomp_data
		arch    = 4
		args    = 16
	)
	program := []unix.SockFilter{
		{Code: load, K: arch}, {Code: equal, K: auditArch, Jt: 1}, {Code: ret, K: answer(unix.ENOSYS)},
		{Code: load, K: number}, {Code: atLeast, K: firstOther, Jf: 1}, {Code: ret, K: answer(unix.ENOSYS)},
	}
	for _, r := range all {
		var body []unix.SockFilter
		for i := len(r.tests) - 1; i >= 0; i-- { // from the end, for the length of the jump out
			t := r.tests[i]
			step := []unix.SockFilter{{Code: load, K: uint32(args + 8*t.argument)}} // little-endian
			if t.mask != 0 {
				step = append(step, unix.SockFilter{Code: and, K: t.mask})
			}
			out := uint8(len(body) + 1) // over the rest and the answer
			if t.not {
				step = append(step, unix.SockFilter{Code: equal, K: t.value, Jt: out})
			} else {
				step = append(step, unix.SockFilter{Code: equal, K: t.value, Jf: out})
			}
			body = append(step, body...)
		}
		body = append(body, unix.SockFilter{Code: ret, K: r.ret})
		if len(r.tests) > 0 {
			body = append(body, unix.SockFilter{Code: load, K: number}) // the tests have overwritten it
		}
		program = append(program, unix.SockFilter{Code: equal, K: uint32(r.call), Jf: uint8(len(body))})
		program = append(program, body...)
	}
	return append(program, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
}

// filter installs rules for this thread. Where some are watched it returns the
// descriptor through which, else -1.
func filter(all []rule) (int, error) {
	program := assemble(all)
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	flags := uintptr(0)
	for _, r := range all {
		if r.ret == unix.SECCOMP_RET_USER_NOTIF {
			flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		}
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, fmt.Errorf("filter system calls: %w", errno)
	}
	if flags == 0 {
		return -1, nil
	}
	return int(fd), nil
}
