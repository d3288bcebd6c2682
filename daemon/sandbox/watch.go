package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Without a root of its own a program sees the sockets of others in the file
// system, and Landlock says neither who may connect to one nor who may change a
// file's mode. So the kernel stops a program that tries and asks its leader,
// which takes path and socket as they are at that moment, looks where the path
// leads, and makes the call in the program's stead: what a second thread of the
// program changes meanwhile changes nothing.

// watchedCall says where a call's arguments are.
type watchedCall struct {
	folder int // argument that is the folder which a path is relative to; -1: the working directory
	path   int
	mode   int
}

// connects is connect(socket, address, length).
var connects = watchedCall{mode: -1}

// The kernel's struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	data  struct {
		number int32
		arch   uint32
		at     uint64
		args   [6]uint64
	}
}

type response struct {
	id    uint64
	value int64
	error int32
	flags uint32
}

type watcher struct {
	listener int
	within   []string // folders in which sockets and modes are the program's own
	network  bool
}

func newWatcher(p Policy) *watcher {
	w := &watcher{network: p.Network}
	for _, path := range p.Write {
		w.within = append(w.within, real(path))
	}
	return w
}

// watch answers until the program is gone.
func (w *watcher) watch(listener int) {
	w.listener = listener
	for {
		var n notification
		switch errno := control(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); errno {
		case 0:
			go w.answer(n) // it may wait for whoever accepts
		case unix.EINTR, unix.ENOENT: // the caller is gone
		default:
			return
		}
	}
}

func control(fd int, request uintptr, data unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(data))
	return errno
}

func (w *watcher) answer(n notification) {
	r := response{id: n.id}
	var err error
	if call := watchedCalls[uintptr(n.data.number)]; call.mode < 0 {
		err = w.connect(n)
	} else {
		err = w.chmod(n, call)
	}
	if err != nil {
		errno := unix.EPERM
		_ = errors.As(err, &errno)
		r.error = -int32(errno)
	}
	_ = control(w.listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
}

// stands reports whether the call still waits, so that what was looked at by
// the caller's number was the caller's.
func (w *watcher) stands(n notification) bool {
	return control(w.listener, notifyIDValid, unsafe.Pointer(&n.id)) == 0
}

// notifyIDValid is SECCOMP_IOCTL_NOTIF_ID_VALID, which x/sys lacks.
const notifyIDValid = 0x40082102

// connect makes a connection to a socket below one of the program's folders, or
// to an address where those are allowed.
func (w *watcher) connect(n notification) error {
	length := n.data.args[2]
	if length < 2 || length > unix.SizeofSockaddrAny {
		return unix.EINVAL
	}
	address, err := memory(n.pid, n.data.args[1], int(length))
	if err != nil {
		return err
	}
	process, err := unix.PidfdOpen(int(n.pid), unix.PIDFD_THREAD)
	if err != nil {
		// A kernel before 6.9 has handles for leaders of threads only.
		if process, err = unix.PidfdOpen(leaderOf(n.pid), 0); err != nil {
			return err
		}
	}
	defer unix.Close(process)
	socket, err := unix.PidfdGetfd(process, int(int32(n.data.args[0])), 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	family := int(binary.NativeEndian.Uint16(address))
	if domain, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
		return err
	} else if domain != unix.AF_UNIX {
		if !w.network || !w.stands(n) {
			return unix.EPERM
		}
		return connectTo(socket, address)
	}
	if family != unix.AF_UNIX {
		return unix.EINVAL
	}
	name, _, _ := strings.Cut(string(address[2:]), "\x00")
	if name == "" {
		return unix.EPERM // an abstract one, or none
	}
	target, err := w.find(n, unix.AT_FDCWD, name)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	to := append(binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX), fmt.Sprintf("/proc/self/fd/%d\x00", target)...)
	return connectTo(socket, to)
}

func connectTo(socket int, address []byte) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(socket), uintptr(unsafe.Pointer(&address[0])), uintptr(len(address)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

func (w *watcher) chmod(n notification, call watchedCall) error {
	folder := unix.AT_FDCWD
	if call.folder >= 0 {
		folder = int(int32(n.data.args[call.folder]))
	}
	const longest = 4096
	text, err := memory(n.pid, n.data.args[call.path], longest)
	if err != nil {
		return err
	}
	name, _, ended := strings.Cut(string(text), "\x00")
	if !ended {
		return unix.ENAMETOOLONG
	}
	target, err := w.find(n, folder, name)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	mode := uint32(n.data.args[call.mode]) & 0o777
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", target), mode)
}

// find opens what a path of the program's leads to, if that lies in one of its
// folders. The descriptor stays what it is, whatever becomes of the path.
func (w *watcher) find(n notification, folder int, name string) (int, error) {
	from := "cwd"
	if folder != unix.AT_FDCWD {
		from = fmt.Sprintf("fd/%d", folder)
	}
	if !filepath.IsAbs(name) {
		name = fmt.Sprintf("/proc/%d/%s/%s", n.pid, from, name)
	}
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err == nil && w.stands(n) {
		for _, dir := range w.within {
			if strings.HasPrefix(at, dir+"/") {
				return fd, nil
			}
		}
	}
	unix.Close(fd)
	return -1, unix.EPERM
}

// memory reads at most so many bytes of a process, and fewer where they end.
func memory(pid uint32, at uint64, length int) ([]byte, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, length)
	n, err := f.ReadAt(data, int64(at))
	if n == 0 && err != nil {
		var fault *fs.PathError
		if errors.As(err, &fault) {
			return nil, unix.EFAULT
		}
		return nil, err
	}
	return data[:n], nil
}

// leaderOf returns the process of a thread.
func leaderOf(tid uint32) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return int(tid)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "Tgid:"); ok {
			pid := int(tid)
			_, _ = fmt.Sscan(value, &pid)
			return pid
		}
	}
	return int(tid)
}
