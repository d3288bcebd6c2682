package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"autoresearchd/daemon/mounttest"
	"autoresearchd/daemon/powerloss"
)

// records says of a path whether the study writes it, and not this test.
func records(path string) bool {
	return (strings.HasPrefix(path, "state/") || strings.HasPrefix(path, "workspace/.git")) &&
		!strings.HasSuffix(path, "/ran") && !strings.HasSuffix(path, "/asked") && !strings.HasSuffix(path, "/lock")
}

// overDisk runs the study once over a disk that fails, and twice over a sound one,
// if need be: it has all trials in the end, each once and rightly labelled. It
// returns how the first run ended, and what it said.
func overDisk(t *testing.T, f powerloss.Fault) (code int, said string, met int) {
	t.Helper()
	w := newWitness(t, measured)
	live := w.dir + ".live"
	must(t, os.Rename(w.dir, live))
	must(t, os.Mkdir(w.dir, 0o755))
	disk := powerloss.Mount(t, live, w.dir)
	disk.Break(f)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := childCommand(w.dir, measured, "")
	child := exec.CommandContext(ctx, cmd.Path)
	child.Env = append(cmd.Env, mendVariable+"=1")
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil || bySIGKILL(err) {
		t.Errorf("it neither ended nor went on: %v\n%s", err, out)
	}
	met = disk.Mend()
	must(t, disk.Off())
	must(t, os.Remove(w.dir))
	must(t, os.Rename(live, w.dir))
	w.kills = append(w.kills, "") // what failed may have been what was answered
	w.look(t)
	if err != nil {
		w.goesOn(t)
	} else {
		w.testify(t)
	}
	return child.ProcessState.ExitCode(), string(out), met
}

// TestDiskErrors has each kind of durable write of a study meet an error of the
// disk, one that is full and one that became read-only. After the first nothing is
// assumed: the daemon stops, says why, and a start finds the record whole. A full
// disk is waited for.
func TestDiskErrors(t *testing.T) {
	mounttest.Run(t, func() string { return scratch(t) }, func(string) {
		in := func(parts ...string) func(kind, path string) bool {
			return func(kind, path string) bool {
				for _, part := range parts[1:] {
					if !strings.Contains(path, part) {
						return false
					}
				}
				return kind == parts[0] && records(path)
			}
		}
		var broken, waited, stopped atomic.Int64
		t.Cleanup(func() {
			t.Logf("shown: a disk that broke at %d places of a study: %d times it waited and went on by itself, %d times it stopped", broken.Load(), waited.Load(), stopped.Load())
		})
		count := func(code int, said string, met int) {
			if met > 0 {
				broken.Add(1)
			}
			if strings.Contains(said, "it waited: ") {
				waited.Add(1)
			}
			stopped.Add(int64(code))
		}
		for name, at := range map[string]func(kind, path string) bool{
			"journal, written":       in("write", "journal.db-wal"),
			"journal, synced":        in("fsync", "journal.db-wal"),
			"git's objects, written": in("write", ".git/objects"),
			"git's objects, synced":  in("fsync", ".git/objects"),
			"git's objects, named":   in("folder", ".git/objects"),
			"refs, written":          in("write", ".git/refs", ".lock"),
			"refs, synced":           in("fsync", ".git/refs", ".lock"),
			"refs, renamed":          in("rename", ".git/refs", ".lock"),
			"bundle, written":        in("write", "state/trials/.next"),
			"bundle, synced":         in("fsync", "state/trials/.next"),
			"bundle, renamed":        in("rename", "state/trials/.next"),
			"bundle, named":          in("folder", "state/trials"),
			"results.tsv, written":   in("write", "results.tsv"),
			"results.tsv, synced":    in("fsync", "results.tsv"),
		} {
			for _, nth := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s, %d", name, nth), func(t *testing.T) {
					t.Parallel()
					code, said, met := overDisk(t, powerloss.Fault{Errno: syscall.EIO, At: at, Nth: nth})
					count(code, said, met)
					if met == 0 {
						t.Fatal("the study never came by")
					}
					// Git does not say why it could not write a ref's lock, which it then
					// gives up: nothing of it counts, and another attempt writes another.
					if refs := strings.HasPrefix(name, "refs"); refs && (code == 0 && strings.Contains(said, "it waited: ") || code == 1 && strings.Contains(said, "run git update-ref: fatal: ")) {
						return
					}
					if code != 1 || !strings.Contains(said, "the disk reports errors: look at the kernel's log and the disk") {
						t.Errorf("it ended with %d and said\n%s", code, said)
					}
				})
			}
		}
		for name, errno := range map[string]syscall.Errno{"full": syscall.ENOSPC, "read-only": syscall.EROFS, "errors": syscall.EIO} {
			for _, nth := range moments() {
				t.Run(fmt.Sprintf("%s from operation %d on", name, nth), func(t *testing.T) {
					t.Parallel()
					f := powerloss.Fault{Errno: errno, Nth: nth, Stays: true, At: func(_, path string) bool { return records(path) }}
					code, said, met := overDisk(t, f)
					count(code, said, met)
					if met > 0 && (code != 0 && code != 1 || said == "") {
						t.Errorf("it ended with %d and said\n%s", code, said)
					}
					if errno == syscall.ENOSPC && strings.Contains(said, "the disk reports errors") {
						t.Errorf("a full disk is taken for a broken one:\n%s", said)
					}
				})
			}
		}
	})
}

// moments are at which of its operations a study's disk breaks; with
// AUTORESEARCH_SOAK at so many.
func moments() []int {
	count, err := strconv.Atoi(os.Getenv("AUTORESEARCH_SOAK"))
	if err != nil {
		count = 12
	}
	var out []int
	const all = 700 // about what a study does
	for i := range count {
		out = append(out, 1+i*all/count)
	}
	return out
}
