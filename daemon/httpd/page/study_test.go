package page_test

import (
	"math"
	"sync"
	"testing"

	"autoresearchd/daemon/httpd/api/apitest"
	"autoresearchd/daemon/journal/journaltest"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

var shared struct {
	sync.Mutex
	studies map[journaltest.Options]*apitest.Study
	end     []func()
}

// study serves a made-up study of so many trials, which the tests share: it is
// not to be changed.
func study(t testing.TB, trials int, hostile bool) *apitest.Study {
	t.Helper()
	return of(t, journaltest.Options{Trials: trials, Hostile: hostile})
}

// confirmed serves a study whose judge has trials run again, shared too.
func confirmed(t testing.TB, trials int) *apitest.Study {
	t.Helper()
	return of(t, journaltest.Options{Trials: trials, Confirm: true})
}

func of(t testing.TB, o journaltest.Options) *apitest.Study {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if s, ok := shared.studies[o]; ok {
		return s
	}
	if shared.studies == nil {
		shared.studies = map[journaltest.Options]*apitest.Study{}
	}
	s, end := fill(t, o)
	shared.studies[o] = s
	shared.end = append(shared.end, end)
	show(s, o.Trials, 0.62)
	return s
}

// own serves a study that the test may change; it shows none of its trials yet.
func own(t testing.TB, trials int, hostile bool) *apitest.Study {
	t.Helper()
	s, end := fill(t, journaltest.Options{Trials: trials, Hostile: hostile})
	t.Cleanup(end)
	show(s, 0, 0)
	return s
}

// underWay serves a study of its own, all of whose trials have finished, and one
// more is begun: it has come so far.
func underWay(t testing.TB, trials int, progress float64) *apitest.Study {
	t.Helper()
	s, end := fill(t, journaltest.Options{Trials: trials, Running: true})
	t.Cleanup(end)
	show(s, trials, progress)
	return s
}

func fill(t testing.TB, o journaltest.Options) (*apitest.Study, func()) {
	t.Helper()
	dir, remove, err := journaltest.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	s, err := apitest.Open(dir, o)
	if err != nil {
		remove()
		t.Fatal(err)
	}
	return s, func() {
		s.Close()
		remove()
	}
}

// show says how many trials have finished, and how far the running one has
// come; 0: none runs.
func show(s *apitest.Study, trials int, progress float64) {
	s.Loop.Edit(func(now *supervisor.Status) {
		now.State = "running"
		if trials == 0 {
			now.Champion, now.Claim, now.Study.Baseline, now.Rate, now.Next = nil, nil, 0, 0, "the baseline"
		}
		if progress == 0 {
			return
		}
		left := 300 * (1 - progress)
		now.Seats = []supervisor.SeatStatus{{Name: "cuda:0", Device: "cuda:0", State: supervisor.SeatRunning, Trial: &supervisor.RunningStatus{
			ID: int64(trials) + 1, Candidate: int64(trials) + 1, Strategy: "tpe", Description: "HEAD_DIM 128 to 64", Phase: search.Train, PhaseSeconds: 300 * progress, Seconds: 20 + 300*progress,
			Progress: progress, Step: int(950 * progress), Loss: curve(progress)[len(curve(progress))-1][1], TokPerSec: 1.659e6, MFU: 0.398, Budget: search.Budget{Seconds: 300}, SecondsLeft: &left, Curve: curve(progress),
		}}}
	})
	s.Loop.Show(trials)
}

// seated shows all of the study's trials and so many seats.
func seated(s *apitest.Study, trials, seats int) {
	s.Loop.Edit(func(now *supervisor.Status) {
		now.State, now.Seats = "running", apitest.Seats(seats, int64(trials)+1, 190)
	})
	s.Loop.Show(trials)
}

func curve(progress float64) [][2]float64 {
	var c [][2]float64
	for p := 0.01; p <= progress; p += 0.01 {
		c = append(c, [2]float64{p, 2.6 + 6*math.Exp(-9*p) + 0.6*math.Exp(-1.5*p)})
	}
	return c
}
