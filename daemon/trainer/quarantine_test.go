package trainer

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"autoresearchd/daemon/mounttest"
)

// 41: where a trial that hangs cannot be ended, none is begun.
func TestSelfTestFails(t *testing.T) {
	mounttest.Run(t, func() string { return t.TempDir() }, func(dir string) {
		stuck := mounttest.NewStuck(t, filepath.Join(dir, "mounted"))
		defer stuck.Free()
		binary := filepath.Join(dir, "trainer")
		if err := os.WriteFile(binary, []byte("#!/bin/sh\n: <"+stuck.Path+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		p := newProcess(t, options(t))
		p.place.binary = binary
		if err := p.SelfTest(context.Background()); err == nil || !strings.Contains(err.Error(), "a hanging trial could not be killed") {
			t.Errorf("the self-test says %v", err)
		}
	})
}

// A quarantine outlives the daemon, and neither the boot nor the process that it
// is about.
func TestQuarantineIsReadAgain(t *testing.T) {
	const gib = 1 << 30
	gpu := &fakeGPU{}
	gpu.used.Store(3 * gib)
	again := func(q *Quarantine) *Quarantine {
		t.Helper()
		data, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		read, err := ReadQuarantine(data)
		if err != nil {
			t.Fatal(err)
		}
		return read
	}
	q := again(newQuarantine(2, 1*gib, []int{os.Getpid()}, "it was not given back"))
	if q.Error() != "device is quarantined: it was not given back" || q.Lifted(gpu) {
		t.Errorf("%v", q)
	}
	gpu.used.Store(1 * gib)
	if q.Lifted(gpu) {
		t.Error("lifted while its process lives")
	}
	q.Leftover[0].Begun = "1" // another's number now
	if !q.Lifted(gpu) {
		t.Error("another process with that number holds it up")
	}
	q.Boot = "another"
	if q := again(q); q != nil {
		t.Errorf("after a boot: %v", q)
	}
	if _, err := ReadQuarantine([]byte("{")); err == nil {
		t.Error("a torn one is read")
	}
}
