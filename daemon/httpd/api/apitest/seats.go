package apitest

import (
	"fmt"
	"math"
	"time"

	"autoresearchd/daemon/supervisor"
	"autoresearchd/metrics"
	"autoresearchd/search"
)

// Seats are so many seats that seem to work for a study whose next trial is
// first, some seconds after its start. Each trains for five minutes again and
// again, not all in step. Of eight, one has a trial that gets ready beside it,
// one is quarantined, and one waits; one or two train.
func Seats(n int, first int64, seconds float64) []supervisor.SeatStatus {
	const budget, evaluation = 300, 20
	seats := make([]supervisor.SeatStatus, n)
	for i := range seats {
		s := &seats[i]
		s.Name = fmt.Sprintf("cuda:%d", i)
		if i >= 8 {
			s.Host = fmt.Sprintf("node%d", i/8)
			s.Name = s.Host + "/" + fmt.Sprintf("cuda:%d", i%8)
		}
		s.Device, s.Since = fmt.Sprintf("cuda:%d", i%8), time.Now().Add(-time.Minute)
		switch {
		case n > 2 && i%8 == 5:
			s.State, s.Why = supervisor.SeatQuarantined, "41.2 GiB of its memory were not given back within 30s"
			continue
		case n > 2 && i%8 == 6:
			s.State, s.Why = supervisor.SeatWaiting, "10s: 6 in a row failed, the last out of memory"
			continue
		}
		at := math.Mod(seconds+float64(i*97), budget+evaluation)
		s.State, s.Trial = supervisor.SeatRunning, training(first+int64(i), min(at, budget), budget, supervisor.PointsEach(n))
		if n > 2 && i%8 == 2 {
			at = budget + 8
			s.Trial = training(first+int64(i), budget, budget, supervisor.PointsEach(n))
		}
		if at > budget {
			left := budget + evaluation - at
			s.Trial.Phase, s.Trial.PhaseSeconds, s.Trial.SecondsLeft, s.Trial.TokPerSec, s.Trial.MFU = search.Evaluate, at-budget, &left, 0, 0
			s.Next = &supervisor.RunningStatus{ID: first + int64(n+i), Candidate: first + int64(n+i), Run: 1, Strategy: "gp", Description: "EMBEDDING_LR 0.6 -> 0.72", Phase: search.Compile, PhaseSeconds: 3, Seconds: 8, Budget: search.Budget{Seconds: budget}}
		}
	}
	return seats
}

// training is a trial that has trained for so many seconds of its budget, with a
// curve of so many points.
func training(id int64, at, budget float64, points int) *supervisor.RunningStatus {
	level := 2.5 + 0.2*float64(id%7)/7
	loss := func(at float64) float64 { return level + 6*math.Exp(-9*at/budget) + 0.6*math.Exp(-1.5*at/budget) }
	left := budget - at
	r := &supervisor.RunningStatus{
		ID: id, Candidate: id, Run: 1, Strategy: "tpe", Description: "MATRIX_LR 0.04 -> 0.052, DEPTH 8 -> 9", Phase: search.Train, PhaseSeconds: at, Seconds: at + 12,
		Progress: at / budget, Step: int(3 * at), Loss: loss(at), TokPerSec: 1.659e6, MFU: 0.398, Budget: search.Budget{Seconds: budget}, SecondsLeft: &left,
	}
	for i := range points {
		x := at * float64(i+1) / float64(points)
		r.Curve = append(r.Curve, [2]float64{x / budget, loss(x)})
	}
	return r
}

// scraped is what a scrape reads of a seat.
func scraped(s supervisor.SeatStatus) metrics.Seat {
	m := metrics.Seat{Name: s.Name, State: string(s.State)}
	if r := s.Trial; r != nil {
		m.PeakVRAM = metrics.Some(45 << 30)
		m.Trial = &metrics.Running{
			Phase: r.Phase, StartedAt: s.Since, Progress: &r.Progress, TrainLoss: &r.Loss, TokensPerSecond: &r.TokPerSec, MFU: &r.MFU,
			GPUMemory: map[int]float64{0: 45 << 30},
		}
	}
	if s.Next != nil {
		m.Next = s.Next.Phase
	}
	return m
}
