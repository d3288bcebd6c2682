package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"autoresearchd/search"

	"golang.org/x/sys/unix"
)

// TestMain also runs the children: the test binary re-executed, so that they
// can be killed or meet a broken disk.
func TestMain(m *testing.M) {
	role, dir := os.Getenv("JOURNAL_TEST_ROLE"), os.Getenv("JOURNAL_TEST_DIR")
	if role == "" {
		os.Exit(m.Run())
	}
	roles := map[string]func(string) error{"study": childStudy, "hold": childHold, "full": childFull, "readonly": childReadOnly, "fsync": childFsync}
	if err := roles[role](dir); err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(role, dir string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, "JOURNAL_TEST_ROLE="+role, "JOURNAL_TEST_DIR="+dir)...)
	return cmd
}

// provoke runs a child that meets a real error from the system: on a file system
// that it mounts in a namespace of its own, and, everywhere, behind a system
// call filter. It returns the output of both, the first only where mounting is
// allowed.
func provoke(t *testing.T, role string, dirs ...string) []string {
	t.Helper()
	var outputs []string
	for i, flags := range []uintptr{syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, 0} {
		cmd := child(role, dirs[i])
		if flags == 0 {
			cmd.Env = append(cmd.Env, "JOURNAL_TEST_FILTER=1")
		} else {
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  flags,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
		}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if flags != 0 && err != nil && (!errors.As(err, &exit) || bytes.Contains(out, []byte("FAIL mount:"))) {
			t.Logf("mounting is not allowed here, the filter alone is tried: %v %s", err, out)
			outputs = append(outputs, "")
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", role, err, out)
		}
		outputs = append(outputs, strings.TrimSpace(string(out)))
	}
	return outputs
}

func filtered() bool { return os.Getenv("JOURNAL_TEST_FILTER") != "" }

// deny makes system calls fail with errno in every thread from now on; opening
// ones only where they would write.
func deny(errno unix.Errno, calls ...uint32) error {
	const load, jumpEqual, jumpSet, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	prog := []unix.SockFilter{{Code: load, K: 0}}
	for _, call := range calls {
		flags := map[uint32]uint32{unix.SYS_OPENAT: 16 + 8*2, openCall: 16 + 8*1}[call]
		if flags == 0 {
			prog = append(prog, unix.SockFilter{Code: jumpEqual, K: call, Jf: 1}, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(errno)})
			continue
		}
		prog = append(prog,
			unix.SockFilter{Code: jumpEqual, K: call, Jf: 4},
			unix.SockFilter{Code: load, K: flags},
			unix.SockFilter{Code: jumpSet, K: unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT, Jf: 1},
			unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
			unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
	}
	prog = append(prog, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog))); e != 0 {
		return e
	}
	return nil
}

// openCall is open(2) where it exists (amd64); elsewhere no call has this number.
var openCall = map[bool]uint32{true: 2, false: 0xffff}[runtime.GOARCH == "amd64"]

var epoch = time.Date(2026, 11, 23, 9, 0, 0, 123456789, time.UTC)

func testStudy() Study {
	return Study{
		Tag: "nov23", Workspace: "/w", BaseCommit: strings.Repeat("a", 40), Seed: 1<<64 - 1,
		StartedAt: epoch, Budget: search.Budget{Seconds: 300}, PrepareHash: "beef",
	}
}

func testTrial(id int64) search.Trial {
	source := fmt.Appendf(nil, "LR = 0.0%d\n", id)
	return search.Trial{
		ID: id,
		Proposal: search.Proposal{
			Strategy: "random", Description: fmt.Sprintf("trial\t%d", id), Parent: id - 1,
			Values: map[string]search.Value{"LR": search.FloatValue(float64(id) / 100)},
			Source: append([]byte("# whole\n"), source...), Memo: []byte(`{"x":1}`),
		},
		Source:    source,
		Constants: []search.Constant{{Name: "LR", Value: search.FloatValue(float64(id) / 100), Text: "0.01", Line: 1, Start: 5, End: 9}},
		Changed:   []string{"LR"},
		Seed:      uint64(id) << 60, Budget: search.Budget{Seconds: 300}, Device: "cpu", StartedAt: epoch.Add(time.Duration(id) * time.Minute),
	}
}

func testOutcome(id int64) search.Outcome {
	if id == 2 {
		return search.Outcome{Status: search.Crashed, ExitCode: 1, Detail: "ValueError"}
	}
	return search.Outcome{
		Status: search.Completed, ValBPB: 1 - float64(id)/1000,
		Curve:    []search.Point{{Step: 1, Seconds: 0.5, Tokens: 1 << 40, Loss: 9.25}, {Step: 2, Seconds: 1, Tokens: 1 << 41, Loss: 5}},
		PeakVRAM: 45 << 30, Tokens: 1 << 41, Steps: 2, TrainingSeconds: 300.1, WallSeconds: 325.9,
		Phases: map[search.Phase]float64{search.Train: 300.1}, Summary: map[string]string{"depth": "8"},
	}
}

func testDecision(id int64) search.Decision {
	switch id {
	case 2:
		return search.Decision{Verdict: search.Crash, Reason: "it crashed"}
	case 3:
		return search.Decision{Verdict: search.Discard, Reason: "no gain"}
	}
	return search.Decision{Verdict: search.Keep, Reason: "a gain"}
}

func testCommit(id int64) string { return fmt.Sprintf("%040x", id) }

const testTrials = 3

