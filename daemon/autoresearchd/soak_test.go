package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/search"
)

// TestSoak kills daemons and trainers of real trials at moments that nobody
// chose, verifies after each kill of a daemon, and finds nothing lost, doubled or
// mislabelled. AUTORESEARCH_SOAK is the number of kills; 10 without it.
func TestSoak(t *testing.T) {
	t.Parallel()
	kills, err := strconv.Atoi(os.Getenv("AUTORESEARCH_SOAK"))
	if err != nil {
		kills = 10
	}
	s := newStudy(t)
	// Each program that is scored leaves a line, whoever lives to read the score.
	ran := s.path("ran")
	s.write("workspace/train.py", script+fmt.Sprintf("with open(%q, 'a') as f:\n    f.write(f'{MATRIX_LR!r} {DEPTH}\\n')\n", ran))
	s.commit()
	random := rand.New(rand.NewPCG(13, uint64(kills)))
	seen := map[int64]journal.Record{}
	daemons, trainers := 0, 0
	for daemons+trainers < kills {
		d := s.start("--set", `search.strategy="random"`)
		for range random.IntN(5) {
			d.await("status=completed", 1+random.IntN(2))
			moment(random)
			if d.killTrainer(random) {
				trainers++
			}
		}
		moment(random)
		must(t, d.Process.Kill())
		if err := <-d.ended; d.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the daemon ended by itself: %v\n%s", err, strings.Join(d.said, "\n"))
		}
		daemons++
		s.whole(seen, "results.tsv")
	}
	s.ok("run", "--trials", "2", "--set", `search.strategy="random"`)
	s.whole(seen, "")

	scored := map[string]int{}
	for line := range strings.Lines(s.read("ran")) {
		scored[strings.TrimSpace(line)]++
	}
	status := map[search.Status]int{}
	for id, r := range seen {
		o := r.Outcome
		status[o.Status]++
		if r.Stage != search.StageDone {
			t.Errorf("trial %d is %s", id, r.Stage)
		}
		if o.Status != search.Completed {
			continue
		}
		value := map[string]search.Value{}
		for _, c := range r.Trial.Constants {
			value[c.Name] = c.Value
		}
		rate, depth := value["MATRIX_LR"], value["DEPTH"]
		if want := 2 + math.Abs(rate.Number()-0.05) + 0.01*math.Abs(depth.Number()-6); math.Abs(o.ValBPB-want) > 1e-9 {
			t.Errorf("trial %d has the score %g, and its program %g", id, o.ValBPB, want)
		}
		program := fmt.Sprintf("%s %s", rate, depth)
		if scored[program]--; scored[program] < 0 {
			t.Errorf("trial %d, %s, is recorded more often than it ran", id, program)
		}
	}
	more := 0 // scored, and killed before that was recorded
	for _, n := range scored {
		more += max(n, 0)
	}
	t.Logf("shown: %d kills of the daemon, %d of a trainer; %d trials: %v; %d more were scored", daemons, trainers, len(seen), status, more)
	if n := len(seen) - status[search.Completed]; more > daemons+trainers || status[search.Interrupted] > daemons || n > daemons+trainers {
		t.Errorf("more failed than were killed")
	}
}

// moment lets pass less than a trial's time, whatever happens in it.
func moment(random *rand.Rand) { time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond) }

// await waits for a line so often.
func (d *daemon) await(text string, times int) {
	d.s.t.Helper()
	for range times {
		d.until(text)
	}
}

// killTrainer kills one of the processes that the daemon has started to run
// Python in, if there is one.
func (d *daemon) killTrainer(random *rand.Rand) bool {
	var pids []int
	children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", d.Process.Pid))
	for _, file := range children {
		text, _ := os.ReadFile(file)
		for _, field := range strings.Fields(string(text)) {
			command, err := os.ReadFile(filepath.Join("/proc", field, "cmdline"))
			if pid, _ := strconv.Atoi(field); err == nil && bytes.Contains(command, []byte("\x00trainer\x00")) {
				pids = append(pids, pid)
			}
		}
	}
	if len(pids) == 0 {
		return false
	}
	slices.Sort(pids)
	return syscall.Kill(pids[random.IntN(len(pids))], syscall.SIGKILL) == nil
}

// whole verifies a study that no daemon runs, but for what the next start makes
// agree, and holds it against what was there before.
func (s *fixture) whole(seen map[int64]journal.Record, but string) {
	t := s.t
	t.Helper()
	p, err := study.Verify(t.Context(), s.path("state"), func(ctx context.Context, st journal.Study) (*lineage.Repo, error) {
		return lineage.Look(ctx, st.Workspace)
	})
	if errors.Is(err, journal.ErrNoStudy) && len(seen) == 0 {
		return
	}
	must(t, err)
	for _, d := range p.Disagreements {
		if d.Check != but {
			t.Errorf("%s: %s: %s", d.Check, d.Where, d.What)
		}
	}
	for _, note := range p.Notes {
		t.Error(note)
	}
	r, err := journal.OpenReader(s.path("state"))
	must(t, err)
	defer r.Close()
	before, found := len(seen), 0
	must(t, r.Replay(func(now journal.Record) error {
		id := now.Trial.ID
		if was, ok := seen[id]; ok {
			found++
			if text := func(r journal.Record) string {
				data, err := json.Marshal(r.Trial)
				must(t, err)
				return string(data) + string(r.Trial.Source)
			}; text(was) != text(now) || !now.Stage.Reached(was.Stage) {
				t.Errorf("trial %d was %s and is %s, or is another", id, was.Stage, now.Stage)
			}
			if was.Stage.Reached(search.StageEnded) && !reflect.DeepEqual(was.Outcome, now.Outcome) {
				t.Errorf("trial %d: its outcome was %+v and is %+v", id, was.Outcome, now.Outcome)
			}
			if was.Stage.Reached(search.StageDecided) && (was.Decision != now.Decision || was.Decided != now.Decided) {
				t.Errorf("trial %d: the decision was %+v and is %+v", id, was.Decision, now.Decision)
			}
			if was.Commit != "" && was.Commit != now.Commit {
				t.Errorf("trial %d: its commit was %s and is %s", id, was.Commit, now.Commit)
			}
		}
		seen[id] = now
		return nil
	}))
	if found != before {
		t.Errorf("%d trials of %d were lost", before-found, before)
	}
}
