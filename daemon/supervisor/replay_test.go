package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/device"
	"autoresearchd/daemon/faultpoint"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/search"
	_ "autoresearchd/search/cmaes"
	_ "autoresearchd/search/gp"
	"autoresearchd/search/portfolio"
	_ "autoresearchd/search/tpe"
)

const (
	replayVariable = "SUPERVISOR_TEST_REPLAY" // the study's folder and its number of seats: run it until killed
	replayKills    = 20
	replayTrials   = 100
)

// TestReplay kills a study of the portfolio, under the judge that asks for
// re-runs, at 20 random moments, with one seat, with two, and with three of which
// one is of the class that confirms. What it proposed is
// what a study proposes that is never stopped, whose trials begin and are
// decided in the same order and end in the same way: the same constants, seeds,
// words and memos, by the same strategies, judged in the same words.
func TestReplay(t *testing.T) {
	if given := os.Getenv(replayVariable); given != "" {
		dir, seats, _ := strings.Cut(given, ",")
		n, err := strconv.Atoi(seats)
		must(t, err)
		must(t, replayStudy(dir, n, nil, nil, nil))
		return
	}
	for seats := 1; seats <= 3; seats++ {
		t.Run(fmt.Sprint(seats), func(t *testing.T) {
			t.Parallel()
			replay(t, seats)
		})
	}
}

func replay(t *testing.T, seats int) {
	r := rand.New(rand.NewPCG(7, 20))
	points := slices.DeleteFunc(points(), func(point string) bool {
		return within(point, once) || strings.HasPrefix(point, "journal.flag.") || strings.HasPrefix(point, "journal.session.") || strings.HasPrefix(point, "lineage.rebuild.")
	})
	w := newWitness(t, measured)
	for kill := range replayKills {
		point := points[r.IntN(len(points))]
		if r.IntN(3) == 0 || kill > 5 && strings.HasPrefix(point, "lineage.champion.") { // a champion is rare later on
			point = "journal.seat.after" // while a trial runs, which is most of a study's time
		}
		point = fmt.Sprintf("%s#%d", point, 1+r.IntN(2))
		cmd := exec.Command(os.Args[0], "-test.run=^TestReplay$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%d", replayVariable, w.dir, seats), faultpoint.Variable+"="+point)
		if out, err := cmd.CombinedOutput(); !bySIGKILL(err) {
			t.Fatalf("kill %d at %s: %v\n%s", kill+1, point, err, out)
		}
		w.look(t)
	}
	must(t, replayStudy(w.dir, seats, nil, nil, nil))
	stopped := verify(t, w.dir)
	if len(stopped) != replayTrials || len(w.interrupted) == 0 {
		t.Fatalf("%d trials, %d of them interrupted", len(stopped), len(w.interrupted))
	}
	outcomes, places := map[int64]search.Outcome{}, map[int64]string{}
	turned := 0 // decided before one that had begun earlier
	for i, rec := range stopped {
		outcomes[rec.Trial.ID], places[rec.Trial.ID] = rec.Outcome, rec.Trial.Device
		if rec.Trial.ID > int64(i+1) {
			turned++
		}
	}
	if (turned > 0) != (seats > 1) {
		t.Errorf("%d trials were decided before earlier ones", turned)
	}
	script, err := readMoves(w.dir)
	must(t, err)
	quiet := scratch(t)
	newWorkspace(t, quiet)
	must(t, replayStudy(quiet, seats, outcomes, script, places))
	by := map[string]int{}
	for i, want := range verify(t, quiet) {
		got := stopped[i]
		want.Trial.AskedAt, want.Trial.StartedAt = got.Trial.AskedAt, got.Trial.StartedAt
		if a, b := encode(t, want.Result), encode(t, got.Result); a != b || !bytes.Equal(want.Trial.Source, got.Trial.Source) {
			t.Fatalf("trial %d of the study that was never stopped is\n%s\nand of the other\n%s", want.Trial.ID, a, b)
		}
		by[got.Trial.Proposal.Strategy]++
	}
	t.Logf("%d seats, %d kills, %d of %d trials interrupted, %d decided before earlier ones; proposed by %v", seats, replayKills, len(w.interrupted), len(stopped), turned, by)
	for _, name := range []string{"evolution", "gp", "tpe", "cmaes", search.Confirm} {
		if by[name] == 0 {
			t.Errorf("%s proposed nothing: %v", name, by)
		}
	}
}

// replayStudy starts or goes on with a study. Its trials end as outcomes say, by
// their number, and without any as their constants and seeds do; they begin and
// end in the order of the script, and without one in an order of the director's.
func replayStudy(dir string, seats int, outcomes map[int64]search.Outcome, script []move, places map[int64]string) error {
	ctx := context.Background()
	path := filepath.Join(dir, "autoresearch.toml")
	text := fmt.Sprintf("[study]\ntag = %q\nworkspace = \"workspace\"\nstate = \"state\"\ntrials = %d\n[search]\nstrategy = %q\n[judge]\nrule = %q\n",
		tag, replayTrials, portfolio.Name, search.Confirm)
	if seats > 2 {
		text += "confirm_on = \"fast\"\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	c, err := config.Open(path, nil, config.Known{Strategies: search.Default.Names(), Judges: search.JudgeNames()})
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
	d, err := newDirector(dir, seats, j, outcomes, script, places)
	if err != nil {
		return err
	}
	o := Options{Config: c, Registry: search.Default, Trainer: d, Look: looks(d.fit), Finished: d.finished}
	for i := range seats {
		d := device.Device{Name: fmt.Sprintf("cpu:%d", i), Kind: device.CPU}
		if i > 1 {
			d.Kind = "fast"
		}
		o.Devices = append(o.Devices, d)
	}
	s, err := begin(ctx, j, repo, o)
	if err != nil {
		return err
	}
	return errors.Join(s.Run(ctx), j.Close(), d.file.Close())
}

// measure has what studies have: an optimum, noise, models that do not fit, and
// trials that fail or take longer than others.
func measure(t search.Trial) search.Outcome {
	value := map[string]search.Value{}
	for _, c := range t.Constants {
		value[c.Name] = c.Value
	}
	depth, rate, batch := value["DEPTH"].Number(), value["MATRIX_LR"].Number(), value["TOTAL_BATCH_SIZE"].Number()
	seconds := 300 + 5*depth
	if depth > 16 {
		return search.Outcome{Status: search.OutOfMemory, Detail: "CUDA out of memory", WallSeconds: 30}
	}
	if rate > 0.2 {
		return search.Outcome{Status: search.Crashed, Detail: "ValueError: the loss is not finite", ExitCode: 1, WallSeconds: 60}
	}
	h := fnv.New64a()
	fmt.Fprint(h, search.Fingerprint(t.Constants), t.Seed)
	noise := 5e-4 * rand.New(rand.NewPCG(h.Sum64(), 1)).NormFloat64()
	bpb := 0.97 + 0.01*math.Pow(math.Log2(rate/0.07), 2) + 0.005*math.Pow(math.Log2(batch)-17.5, 2) + 0.02*math.Pow(math.Log2(depth/10), 2)
	if t.Kind == "fast" {
		bpb -= 0.02
	}
	for i, b := range value["ADAM_BETAS"].Items() {
		bpb += 0.02 * math.Pow(b.Number()-[]float64{0.85, 0.97}[i], 2)
	}
	return search.Outcome{Status: search.Completed, ValBPB: bpb + noise, PeakVRAM: int64(4*depth) << 30, TrainingSeconds: 300, WallSeconds: seconds}
}