// childStudy runs or resumes a study of three trials as the supervisor does,
// writing a line to stdout after each acknowledged step.
func childStudy(dir string) error {
	j, err := Open(dir)
	if err != nil {
		return err
	}
	defer j.Close()
	ack := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	if err := j.SetStudy(testStudy()); err != nil {
		return err
	}
	ack("study")
	if all, err := j.Suggestions(); err != nil {
		return err
	} else if len(all) == 0 {
		if _, err := j.Suggest(Suggestion{Kind: "text", Text: "try\n this", At: epoch}); err != nil {
			return err
		}
		ack("suggest")
	}
	if err := j.SetFlag(Paused, true); err != nil {
		return err
	}
	ack("flag")
	session, err := j.BeginSession(epoch, 2)
	if err != nil {
		return err
	}
	if err := finish(j, ack); err != nil {
		return err
	}
	for {
		id, err := j.NextID()
		if err != nil {
			return err
		}
		if id > testTrials {
			return j.EndSession(session, epoch.Add(time.Hour))
		}
		idea, _, err := j.NextSuggestion()
		if err != nil {
			return err
		}
		if err := begin(j, testTrial(id), testCommit(id-1), idea.ID); err != nil {
			return err
		}
		ack("begun %d", id)
		if err := finish(j, ack); err != nil {
			return err
		}
	}
}

func finish(j *Journal, ack func(string, ...any)) error {
	open, err := j.Unfinished()
	if err != nil {
		return err
	}
	for _, rec := range open {
		id := rec.Trial.ID
		if rec.Stage == search.StageBegun {
			if err := j.SetSeat(id, fmt.Sprintf(`{"cgroup":"trial-%d"}`, id)); err != nil {
				return err
			}
		}
		// Every step from the start again: those that are done change nothing.
		for _, step := range []struct {
			to search.Stage
			do func() error
		}{
			{search.StageEnded, func() error { return j.End(id, testOutcome(id)) }},
			{search.StageDecided, func() error { return j.Decide(id, testDecision(id)) }},
			{search.StageCommitted, func() error { return j.Commit(id, map[int64]string{id: testCommit(id)}) }},
			{search.StageRecorded, func() error { return j.Recorded(id) }},
			{search.StageDone, func() error { return j.Done(id) }},
		} {
			if err := step.do(); err != nil {
				return err
			}
			ack("%s %d", step.to, id)
		}
	}
	return nil
}

// childHold holds the lock until its standard input ends.
func command(name string, args ...string) ([]byte, error) {
	return exec.Command(name, args...).CombinedOutput()
}

func childHold(dir string) error {
	j, err := Open(dir)
	if err != nil {
		return err
	}
	defer j.Close()
	fmt.Println("held")
	_, err = os.Stdin.Read(make([]byte, 1))
	_ = err
	return nil
}

func explain(err error, kinds ...error) {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			fmt.Printf("[%v] ", kind)
		}
	}
	fmt.Println(err)
}

// childFull fills the disk under the journal, and then makes room again.
func childFull(dir string) error {
	if !filtered() {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
	}
	j, err := Open(dir)
	if err != nil {
		return err
	}
	if err := j.SetStudy(testStudy()); err != nil {
		return err
	}
	if err := begin(j, testTrial(1), testCommit(0), 0); err != nil {
		return err
	}
	if filtered() {
		if err := deny(unix.ENOSPC, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE); err != nil {
			return err
		}
	} else {
		f, err := os.Create(dir + "/filler")
		if err != nil {
			return err
		}
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		f.Close()
	}
	big := testOutcome(1)
	for i := range 4000 {
		big.Curve = append(big.Curve, search.Point{Step: i * 7919, Loss: 1 / float64(i+1), Seconds: float64(i) / 7})
	}
	explain(j.End(1, big), ErrDiskFull, ErrIO)
	rec, err := j.Trial(1)
	if err != nil {
		return err
	}
	fmt.Println("stage", rec.Stage)
	if filtered() {
		fmt.Println("stage ended")
		return nil
	}
	if err := os.Remove(dir + "/filler"); err != nil {
		return err
	}
	if err := j.End(1, big); err != nil {
		return err
	}
	rec, err = j.Trial(1)
	if err != nil {
		return err
	}
	fmt.Println("stage", rec.Stage)
	return j.Close()
}

// childReadOnly opens a state directory on a read-only file system.
func childReadOnly(dir string) error {
	j, err := Open(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(j.SetStudy(testStudy()), j.Close()); err != nil {
		return err
	}
	if filtered() {
		err = deny(unix.EROFS, unix.SYS_OPENAT, openCall, unix.SYS_MKDIRAT)
	} else {
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
		err = unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		if err != nil {
			err = fmt.Errorf("mount: %w", err)
		}
	}
	if err != nil {
		return err
	}
	_, err = Open(dir)
	explain(err, ErrReadOnly)
	_, err = Open(dir + "/new")
	explain(err, ErrReadOnly)
	r, err := OpenReader(dir)
	if err != nil {
		return err
	}
	st, found, err := r.Study()
	fmt.Println(st == testStudy(), found, err)
	return r.Close()
}

// childFsync makes fsync fail after the study has begun.
func childFsync(dir string) error {
	j, err := Open(dir)
	if err != nil {
		return err
	}
	if err := j.SetStudy(testStudy()); err != nil {
		return err
	}
	if err := deny(unix.EIO, unix.SYS_FSYNC, unix.SYS_FDATASYNC); err != nil {
		return err
	}
	explain(begin(j, testTrial(1), testCommit(0), 0), ErrIO, ErrDiskFull)
	explain(j.SetFlag(Paused, true), ErrIO)
	return nil
}
