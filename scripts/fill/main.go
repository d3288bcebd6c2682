// Command fill makes the record of a study that has its baseline longer, for
// benchmarks: go run ./scripts/fill STATE TRIALS. The trials that it adds never
// ran; they repeat the baseline's source and commit, so that a daemon can go on
// from there, with scores and endings like those of a night.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: fill STATE TRIALS")
	}
	count, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err == nil {
		err = fill(os.Args[1], count)
	}
	if err != nil {
		log.Fatal(err)
	}
}

var strategies = []string{"evolution", "gp", "tpe", "cmaes", "llm"}

func fill(state string, count int64) error {
	j, err := journal.Open(state)
	if err != nil {
		return err
	}
	defer j.Close()
	first, err := j.Trial(1)
	if err != nil {
		return fmt.Errorf("read the baseline: %w", err)
	}
	next, err := j.NextID()
	if err != nil {
		return err
	}
	begin := time.Now().Add(-time.Duration(count) * 6 * time.Minute)
	for id := next; id <= count; id++ {
		t := first.Trial
		t.ID, t.Candidate, t.StartedAt = id, 0, begin.Add(time.Duration(id)*6*time.Minute)
		t.Proposal = search.Proposal{Strategy: strategies[id%int64(len(strategies))], Description: fmt.Sprintf("made up, number %d", id), Parent: 1}
		o := search.Outcome{
			Status: search.Completed, ValBPB: first.Outcome.ValBPB + 0.01 + float64(id*7919%1000)/1e5, Tokens: 467e6, Steps: 891, TrainingSeconds: 300, WallSeconds: 354,
			PeakVRAM: 44 << 30, Phases: map[search.Phase]float64{search.Startup: 12, search.Compile: 10, search.Train: 304, search.Evaluate: 26, search.Exit: 2},
		}
		d := search.Decision{Verdict: search.Discard, Reason: "made up"}
		if id%10 == 0 {
			o = search.Outcome{Status: search.OutOfMemory, Detail: "made up", WallSeconds: 30}
			d.Verdict = search.Crash
		}
		for _, step := range []func() error{
			func() error { _, err := j.Begin(t, first.Commit, 0); return err },
			func() error { return j.End(id, o) },
			func() error { return j.Decide(id, d) },
			func() error { return j.Commit(id, map[int64]string{id: first.Commit}) },
			func() error { return j.Recorded(id) },
			func() error { return j.Done(id) },
		} {
			if err := step(); err != nil {
				return err
			}
		}
	}
	return nil
}
