package trespass

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/sandbox"
)

// Told is what a daemon of a test's is told, which is another process of its
// binary.
type Told struct {
	Sandbox string // mode of it
	Without sandbox.Leave
	Root    string // a folder of its user's
	UID     int    // to become; 0: it stays who it is
	Other   int    // a process of another user
}

// Python is the interpreter of a venv that its user may read.
func (d *Told) Python() string { return filepath.Join(d.Root, "venv/bin/python") }

const variable = "AUTORESEARCH_TRESPASS_TEST"

// Daemon returns what this process was told, if it is such a daemon. One that is
// to be a plain user starts itself again as that, and ends with it.
func Daemon() *Told {
	text := os.Getenv(variable)
	if text == "" {
		return nil
	}
	var d Told
	err := json.Unmarshal([]byte(text), &d)
	if err == nil && d.UID > 0 && os.Getuid() == 0 {
		if err = d.becomeUser(text); err == nil {
			os.Exit(0)
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return &d
}

// becomeUser makes the interpreter readable to everybody, in a mount namespace
// of this process's, and starts this binary again as a plain user.
func (d *Told) becomeUser(text string) error {
	prefix, err := filepath.EvalSymlinks(os.Getenv("AUTORESEARCH_PYTHON"))
	if err != nil {
		return err
	}
	for at, rest := "/", strings.Split(strings.Trim(filepath.Dir(filepath.Dir(prefix)), "/"), "/"); len(rest) > 0; rest = rest[1:] {
		at = filepath.Join(at, rest[0])
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 != 0 || len(rest) == 1 {
			continue
		}
		inner := filepath.Join(at, rest[1])
		fd, err := unix.OpenTree(unix.AT_FDCWD, inner, unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)
		if err == nil {
			err = errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("x", at, "tmpfs", 0, "mode=755"), os.Mkdir(inner, 0o755))
		}
		if err == nil {
			err = unix.MoveMount(fd, "", unix.AT_FDCWD, inner, unix.MOVE_MOUNT_F_EMPTY_PATH)
		}
		if err != nil {
			return err
		}
	}
	cmd := exec.Command(filepath.Join(d.Root, "daemon"), os.Args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.Root, os.Stdout, os.Stdout
	cmd.Env = append(os.Environ(), variable+"="+text)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(d.UID), Gid: uint32(d.UID)}}
	return cmd.Run()
}

// Each starts this test's binary as a daemon, once as each user and with each
// part of the sandbox that a machine may lack, and check looks at what it
// printed. The same without a sandbox shows that each attempt succeeds where
// nothing forbids it. files, if any, are copied into the folder "beside" of its
// root.
func Each(t *testing.T, files string, args []string, check func(t *testing.T, out string, confined bool)) {
	const plain = 61000
	modes := []struct {
		name string
		d    Told
		root bool // it can be shown by root alone
	}{
		{"root, a user of its own", Told{}, true},
		{"root without namespaces", Told{Without: sandbox.Leave{Spaces: true}}, true},
		{"a plain user with user namespaces", Told{UID: plain}, false},
		{"a plain user without", Told{UID: plain, Without: sandbox.Leave{Spaces: true}}, false},
	}
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	for _, m := range modes {
		if os.Getuid() != 0 {
			if m.root {
				t.Logf("not shown here, for it takes root: %s", m.name)
				continue
			}
			m.d.UID = 0
		}
		for _, mode := range []string{sandbox.Off, sandbox.Require} {
			t.Run(m.name+", "+mode, func(t *testing.T) {
				d := m.d
				d.Sandbox, d.Other, d.Root = mode, other.Process.Pid, sharedFolder(t)
				d.prepare(t, files)
				told, err := json.Marshal(d)
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(filepath.Join(d.Root, "daemon"), args...)
				cmd.Env, cmd.Dir = append(os.Environ(), variable+"="+string(told)), d.Root
				if d.UID > 0 {
					cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
				}
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				check(t, string(out), mode == sandbox.Require)
			})
		}
	}
}

// sharedFolder is one that every user may enter.
func sharedFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "trespass")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (d *Told) prepare(t *testing.T, files string) {
	t.Helper()
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(d.Root, "daemon"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err == nil && files != "" {
		err = os.CopyFS(filepath.Join(d.Root, "beside"), os.DirFS(files))
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command(os.Getenv("AUTORESEARCH_PYTHON"), "-m", "venv", "--without-pip", filepath.Join(d.Root, "venv")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d.UID > 0 {
		err = filepath.WalkDir(d.Root, func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, d.UID, d.UID))
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}
