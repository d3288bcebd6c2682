package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/durable"
	"autoresearchd/daemon/faultpoint"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/powerloss"
	"autoresearchd/daemon/sandbox"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

const (
	childVariable    = "SUPERVISOR_TEST_CHILD"    // the study's folder: run it and end
	baselineVariable = "SUPERVISOR_TEST_BASELINE" // study.baseline
	mendVariable     = "SUPERVISOR_TEST_MEND"     // mend the disk when the study waits
	crashTrials      = 4
	recordedScore    = 0.9979
	measured         = `"measure"`
)

// TestMain also runs the children that are killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "trainer" {
		if status, ok := sandbox.Stage(os.Args[2:], func(err error) { fmt.Fprintln(os.Stderr, err) }); ok {
			os.Exit(status)
		}
	}
	dir := os.Getenv(childVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := childStudy(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func init() {
	if len(os.Args) > 1 && os.Args[1] == "trainer" {
		runtime.LockOSThread() // as the daemon's main does
	}
}

// childStudy starts or goes on with a study of four trials that passes every
// fault point: a baseline, a suggestion that is kept, one that is discarded and
// one that crashes, and a results.tsv that is torn under its feet.
func childStudy(dir string) error {
	ctx := context.Background()
	c, err := settings(dir, fmt.Sprint("study.trials=", crashTrials), "study.baseline="+os.Getenv(baselineVariable), `judge.check=["sh"]`)
	if err != nil {
		return err
	}
	repo, err := lineage.Open(ctx, c.Study.Workspace)
	if err != nil {
		return err
	}
	j, err := journal.Open(c.Study.State)
	if err != nil {
		return err
	}
	var s *Supervisor
	fault := error(nil)
	suggest := func(study.Ending) {
		all, err := j.Suggestions()
		if err == nil && len(all) == 0 && s.study.Champion() != nil {
			_, err = s.Suggest(ctx, map[string]search.Value{"DEPTH": search.IntValue(9)})
		}
		fault = errors.Join(fault, err)
	}
	ladder := &scripted{}
	for range crashTrials {
		ladder.push(climb)
	}
	// It waits for a disk, which is mended then: see TestDiskErrors.
	mended := os.Getenv(mendVariable) == ""
	progress := func() {
		if mended || s == nil || !strings.HasPrefix(s.Now().State, "waiting") {
			return
		}
		fmt.Println("it waited:", s.Now().State)
		mended = true
		_ = os.Mkdir(filepath.Join(dir, powerloss.Mend), 0o755)
		err := s.Resume(ctx)
		fault = errors.Join(fault, err)
	}
	s, err = begin(ctx, j, repo, Options{Config: c, Registry: registry(ladder), Devices: []device.Device{{Name: "cpu"}}, Finished: suggest, Progress: progress,
		Trainer: &swift{state: c.Study.State, journal: j}, Start: agreeing(filepath.Join(c.Study.State, "asked"))})
	if err != nil {
		return err
	}
	if err := errors.Join(s.Pause(ctx), s.Resume(ctx)); err != nil {
		return err
	}
	return errors.Join(s.Run(ctx), fault, j.Close())
}

// climb proposes the first of three learning rates that no trial has had, so
// that it goes on after a restart as it would have gone on without.
func climb(h search.History) (search.Proposal, error) {
	for _, rate := range []float64{0.03, 0.06, 0.05} {
		v := search.FloatValue(rate)
		tried := slices.ContainsFunc(h.Done, func(r search.Result) bool {
			return slices.ContainsFunc(r.Trial.Constants, func(c search.Constant) bool { return c.Name == "MATRIX_LR" && c.Value.Equal(v) })
		})
		if !tried {
			return propose(h, "MATRIX_LR", v), nil
		}
	}
	return search.Proposal{}, search.ErrExhausted
}

// swift is a trainer whose trials take no time and whose outcomes follow from
// their sources alone. It notes every trial that it runs.
type swift struct {
	state   string
	journal *journal.Journal
}

func (s *swift) Inspect(_ context.Context, source []byte) (trainer.Inspection, error) {
	return inspect(source), nil
}

func (s *swift) Close() error { return nil }

func (s *swift) Warm(string, []byte) {}

func (s *swift) Run(_ context.Context, o trainer.Order, observe func(trainer.Event)) (search.Outcome, error) {
	t := o.Trial
	f, err := os.OpenFile(filepath.Join(s.state, "ran"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return search.Outcome{}, err
	}
	_, err = fmt.Fprintln(f, t.ID)
	err = errors.Join(err, f.Sync(), f.Close(), durable.Dir(s.state), s.journal.SetSeat(t.ID, "{}"))
	if err == nil && t.ID == 2 {
		path := filepath.Join(s.state, "results.tsv")
		var have []byte
		if have, err = os.ReadFile(path); err == nil {
			err = os.WriteFile(path, have[:len(have)-3], 0o644)
		}
	}
	observe(trainer.Event{Phase: search.Train})
	return yield(t.Source), err
}

func yield(source []byte) search.Outcome {
	value := map[string]float64{}
	for _, c := range inspect(source).Constants {
		value[c.Name] = c.Value.Number()
	}
	if value["MATRIX_LR"] == 0.06 {
		return search.Outcome{Status: search.Crashed, ExitCode: 1, Detail: "ValueError: 0.06", WallSeconds: 30}
	}
	return search.Outcome{
		Status: search.Completed, ValBPB: 1.08 - value["MATRIX_LR"]/10 - value["DEPTH"]/100, PeakVRAM: 44 << 30,
		Curve: []search.Point{{Step: 1, Loss: 9}, {Step: 2, Loss: 5}}, TrainingSeconds: 300, WallSeconds: 325,
	}
}

// crash is one way through a study: killed at these points, one process after
// the other.
type crash struct {
	at       []string
	baseline string
}

func (c crash) name() string {
	name := strings.Join(c.at, "+")
	if c.baseline != measured {
		name += ",recorded"
	}
	return name
}

// crashes is the table of fault 43: every named point, at the first and second
// time that the study comes by, and once more while the study recovers.
func crashes() []crash {
	var table []crash
	for _, point := range points() {
		table = append(table, crash{[]string{point}, measured}, crash{[]string{point, point}, measured})
		if !within(point, once) {
			table = append(table, crash{[]string{point + "#2"}, measured})
		}
		if !within(point, measuredOnly) {
			table = append(table, crash{[]string{point}, fmt.Sprint(recordedScore)})
		}
	}
	return table
}

// points are those that a study comes by whose tag is given and whose strategy
// asks no model.
func points() []string {
	return slices.DeleteFunc(faultpoint.Names(""), func(point string) bool {
		return within(point, []string{"restore.", "models.", "lineage.reserve."})
	})
}

var (
	// A study comes by these once.
	once = []string{"journal.migrate.", "journal.study.", "journal.suggest."}
	// These come before a recorded baseline, or not with it.
	measuredOnly = []string{"journal.migrate.", "journal.study.", "journal.suggest.", "journal.flag.", "journal.seat.", "lineage.commit.", "lineage.rebuild."}
)

func within(point string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(point, prefix) })
}

// TestKillEverywhere kills the daemon (fault 43), lets the next one go on, and
// proves that no trial was lost, doubled or mislabelled.
func TestKillEverywhere(t *testing.T) {
	for _, c := range crashes() {
		t.Run(c.name(), func(t *testing.T) {
			t.Parallel()
			w := newWitness(t, c.baseline)
			w.kills = c.at
			for i, point := range c.at {
				out, err := startChild(w.dir, c.baseline, point)
				killed := bySIGKILL(err)
				// A second time there is nothing to kill after what is done once.
				done := i > 0 && within(point, once) && strings.HasSuffix(point, ".after")
				if killed == done || done && err != nil {
					t.Fatalf("killed at %s: %v, want %v: %v\n%s", point, killed, !done, err, out)
				}
				w.look(t)
			}
			if out, err := startChild(w.dir, c.baseline, ""); err != nil {
				t.Fatalf("the last start: %v\n%s", err, out)
			}
			w.testify(t)
		})
	}
}

func bySIGKILL(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

func childCommand(dir, baseline, point string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir, baselineVariable+"="+baseline, faultpoint.Variable+"="+point)
	return cmd
}

func startChild(dir, baseline, point string) ([]byte, error) {
	return childCommand(dir, baseline, point).CombinedOutput()
}

// witness remembers what was on the disk after each kill.
type witness struct {
	dir         string
	recorded    bool
	kills       []string // the points at which it was killed; "": nobody knows where
	seen        map[int64]journal.Record
	interrupted map[int64]bool
}

func newWitness(t *testing.T, baseline string) *witness {
	t.Helper()
	w := &witness{dir: scratch(t), recorded: baseline != measured, seen: map[int64]journal.Record{}, interrupted: map[int64]bool{}}
	newWorkspace(t, w.dir)
	return w
}

func (w *witness) look(t *testing.T) {
	t.Helper()
	r, err := journal.OpenReader(filepath.Join(w.dir, "state"))
	if errors.Is(err, journal.ErrNoStudy) && len(w.seen) == 0 {
		return
	}
	must(t, err)
	defer r.Close()
	if _, begun, err := r.Study(); err == nil && begun {
		agree(t, w.dir, "results.tsv")
	}
	records, err := r.Trials()
	must(t, err)
	if len(records) < len(w.seen) {
		t.Errorf("%d trials, %d before the last kill", len(records), len(w.seen))
	}
	for _, rec := range records {
		id := rec.Trial.ID
		w.stays(t, rec)
		w.seen[id] = rec
		if !rec.Stage.Reached(search.StageEnded) && (!w.recorded || id != 1) {
			w.interrupted[id] = true
		}
	}
}

// stays proves that what was recorded of a trial before a kill is as it was.
func (w *witness) stays(t *testing.T, now journal.Record) {
	t.Helper()
	was, ok := w.seen[now.Trial.ID]
	if !ok {
		return
	}
	id := now.Trial.ID
	if !now.Stage.Reached(was.Stage) {
		t.Errorf("trial %d was %s and is %s", id, was.Stage, now.Stage)
	}
	if a, b := encode(t, was.Trial), encode(t, now.Trial); a != b || was.ParentCommit != now.ParentCommit {
		t.Errorf("trial %d was admitted as\n%s\nand is now\n%s", id, a, b)
	}
	if was.Stage.Reached(search.StageEnded) && encode(t, was.Outcome) != encode(t, now.Outcome) {
		t.Errorf("trial %d: its outcome was %+v and is %+v", id, was.Outcome, now.Outcome)
	}
	if was.Stage.Reached(search.StageDecided) && !reflect.DeepEqual(was.Decision, now.Decision) {
		t.Errorf("trial %d: the decision was %+v and is %+v", id, was.Decision, now.Decision)
	}
	if was.Commit != "" && was.Commit != now.Commit {
		t.Errorf("trial %d: its commit was %s and is %s", id, was.Commit, now.Commit)
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	return string(data)
}

// testify examines the finished study.
func (w *witness) testify(t *testing.T) {
	t.Helper()
	w.look(t)
	records := verify(t, w.dir)
	if len(records) != crashTrials {
		t.Errorf("%d trials, want %d", len(records), crashTrials)
	}
	data, err := os.ReadFile(filepath.Join(w.dir, "state", "ran"))
	must(t, err)
	runs := map[string]int{}
	for _, id := range strings.Fields(string(data)) {
		runs[id]++
	}
	for _, rec := range records {
		id := rec.Trial.ID
		n := runs[fmt.Sprint(id)]
		delete(runs, fmt.Sprint(id))
		want, times := yield(rec.Trial.Source), 1
		switch {
		case w.recorded && id == 1:
			want, times = search.Outcome{Status: search.Completed, ValBPB: recordedScore, Flags: rec.Outcome.Flags}, 0
			if rec.Trial.Proposal.Description != study.RecordedBaseline || len(rec.Outcome.Flags) != 1 {
				t.Errorf("trial 1 is %q with the flags %q", rec.Trial.Proposal.Description, rec.Outcome.Flags)
			}
		case w.interrupted[id]:
			want, times = search.Outcome{Status: search.Interrupted, Detail: "the daemon ended while it ran"}, min(n, 1)
		}
		if !reflect.DeepEqual(rec.Outcome, want) || n != times {
			t.Errorf("trial %d ran %d times and is %+v, want %d times and %+v", id, n, rec.Outcome, times, want)
		}
		if rec.Stage != search.StageDone {
			t.Errorf("trial %d is %s", id, rec.Stage)
		}
	}
	w.asked(t, records)
	if len(runs) > 0 {
		t.Errorf("trials ran that are not recorded: %v", runs)
	}
	w.control(t, records)
}

// asked proves that the check was asked about every keep but the first, once
// unless the daemon was killed before its answer was on the disk.
func (w *witness) asked(t *testing.T, records []journal.Record) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "state", "asked"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	asks := map[string]int{}
	for _, id := range strings.Fields(string(data)) {
		asks[id]++
	}
	for i, rec := range records {
		id := fmt.Sprint(rec.Trial.ID)
		kept := rec.Decision.Verdict == search.Keep
		first := !slices.ContainsFunc(records[:i], func(r journal.Record) bool { return r.Decision.Verdict == search.Keep })
		if must := kept && !first; (rec.Decision.Answer != nil) != must || (asks[id] > 0) != must || asks[id] > 1+len(w.kills) {
			t.Errorf("trial %s: %s; the check was asked %d times and said %+v", id, rec.Decision.Verdict, asks[id], rec.Decision.Answer)
		}
		if asks[id] > 1 && !slices.ContainsFunc(w.kills, func(point string) bool {
			return point == "" || strings.HasPrefix(point, "journal.decide.before") || strings.HasPrefix(point, "journal.decide.inside")
		}) {
			t.Errorf("trial %s: the check was asked %d times, killed at %v", id, asks[id], w.kills)
		}
	}
}

// control examines the flags and the suggestion.
func (w *witness) control(t *testing.T, records []journal.Record) {
	t.Helper()
	r, err := journal.OpenReader(filepath.Join(w.dir, "state"))
	must(t, err)
	defer r.Close()
	for _, flag := range []journal.Flag{journal.Paused, journal.Ended} {
		if set, err := r.Flag(flag); set || err != nil {
			t.Errorf("flag %s: %v %v", flag, set, err)
		}
	}
	all, err := r.Suggestions()
	if err != nil || len(all) != 1 {
		t.Fatalf("suggestions: %+v %v", all, err)
	}
	for _, rec := range records {
		if taken := rec.Trial.Proposal.Strategy == "suggestion"; taken != (all[0].Trial == rec.Trial.ID) ||
			taken && !bytes.Contains(rec.Trial.Source, []byte("DEPTH = 9 ")) {
			t.Errorf("trial %d is %q of %s, the suggestion is with trial %d", rec.Trial.ID, rec.Trial.Proposal.Description, rec.Trial.Proposal.Strategy, all[0].Trial)
		}
	}
	if all[0].Trial == 0 {
		t.Error("no trial took the suggestion")
	}
}
