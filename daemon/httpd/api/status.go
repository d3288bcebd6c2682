package api

import (
	"math"
	"net/http"
	"strings"
	"sync"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

// status is `status --json` with what a page shows beside it.
type status struct {
	supervisor.Status
	Seats          []seat       `json:"seats"`
	ChampionCurve  [][2]float64 `json:"champion_curve"` // null: the journal does not answer
	GPUs           []gpuReading `json:"gpus"`
	Duty           *float64     `json:"duty"`
	GainPerGPUHour *float64     `json:"gain_per_gpu_hour"`
	Version        string       `json:"version"`
}

// seat is SeatStatus with null for what is not known.
type seat struct {
	supervisor.SeatStatus
	Trial *running `json:"trial"`
	Next  *running `json:"next"`
}

// running is RunningStatus with null for what is not known.
type running struct {
	supervisor.RunningStatus
	Loss      *float64     `json:"loss"`
	TokPerSec *float64     `json:"tokens_per_second"`
	MFU       *float64     `json:"mfu"`
	Curve     [][2]float64 `json:"curve,omitempty"`
}

// moving is the part of status that events carry.
type moving struct {
	State    string                    `json:"state"`
	Waiting  string                    `json:"waiting"`
	Seats    []seat                    `json:"seats"`
	Tried    supervisor.Tried          `json:"candidates"`
	Trials   supervisor.TrialCounts    `json:"trials"`
	Next     string                    `json:"next"`
	Rate     float64                   `json:"rate_per_hour"`
	Champion *supervisor.TrialStatus   `json:"champion"`
	GPUs     []gpuReading              `json:"gpus"`
	Card     record.Card               `json:"card"`
	Confirm  *supervisor.ConfirmStatus `json:"confirm,omitempty"`
}

// known is a figure, nil where 0 says that there is none yet.
func known(x float64) *float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// seatsOf shows the seats with their curves, or, where curves is false, without.
func seatsOf(now supervisor.Status, curves bool) []seat {
	all := make([]seat, len(now.Seats))
	for i, s := range now.Seats {
		all[i] = seat{SeatStatus: s, Trial: runningOf(s.Trial, curves), Next: runningOf(s.Next, curves)}
	}
	return all
}

func runningOf(r *supervisor.RunningStatus, curves bool) *running {
	if r == nil {
		return nil
	}
	out := &running{RunningStatus: *r, Loss: known(r.Loss), TokPerSec: known(r.TokPerSec), MFU: known(r.MFU)}
	if curves {
		out.Curve = make([][2]float64, len(r.Curve))
		for i, p := range r.Curve {
			out.Curve[i] = [2]float64{rounded(p[0]), rounded(p[1])}
		}
	}
	return out
}

// rounded is what a curve's point needs to be drawn, in fewer digits.
func rounded(x float64) float64 { return math.Round(x*1e4) / 1e4 }

func (a *API) status(r *http.Request) (any, error) {
	now := a.o.Loop.Now()
	s := status{Status: now, Seats: seatsOf(now, true), GPUs: a.readGPUs(r.Context()), Duty: now.Duty, Version: a.o.Version, ChampionCurve: [][2]float64{}}
	if c := now.Champion; c != nil {
		s.GainPerGPUHour = gainPerGPUHour(now.Study.Baseline-c.ValBPB, a.o.Loop.History())
		curve, err := read(r.Context(), a, func() ([][2]float64, error) { return a.curve.of(a.o.Journal, c.ID) })
		if s.ChampionCurve = curve; err != nil {
			s.ChampionCurve = nil // the rest is known all the same
		}
	}
	return s, nil
}

// gainPerGPUHour divides by the hours that all trials took on GPUs; nil before
// there are any.
func gainPerGPUHour(gain float64, h search.History) *float64 {
	seconds := 0.0
	for i := range h.Done {
		if t := &h.Done[i].Trial; !device.IsCPU(t.Device) && !strings.Contains(t.Kind, " CPU core") {
			seconds += h.Done[i].Outcome.WallSeconds
		}
	}
	if seconds == 0 {
		return nil
	}
	perHour := gain / (seconds / 3600)
	return &perHour
}

// championCurve is the champion's training curve, read once a champion.
type championCurve struct {
	mu     sync.Mutex
	id     int64
	points [][2]float64
}

func (c *championCurve) of(j Journal, id int64) ([][2]float64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.id == id {
		return c.points, nil
	}
	r, err := j.Trial(id)
	if err != nil {
		return nil, err
	}
	c.id, c.points = id, [][2]float64{}
	for _, p := range r.Outcome.Curve {
		at := 0.0
		if b := r.Trial.Budget; b.Steps > 0 {
			at = float64(p.Step) / float64(b.Steps)
		} else if b.Seconds > 0 {
			at = p.Seconds / b.Seconds
		}
		if finite(p.Loss) {
			c.points = append(c.points, [2]float64{min(1, at), p.Loss})
		}
	}
	return c.points, nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
