package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestWallClockJumps moves the wall clock of the daemon and of its trials, and no
// other clock, by an hour while a trial trains: forth, which ends none that has ten
// minutes, and back, which spares none that hangs.
func TestWallClockJumps(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the stand-in for the vDSO is written for amd64")
	}
	t.Parallel()
	s := newStudy(t)
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	for name, flags := range map[string][]string{"preload": nil, "vdso": {"-nostdlib", "-Wl,-z,noseparate-code", "-Wl,--hash-style=both", "-Wl,--version-script=testdata/clock/vdso.map"}} {
		args := append([]string{"-O2", "-shared", "-fPIC", "-o", s.path(name + ".so"), "testdata/clock/" + name + ".c"}, flags...)
		if out, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	s.write("offset", strings.Repeat("\x00", 4096))
	offset, err := os.OpenFile(s.path("offset"), os.O_WRONLY, 0)
	must(t, err)
	defer offset.Close()
	jump := func(d time.Duration) {
		_, err := offset.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(int64(d.Seconds()))), 0)
		must(t, err)
	}
	s.write("workspace/train.py", strings.Replace(script, "print()\n", "print()\nif DEPTH == 9: time.sleep(1e9)\n", 1))
	s.commit()
	start := func(stall, trials string) *daemon {
		s.configure("\n[search]\nstrategy = \"evolution\"\n[watchdog]\nstall = \"" + stall + "\"\n[http]\nlisten = \"\"\n")
		cmd := s.command("run", "--trials", trials)
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+s.path("preload.so"), "WALL_OFFSET="+s.path("offset"), "WALL_VDSO="+s.path("vdso.so"))
		return s.startWith(cmd)
	}
	// late is by how much a line's time is ahead of ours.
	late := func(line string) time.Duration {
		t.Helper()
		at, err := time.Parse(time.RFC3339, regexp.MustCompile(`time=(\S+)`).FindStringSubmatch(line)[1])
		must(t, err)
		return time.Until(at).Round(time.Hour)
	}

	s.hold()
	d := start("10m", "1")
	s.training(1)
	jump(time.Hour)
	time.Sleep(2 * time.Second) // of the daemon's looks at it, one a second
	s.open()
	if line := d.until(`trial ends" trial=1 `); !strings.Contains(line, "status=completed") || late(line) != time.Hour {
		t.Errorf("an hour later: %s", line)
	}
	d.end()

	s.hold()
	d = start("15s", "2") // long enough for what is done while trial 2 stands still
	s.training(2)
	s.ok("suggest", "--set", "DEPTH=9")
	s.open()
	s.hold() // trial 3 stands there, and no step follows
	s.training(3)
	jump(-time.Hour)
	d.until("the watchdog killed the trial")
	if line := d.until(`trial ends" trial=3 `); !strings.Contains(line, `status="timed out"`) || late(line) != -time.Hour {
		t.Errorf("an hour earlier: %s", line)
	}
	d.end()
	row := s.trials()[2]
	if trained := row.Phases["train"]; trained < 12 || trained > 600 {
		t.Errorf("it trained for %g s", trained)
	}
	t.Logf("shown: of two trials one was ended in the phase after %.1f s, its deadline is 15 s", row.Phases["train"])
}
