package sandbox

import (
	"os"
	"runtime"
	"testing"
)

func init() {
	if len(os.Args) > 1 && os.Args[1] == "trainer" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "trainer" {
		if status, ok := Stage(os.Args[2:], func(err error) { os.Stderr.WriteString(err.Error() + "\n") }); ok {
			os.Exit(status)
		}
	}
	os.Exit(m.Run())
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, leave := range []Leave{{}, {PIDs: true}, {UID: true}, {Spaces: true}} {
		b, err := Find(Wish{Mode: Require, Owner: "x", Command: "trainer", Like: Policy{Read: Mapped(), Write: []string{dir}}, Without: leave})
		if err != nil {
			t.Error(err)
			continue
		}
		t.Log(b.Summary())
		b.Close()
	}
}
