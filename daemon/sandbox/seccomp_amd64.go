package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch  = unix.AUDIT_ARCH_X86_64
	firstOther = 0x40000000 // calls of the x32 table
)

var (
	forbiddenHere = map[unix.Errno][]uintptr{unix.EPERM: {unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT}}
	ownershipHere = []uintptr{unix.SYS_CHOWN, unix.SYS_LCHOWN}
	// watchedCalls are those that the leader decides, with where their arguments are.
	watchedCalls = map[uintptr]watchedCall{
		unix.SYS_CONNECT: connects, unix.SYS_CHMOD: {folder: -1, path: 0, mode: 1}, unix.SYS_FCHMODAT: {folder: 0, path: 1, mode: 2},
	}
)
