package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// killed starts a study and kills it at a point.
func killed(t *testing.T, point string) *witness {
	t.Helper()
	w := newWitness(t, measured)
	if out, err := startChild(w.dir, measured, point); !bySIGKILL(err) {
		t.Fatalf("the daemon was to be killed at %s: %v\n%s", point, err, out)
	}
	w.look(t)
	return w
}

// goesOn starts the study again and lets it end.
func (w *witness) goesOn(t *testing.T) string {
	t.Helper()
	out, err := startChild(w.dir, measured, "")
	if err != nil {
		t.Fatalf("the next start: %v\n%s", err, out)
	}
	w.testify(t)
	return string(out)
}

// TestStaleLock leaves the lock of a git that was killed on the study's branch
// (fault 49), and one on the index, which nobody here needs.
func TestStaleLock(t *testing.T) {
	w := killed(t, "lineage.champion.before#2")
	lock := filepath.Join(w.dir, "workspace/.git/refs/heads/autoresearch", tag+".lock")
	index := filepath.Join(w.dir, "workspace/.git/index.lock")
	for _, path := range []string{lock, index} {
		must(t, os.WriteFile(path, nil, 0o644))
		hour := time.Now().Add(-time.Hour)
		must(t, os.Chtimes(path, hour, hour))
	}
	w.goesOn(t)
	if _, err := os.Lstat(lock); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale lock is still there: %v", err)
	}
	if _, err := os.Lstat(index); err != nil {
		t.Errorf("the lock on the index is not ours to remove: %v", err)
	}
}

// TestTornRow tears the last row of results.tsv as power loss may (fault 45).
func TestTornRow(t *testing.T) {
	for _, size := range []int64{0, 10, 60, 80} {
		w := killed(t, "lineage.results.after")
		path := filepath.Join(w.dir, "state/results.tsv")
		must(t, os.Truncate(path, size))
		w.goesOn(t)
		if kept, err := filepath.Glob(path + ".orig-*"); err != nil || len(kept) > 0 {
			t.Errorf("torn at %d: a torn file is not worth keeping: %v %v", size, kept, err)
		}
	}
}

// TestOrphansAreEnded starts again beside a process of the interrupted trial
// (fault 36), and beside one of another daemon's trial, which lives.
func TestOrphansAreEnded(t *testing.T) {
	w := killed(t, "journal.end.before")
	start := func(state string) (*exec.Cmd, chan error) {
		cmd := exec.Command("sleep", "600")
		cmd.Env = append(os.Environ(), trainer.Marker(study.Owner(filepath.Join(w.dir, state)), 1))
		must(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, ended
	}
	_, ours := start("state")
	theirs, theirEnd := start("state/other")
	w.goesOn(t)
	select {
	case err := <-ours:
		if !bySIGKILL(err) {
			t.Errorf("the orphan ended by itself: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the orphan lives")
	}
	select {
	case err := <-theirEnd:
		t.Errorf("another daemon's process %d was ended: %v", theirs.Process.Pid, err)
	default:
	}
}

// TestSecondInstance starts a daemon on a state directory that another holds
// (fault 40).
func TestSecondInstance(t *testing.T) {
	w := newWitness(t, measured)
	state := filepath.Join(w.dir, "state")
	j, err := journal.Open(state)
	must(t, err)
	out, err := startChild(w.dir, measured, "")
	if want := fmt.Sprintf("another autoresearchd holds it (pid %d)", os.Getpid()); err == nil || !strings.Contains(string(out), want) {
		t.Errorf("the second daemon: %v %q, want %q", err, out, want)
	}
	must(t, j.Close())
	w.goesOn(t)
}

// TestKillAnywhere kills the daemon and leaves its git commands behind, at
// moments that nobody chose. AUTORESEARCH_SOAK is the number of kills.
func TestKillAnywhere(t *testing.T) {
	kills, err := strconv.Atoi(os.Getenv("AUTORESEARCH_SOAK"))
	if err != nil {
		kills = 20
	}
	random := rand.New(rand.NewPCG(1, 2))
	for study := 0; kills > 0; study++ {
		w := newWitness(t, measured)
		for range 4 {
			cmd := childCommand(w.dir, measured, "")
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			cmd.WaitDelay = time.Minute // git may be left behind with its output
			must(t, cmd.Start())
			timer := time.AfterFunc(time.Duration(random.IntN(250))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			timer.Stop()
			if err == nil {
				break
			}
			if !bySIGKILL(err) {
				t.Fatalf("study %d: the daemon ended by itself: %v\n%s", study, err, &said)
			}
			kills--
			w.kills = append(w.kills, "")
			w.look(t)
		}
		w.goesOn(t)
		must(t, os.RemoveAll(w.dir))
	}
}

// TestFullDiskOfGit takes git's words for what is wrong with the disk as what they
// mean.
func TestFullDiskOfGit(t *testing.T) {
	for text, want := range map[string]bool{
		"run git hash-object: error: unable to write file .git/objects/1a: No space left on device": true,
		"run git update-ref: fatal: Disk quota exceeded":                                            true,
		"run git update-ref: fatal: not a git repository":                                           false,
	} {
		if got := errors.Is(study.Disk(errors.New(text)), journal.ErrDiskFull); got != want {
			t.Errorf("%q: a full disk is %v", text, got)
		}
	}
	if err := study.Disk(fmt.Errorf("write x: %w", syscall.EDQUOT)); !errors.Is(err, journal.ErrDiskFull) {
		t.Errorf("%v is not taken for a full disk", err)
	}
	if err := study.Disk(errors.New("run git hash-object: fatal: fsync error on '.git/objects/1a/tmp': Input/output error")); !errors.Is(err, journal.ErrIO) {
		t.Errorf("%v is not taken for an error of the disk", err)
	}
	if err := study.Disk(nil); err != nil {
		t.Error(err)
	}
}

// TestPast reads a study that no daemon runs.
func TestPast(t *testing.T) {
	w := killed(t, "journal.end.before#2")
	r, err := journal.OpenReader(filepath.Join(w.dir, "state"))
	must(t, err)
	defer r.Close()
	now, err := Past(r)
	must(t, err)
	if now.State != "interrupted" || now.Champion == nil || now.Champion.ID != 1 || now.Trials != (TrialCounts{Total: 1, Keep: 1}) ||
		now.Seats == nil || len(now.Seats) > 0 || now.Study.Baseline != yield([]byte(trainPy)).ValBPB || now.Study.Tag != tag {
		t.Errorf("%+v, champion %+v", now, now.Champion)
	}
	records, err := r.Trials()
	if err != nil || len(records) != 2 || records[1].Stage != search.StageBegun {
		t.Errorf("%+v %v", records, err)
	}
}
