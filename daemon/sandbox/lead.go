package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// spec is what a program is started with.
type spec struct {
	Policy  Policy   `json:"policy"`
	Path    string   `json:"path"`
	Argv    []string `json:"argv"`
	ABI     int      `json:"abi"` // of Landlock; 0: there is none
	Filter  bool     `json:"filter"`
	Spaces  bool     `json:"spaces"` // it is in namespaces of its own
	PIDs    bool     `json:"pids"`   // that of pids among them
	UID     int      `json:"uid"`    // to become; -1: it stays who it is
	IDMap   bool     `json:"idmap"`
	Watched bool     `json:"watched"`         // the leader decides some of its calls
	Words   bool     `json:"words"`           // what fails before the program is there goes to standard error
	Fault   string   `json:"fault,omitempty"` // why it cannot be started
}

// Descriptors of a leader, and of what is to become the program.
const (
	fdSpec     = 3 // to read the spec from
	fdReport   = 4 // leader: to write the program's fate to
	fdIDMap    = 5 // leader: the user namespace for idmapped mounts
	fdListener = 4 // program: to send the filter's listener through
)

// unborn is what is reported of a program that never began.
const unborn = "unborn"

// The words that tell this binary, behind the command that calls Stage, what it
// was started for.
const (
	wordLead  = "sandbox"
	wordEnter = "enter"
	wordTry   = "try"
)

// Stage does what a process of this binary was started for by [Box.Wrap] and
// returns its exit status; ok is false if it was started for something else. args
// are those behind the command's name. tell hears why a trainer could not be
// started. The caller has locked it to the process's first thread.
func Stage(args []string, tell func(error)) (status int, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	var s spec
	var err error
	switch args[0] {
	case wordLead:
		if status, err = s.lead(); err != nil {
			_, _ = unix.Write(fdReport, []byte(unborn))
		}
	case wordEnter:
		status, err = 1, s.enter() // it returns only if it could not
		_, _ = unix.Write(fdListener, []byte(unborn))
	case wordTry:
		return try(os.Stdin, os.Stdout), true
	default:
		return 0, false
	}
	switch {
	case err == nil:
	case s.Words:
		fmt.Fprintln(os.Stderr, err)
	default:
		tell(err)
	}
	return status, true
}

func (s *spec) read() (data []byte, err error) {
	f := os.NewFile(fdSpec, "spec")
	defer f.Close()
	if data, err = io.ReadAll(f); err == nil {
		err = json.Unmarshal(data, s)
	}
	if err == nil && s.Fault != "" {
		return nil, errors.New(s.Fault)
	}
	if err != nil {
		return nil, fmt.Errorf("read what to confine: %w", err)
	}
	return data, nil
}

// lead makes the program's surroundings, starts it, and ends with it. In a pid
// namespace it is the first process, and all others go with it.
func (s *spec) lead() (int, error) {
	data, err := s.read()
	if err != nil {
		return 1, err
	}
	unix.CloseOnExec(fdReport)
	idmap := -1
	if s.IDMap {
		unix.CloseOnExec(fdIDMap)
		idmap = fdIDMap
	}
	// Caught, not ignored: what is ignored stays so in what is started.
	signal.Notify(make(chan os.Signal, 16), unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("900"), 0) // the kernel shall take it before the daemon
	dir, err := os.Getwd()
	if err != nil {
		return 1, fmt.Errorf("find the working directory: %w", err)
	}
	if s.Spaces {
		if err := makeRoot(s.Policy, s.PIDs, idmap); err != nil {
			return 1, err
		}
		if err := os.Chdir(dir); err != nil {
			return 1, fmt.Errorf("go back into the working directory: %w", err)
		}
	}
	if !s.PIDs {
		// Orphans stay below it, where it may look into them.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return 1, fmt.Errorf("become a subreaper: %w", err)
		}
	}
	pid, watch, err := start(data)
	if err != nil {
		return 1, err
	}
	if s.Watched {
		listener, err := receive(watch)
		if err != nil {
			_ = unix.Kill(pid, unix.SIGKILL)
			return 1, fmt.Errorf("watch system calls: %w", err)
		}
		go newWatcher(s.Policy).watch(listener)
	}
	// Streams end when the program does, not with its leader.
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			_ = unix.Dup2(int(null.Fd()), fd)
		}
	}
	for {
		var status unix.WaitStatus
		child, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 1, fmt.Errorf("wait for the program: %w", err)
		case child != pid:
		case status.Signaled():
			_, err := unix.Write(fdReport, []byte(strconv.Itoa(int(status.Signal()))))
			return 128 + int(status.Signal()), err
		default:
			if n, _, _ := unix.Recvfrom(watch, make([]byte, len(unborn)), unix.MSG_DONTWAIT); n > 0 {
				_, err = unix.Write(fdReport, []byte(unborn))
			}
			return status.ExitStatus(), err
		}
	}
}

// start starts the process that will become the program, on this thread, whose
// end it does not survive. watch is where the program's listener comes from.
func start(data []byte) (pid, watch int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, -1, err
	}
	defer r.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.Close()
		return 0, -1, err
	}
	defer unix.Close(pair[1])
	pid, err = syscall.ForkExec("/proc/self/exe", []string{os.Args[0], os.Args[1], wordEnter}, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2, r.Fd(), uintptr(pair[1])}, Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		w.Close()
		unix.Close(pair[0])
		return 0, -1, fmt.Errorf("start the program: %w", err)
	}
	go func() { // more than a pipe may hold
		_, _ = w.Write(data)
		w.Close()
	}()
	return pid, pair[0], nil
}

// receive takes a descriptor that came through a socket.
func receive(socket int) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) == 0 {
		return -1, errors.Join(errors.New("the program sent no listener"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1, errors.Join(errors.New("the program sent no listener"), err)
	}
	return fds[0], nil
}
