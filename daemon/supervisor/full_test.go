package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/mounttest"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// TestFullDisk fills the disk under a study (fault 46), leaving a little more
// each time, so that one write after another is the first to fail: outcome,
// decision, git's objects and refs, row, the next trial's bundle and its begin.
// It needs a mount of its own; where that is not allowed, disk-full.txt and the
// journal's tests remain.
func TestFullDisk(t *testing.T) {
	mounttest.Run(t, func() string { return scratch(t) }, func(dir string) {
		waited := map[string]bool{}
		for left := int64(0); left <= 48<<10; left += 4 << 10 {
			end := mounttest.Small(t, dir, "4m")
			newWorkspace(t, dir)
			synctest.Test(t, func(t *testing.T) { waited[fillUp(t, dir, left)] = true })
			for _, rec := range verify(t, dir) {
				if want := yield(rec.Trial.Source); !reflect.DeepEqual(rec.Outcome, want) {
					t.Errorf("%d bytes left: trial %d is %+v, want %+v", left, rec.Trial.ID, rec.Outcome, want)
				}
			}
			end()
		}
		if delete(waited, ""); len(waited) < 6 {
			t.Errorf("too few writes met the full disk: %v", waited)
		}
	})
}

// fillUp runs a study whose second trial fills the disk, makes room when the
// loop waits for it, and returns what it waited with.
func fillUp(t *testing.T, dir string, left int64) string {
	ctx := context.Background()
	c, err := settings(dir, fmt.Sprint("study.trials=", crashTrials))
	must(t, err)
	repo, err := lineage.Open(ctx, c.Study.Workspace)
	must(t, err)
	j, err := journal.Open(c.Study.State)
	must(t, err)
	filler := filepath.Join(dir, "filler")
	var s *Supervisor
	waited := ""
	progress := func() {
		state := ""
		if s != nil {
			state = s.Now().State
		}
		if !strings.HasPrefix(state, "waiting") || waited != "" {
			return
		}
		// Git does not always say why it could not write.
		if waited = state; !strings.HasPrefix(state, "waiting for room") && !strings.Contains(state, "couldn't write") {
			t.Errorf("%d bytes left: the loop is %s", left, state)
		}
		must(t, os.Remove(filler))
	}
	ladder := &scripted{}
	for range crashTrials {
		ladder.push(climb)
	}
	s, err = begin(ctx, j, repo, Options{Config: c, Registry: registry(ladder), Devices: []device.Device{{Name: "cpu"}}, Progress: progress,
		Trainer: &filling{path: filler, left: left}})
	must(t, err)
	must(t, s.Run(ctx))
	must(t, j.Close())
	if n := s.Now().Trials.Total; n != crashTrials {
		t.Errorf("%d bytes left: %d trials", left, n)
	}
	return waited
}

// filling is a trainer whose second trial fills the disk.
type filling struct {
	path string
	left int64
}

func (f *filling) Inspect(_ context.Context, source []byte) (trainer.Inspection, error) {
	return inspect(source), nil
}

func (f *filling) Close() error { return nil }

func (f *filling) Warm(string, []byte) {}

func (f *filling) Run(_ context.Context, o trainer.Order, _ func(trainer.Event)) (search.Outcome, error) {
	t := o.Trial
	if t.ID == 2 {
		file, err := os.Create(f.path)
		if err != nil {
			return search.Outcome{}, err
		}
		n, err := io.Copy(file, zeros{})
		if !errors.Is(err, unix.ENOSPC) {
			return search.Outcome{}, fmt.Errorf("fill the disk: %w", err)
		}
		if err := errors.Join(file.Truncate(n-f.left), file.Close()); err != nil {
			return search.Outcome{}, err
		}
	}
	return yield(t.Source), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
