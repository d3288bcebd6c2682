package faultpoint

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

var here = New("test.here")

func TestMain(m *testing.M) {
	if os.Getenv("FAULTPOINT_TEST_CHILD") != "" {
		for range 3 {
			os.Stdout.WriteString("pass\n")
			here.Hit()
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestHit(t *testing.T) {
	for _, c := range []struct {
		armed  string
		passes int
		killed bool
	}{
		{"", 3, false},
		{"test.other", 3, false},
		{"test.here", 1, true},
		{"test.here#3", 3, true},
		{"test.here#4", 3, false},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FAULTPOINT_TEST_CHILD=1", Variable+"="+c.armed)
		out, err := cmd.Output()
		if n := strings.Count(string(out), "pass"); n != c.passes {
			t.Errorf("%q: passed the point %d times, want %d", c.armed, n, c.passes)
		}
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if killed != c.killed {
			t.Errorf("%q: killed = %v, want %v (%v)", c.armed, killed, c.killed, err)
		}
	}
}

func TestNames(t *testing.T) {
	if got := strings.Join(Names("test."), " "); got != "test.here" {
		t.Errorf("Names = %q", got)
	}
	if Names("nothing.") != nil {
		t.Error("a prefix that fits nothing must give nothing")
	}
}
