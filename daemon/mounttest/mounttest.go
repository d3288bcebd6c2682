// Package mounttest lets a test mount file systems that nobody else sees.
package mounttest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	variable = "AUTORESEARCH_MOUNTTEST" // the folder, in the process that may mount
	refused  = "it may not mount"
)

// shown is what scripts/faults puts into its page.
var shown = regexp.MustCompile(`(?m)_test\.go:\d+: (shown: .*)$`)

// Run runs inside in another process of this test, which is root in a user and
// mount namespace of its own, with the folder that prepare has made. Where the
// machine does not allow that, it only says so.
func Run(t *testing.T, prepare func() string, inside func(dir string)) {
	t.Helper()
	if dir := os.Getenv(variable); dir != "" {
		inside(dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+prepare())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && (!errors.As(err, &exit) || bytes.Contains(out, []byte(refused))):
		t.Logf("mounting is not allowed here: %v\n%s", err, out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	default:
		for _, m := range shown.FindAllSubmatch(out, -1) {
			t.Logf("%s", m[1])
		}
	}
}

// ReadOnly takes from a folder that anybody can write there, root included.
func ReadOnly(t *testing.T, dir string) {
	t.Helper()
	must(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	must(t, unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
}

// Small mounts an empty file system of so much ("4m") on a folder; end takes it
// away.
func Small(t *testing.T, dir, size string) (end func()) {
	t.Helper()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	return func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", refused, err)
	}
}
