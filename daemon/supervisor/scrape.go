package supervisor

import (
	"maps"
	"slices"
	"sort"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/device"
	"autoresearchd/metrics"
	"autoresearchd/search"
)

// fresh is how long a figure that is measured every second is believed.
const fresh = 5 * time.Second

// tally sums the finished trials up, so that a scrape need not go through them.
type tally struct {
	n      int // how many they are
	sum    metrics.Snapshot
	counts map[metrics.TrialCount]int64 // whose Count is 0
	peaks  map[string]float64           // bytes of GPU memory, of the last trial on each device
}

func (t *tally) add(r search.Result) {
	m := &t.sum
	t.n++
	if t.counts == nil {
		t.counts, t.peaks = map[metrics.TrialCount]int64{}, map[string]float64{}
	}
	t.counts[metrics.TrialCount{Status: r.Outcome.Status, Strategy: r.Trial.Proposal.Strategy}]++
	m.Tokens += r.Outcome.Tokens
	m.WallSeconds += r.Outcome.WallSeconds
	m.LastTrial = r.Trial.StartedAt.Add(time.Duration(r.Outcome.WallSeconds * float64(time.Second)))
	if bpb, ok := r.Score(); ok {
		m.ValBPB = metrics.Some(bpb)
	}
	if r.Outcome.PeakVRAM > 0 {
		t.peaks[r.Trial.Device] = float64(r.Outcome.PeakVRAM)
	}
	if r.Decision.Verdict == search.Keep {
		m.LastKeep = m.LastTrial
	}
}

// rule takes in how candidates were decided. What counts only ever rises: one
// that is kept after it was discarded has been decided twice.
func (k *standing) rule(done []search.Result) {
	k.decisions, k.keeps, k.scores = map[search.Verdict]int64{}, map[string]int64{}, map[search.Verdict]float64{}
	for _, r := range search.Rulings(done) {
		decision := r.As.Decision()
		k.decisions[decision]++
		if decision == search.Keep {
			k.keeps[r.Strategy]++
		}
		if bpb, runs := r.Score(); runs > 0 {
			k.scores[decision] = bpb
		}
	}
}

// snapshot returns the sums, which the caller may keep and change.
func (t *tally) snapshot() metrics.Snapshot {
	m := t.sum
	for key, n := range t.counts {
		key.Count = n
		m.Trials = append(m.Trials, key)
	}
	sort.Slice(m.Trials, func(i, j int) bool {
		a, b := m.Trials[i], m.Trials[j]
		return a.Status < b.Status || a.Status == b.Status && a.Strategy < b.Strategy
	})
	return m
}

// snapshot is what a scrape reads of the study, apart from what runs.
func (b *Board) snapshot(c *config.Config, judge search.Judge) metrics.Snapshot {
	done, champion := b.study.History().Done, b.study.Champion()
	m := b.sums(done)
	m.Quarantined = map[int]bool{}
	m.Limit = c.Watchdog.Total
	if about := b.study.About(); about.Budget.Steps == 0 {
		m.Budget = time.Duration(about.Budget.Seconds * float64(time.Second))
	}
	m.LLM = &metrics.LLM{Enabled: c.LLM.Enabled, Cap: c.LLM.MaxCost}
	for _, model := range c.LLM.Models {
		m.LLM.Models = append(m.LLM.Models, model.Name)
	}
	known := b.standing(done, judge)
	m.Decisions, m.Keeps, m.DecisionValBPB = known.decisions, known.keeps, known.scores
	if champion != nil {
		m.BestValBPB, m.BaselineValBPB, m.Champion = metrics.Some(known.level), metrics.Some(known.start), champion.Commit
		if c := known.claim; c != nil {
			m.Claim = &metrics.Claim{Gain: c.Total, Low: c.Total - c.Within, High: c.Total + c.Within, Confirmed: c.Claimed}
		}
	}
	return m
}

// Snapshot is what a scrape reads.
func (s *Supervisor) Snapshot() metrics.Snapshot {
	c, judge := s.proposer.rules()
	m := s.board.snapshot(c, judge)
	s.proposer.show(&m)
	m.Strategies = append(slices.Collect(maps.Keys(m.Weights)), "baseline", c.Search.Strategy)
	if c.Judge.Rule == search.Confirm {
		m.Strategies = append(m.Strategies, search.Confirm)
	}
	for _, state := range SeatStates {
		m.SeatStates = append(m.SeatStates, string(state))
	}
	peaks := s.board.peaks()
	s.mu.Lock()
	defer s.mu.Unlock()
	m.ActiveSince, m.Duty = s.active, s.duty()
	for _, seat := range s.seats {
		name := seat.device.Name
		shown := metrics.Seat{Name: name, State: string(seat.does())}
		if peak, ok := peaks[name]; ok {
			shown.PeakVRAM = &peak
		}
		if r := seat.cur; r != nil {
			shown.Trial = r.metrics()
			if r.peak > 0 {
				shown.PeakVRAM = metrics.Some(float64(r.peak))
			}
		}
		if r := seat.next; r != nil {
			shown.Next = r.phase
		}
		if index, onGPU := device.CUDAIndex(name); onGPU && seat.quarantine != nil {
			m.Quarantined[index] = true
		}
		m.Seats = append(m.Seats, shown)
	}
	return m
}

// metrics are what a scrape reads of a running trial. The supervisor's mu is held.
func (r *running) metrics() *metrics.Running {
	m := &metrics.Running{Phase: r.phase, StartedAt: r.trial.StartedAt, Progress: metrics.Some(r.share())}
	if p := r.progress; p.Step > 0 || p.Loss > 0 {
		m.TrainLoss = metrics.Some(p.Loss)
		if r.phase == search.Train {
			m.TokensPerSecond, m.MFU = metrics.Some(p.TokPerSec), metrics.Some(p.MFU/100)
		}
	}
	if index, ok := device.CUDAIndex(r.trial.Device); ok && time.Since(r.measured) < fresh {
		m.GPUMemory = map[int]float64{index: float64(r.memory)}
	}
	return m
}

// show adds to a scrape what the proposer knows.
func (p *proposer) show(m *metrics.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.Weights, m.ConfigReload, m.ReloadFailed = p.weights, p.reloaded, p.refusal != ""
}
