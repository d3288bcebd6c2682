package journal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"autoresearchd/daemon/faultpoint"
	"autoresearchd/search"
)

// TestKillEverywhere kills the writer at every point (fault 43), looks at what
// is left, lets a second process go on, and compares with a study that was
// never killed.
func TestKillEverywhere(t *testing.T) {
	once := []string{"migrate", "study", "suggest", "flag"}
	for _, point := range faultpoint.Names("journal.") {
		arms := []string{point, point + "#2"}
		for _, name := range once {
			if strings.HasPrefix(point, "journal."+name+".") {
				arms = arms[:1]
			}
		}
		for _, armed := range arms {
			t.Run(armed, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "state")
				out, err := child("study", dir, faultpoint.Variable+"="+armed).Output()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("the child was to be killed: %v\n%s", err, out)
				}
				checkAcknowledged(t, dir, string(out))
				if out, err := child("study", dir).CombinedOutput(); err != nil {
					t.Fatalf("second start: %v\n%s", err, out)
				}
				checkWhole(t, dir)
			})
		}
	}
}

// checkAcknowledged proves that each acknowledged step survived, and that at
// most the one step after the last acknowledged one did.
func checkAcknowledged(t *testing.T, dir, out string) {
	t.Helper()
	lines := strings.Fields(strings.ReplaceAll(out, " ", "-"))
	r, err := OpenReader(dir)
	if errors.Is(err, ErrNoStudy) && len(lines) == 0 {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	records, err := r.Trials()
	if err != nil {
		t.Fatal(err)
	}
	stages := map[int64]search.Stage{}
	for i, rec := range records {
		if rec.Trial.ID != int64(i+1) {
			t.Fatalf("ids are not 1, 2, …: %d at %d", rec.Trial.ID, i)
		}
		stages[rec.Trial.ID] = rec.Stage
	}
	acked := map[int64]search.Stage{}
	for _, line := range lines {
		stage, number, isTrial := strings.Cut(line, "-")
		if isTrial {
			var id int64
			fmt.Sscan(number, &id)
			acked[id] = search.Stage(stage)
		}
	}
	extra := 0
	for id := int64(1); id <= testTrials; id++ {
		have, want := stages[id], acked[id]
		switch {
		case have == want:
		case want.CanBecome(have):
			extra++
		default:
			t.Errorf("trial %d is %q, acknowledged was %q", id, have, want)
		}
	}
	if extra > 1 {
		t.Errorf("%d trials are further than acknowledged", extra)
	}
	if st, found, err := r.Study(); err != nil || strings.Contains(out, "study") && (!found || st != testStudy()) {
		t.Errorf("study: %v %v %v", st, found, err)
	}
	if set, err := r.Flag(Paused); err != nil || strings.Contains(out, "flag") && !set {
		t.Errorf("flag: %v %v", set, err)
	}
	all, err := r.Suggestions()
	if err != nil || len(all) > 1 || strings.Contains(out, "suggest") && len(all) != 1 {
		t.Errorf("suggestions: %v %v", all, err)
	}
	if len(records) > 0 && all[0].Trial != 1 {
		t.Errorf("trial 1 has begun, and its suggestion is with trial %d", all[0].Trial)
	}
}

func checkWhole(t *testing.T, dir string) {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := int64(0)
	err = r.Replay(func(rec Record) error {
		n++
		return sameRecord(rec, n)
	})
	if err != nil || n != testTrials {
		t.Errorf("%d trials: %v", n, err)
	}
	champion, found, err := r.Champion()
	if err != nil || !found || champion.Trial.ID != 1 {
		t.Errorf("champion: %v %v %v", champion.Trial.ID, found, err)
	}
	all, err := r.Suggestions()
	if err != nil || len(all) != 1 || all[0].Trial != 1 || all[0].Text != "try\n this" {
		t.Errorf("suggestions: %+v %v", all, err)
	}
	sessions, err := r.Sessions()
	if err != nil || len(sessions) == 0 {
		t.Fatalf("sessions: %v %v", sessions, err)
	}
	for i, x := range sessions {
		// That of the child which was killed may have been ended, at the end.
		ended := x.Ended.Equal(epoch.Add(time.Hour))
		if !x.Begun.Equal(epoch) || x.Seats != 2 || !ended && !x.Ended.IsZero() || i == len(sessions)-1 && !ended {
			t.Errorf("session %d: %v", i+1, x)
		}
	}
}

func TestKilledWriterLeavesNoLock(t *testing.T) {
	dir := t.TempDir()
	cmd := child("hold", dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir)
	want := fmt.Sprintf("open state directory %s: another autoresearchd holds it (pid %d): stop it first (`autoresearchd stop`, or `systemctl stop autoresearchd`), or give this one its own [study] state", dir, cmd.Process.Pid)
	if !errors.Is(err, ErrLocked) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "lock")); err != nil || string(data) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("lock file: %q %v", data, err)
	}
}
