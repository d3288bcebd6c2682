package metrics

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"autoresearchd/daemon/watchdog"
	"autoresearchd/metrics/gpu"
	"autoresearchd/metrics/internal/gate"
	"autoresearchd/metrics/name"
	"autoresearchd/search"
)

// snapshotDeadline bounds a Source that is busy: a scrape answers within a second.
const snapshotDeadline = 500 * time.Millisecond

// Source owns the state; the supervisor is one. Snapshot is called from any
// goroutine, once a scrape, and should not wait for disk or a trial.
type Source interface {
	Snapshot() Snapshot
}

// Snapshot is what the owner knows at one moment. Nil pointers, zero times and
// empty strings are what it does not know; they are left out of the page.
type Snapshot struct {
	ValBPB         *float64                   // bits per byte of the last scored trial
	BestValBPB     *float64                   // of the champion, the mean of its runs
	BaselineValBPB *float64                   // the mean of its runs
	Claim          *Claim                     // nil: the judge claims nothing
	DecisionValBPB map[search.Verdict]float64 // of the last candidate with each decision, the mean of its runs
	Trials         []TrialCount               // finished trials by status and strategy, each pair once
	Strategies     []string                   // that may propose, whether they have or not
	Decisions      map[search.Verdict]int64   // on candidates, when they were made
	Keeps          map[string]int64           // kept candidates by strategy
	Weights        map[string]float64         // chance of each strategy to be the next that a portfolio asks
	Tokens         int64                      // training tokens consumed by all trials
	WallSeconds    float64                    // of all trials
	LastTrial      time.Time                  // when a trial last ended
	LastKeep       time.Time                  // when a candidate was last kept
	Duty           *float64                   // 0 to 1: counted training time over wall time
	ActiveSince    time.Time                  // since when trials are to run; zero while the study is paused or over
	Budget         time.Duration              // counted training time of a trial; 0: the budget is in steps
	Limit          time.Duration              // wall time that the watchdog leaves a trial; 0: none
	Champion       string                     // commit
	ConfigReload   time.Time                  // when the configuration was last put in force
	ReloadFailed   bool                       // the last try to put another one in force failed
	Seats          []Seat                     // where trials run
	SeatStates     []string                   // every state that a seat can be in
	Quarantined    map[int]bool
	LLM            *LLM // nil: not known
}

// Claim is what the judge says of the champion.
type Claim struct {
	Gain, Low, High float64 // of the last confirmed gain over the baseline, in bits per byte, and its 95 % interval; 0: none is confirmed
	Confirmed       bool    // whether the champion's is
}

// TrialCount is a number of finished trials.
type TrialCount struct {
	Status   search.Status
	Strategy string
	Count    int64
}

// Seat is a place for one trial at a time.
type Seat struct {
	Name     string       // unique in the study
	State    string       // one of Snapshot.SeatStates
	Trial    *Running     // nil between trials
	Next     search.Phase // of the trial that is getting ready beside it; empty: none
	PeakVRAM *float64     // bytes; of the running trial, else of the last one there
}

// Running is the trial in progress on a seat.
type Running struct {
	Phase           search.Phase
	StartedAt       time.Time
	Progress        *float64 // 0 to 1: the share of the budget that is spent
	TrainLoss       *float64
	TokensPerSecond *float64
	MFU             *float64        // 0 to 1
	GPUMemory       map[int]float64 // bytes that its processes hold, by device
}

// LLM is the use of language models.
type LLM struct {
	Enabled bool
	Models  []string // of the configuration in force
	Cap     float64  // dollars; 0: none
	Cost    *float64 // dollars of the study so far, over restarts
}

// Some returns a pointer to v, for the fields of a Snapshot.
func Some(v float64) *float64 { return &v }

// Build says which program this is. Empty fields are empty labels.
type Build struct {
	Version  string
	Revision string // of autoresearchd's own source
	Python   string // the CPython that is linked in
}

// Metrics is the registry and the events that are counted in it.
type Metrics struct {
	registry *prometheus.Registry
	phase    *prometheus.HistogramVec
	kills    *prometheus.CounterVec
	killTime prometheus.Histogram
	ask      *prometheus.HistogramVec
	journal  prometheus.Histogram

	llmRequests *prometheus.CounterVec
	llmTokens   *prometheus.CounterVec
	llmCost     *prometheus.CounterVec
	llmTime     *prometheus.HistogramVec

	mu       sync.Mutex
	failures map[string]int // requests in a row that failed, by model
}

// Buckets in seconds, for a world in which a trial trains for five minutes.
var (
	phaseBuckets   = []float64{0.5, 1, 2, 5, 10, 20, 30, 60, 120, 180, 240, 300, 330, 360, 420, 480, 600, 900, 1800, 3600}
	killBuckets    = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5, 3, 5, 10, 30}
	askBuckets     = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120}
	llmBuckets     = []float64{0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 600}
	journalBuckets = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}
)

// New builds a registry of its own. gpus may be nil.
func New(source Source, gpus gpu.GPUs, build Build) *Metrics {
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		failures: map[string]int{},
		phase:    prometheus.NewHistogramVec(histogram(name.PhaseSeconds, "Time that finished trials spent in each phase.", phaseBuckets), []string{"phase"}),
		kills: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name.Kills, Help: "Trials that the watchdog killed, by phase and by the deadline that fired.",
		}, []string{"phase", "cause"}),
		killTime: prometheus.NewHistogram(histogram(name.KillSeconds, "Time from a watchdog's decision until no process of the trial was left.", killBuckets)),
		ask:      prometheus.NewHistogramVec(histogram(name.AskSeconds, "Time that a strategy took to propose a trial.", askBuckets), []string{"strategy"}),
		journal:  prometheus.NewHistogram(histogram(name.JournalWrites, "Time of a durable write to the journal.", journalBuckets)),
		llmRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name.LLMRequests, Help: "Requests to language models, by what came of them.",
		}, []string{"model", "outcome"}),
		llmTokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name.LLMTokens, Help: "Tokens of prompts and replies, as the server counts them.",
		}, []string{"model", "kind"}),
		llmCost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name.LLMCost, Help: "What requests to language models have cost, by the configured prices.",
		}, []string{"model"}),
		llmTime: prometheus.NewHistogramVec(histogram(name.LLMSeconds, "Time of a request to a language model.", llmBuckets), []string{"model"}),
	}
	// What can be counted begins at 0: to Prometheus, a counter that is first
	// seen at 1 has not risen.
	for _, p := range search.Phases {
		m.phase.WithLabelValues(string(p))
		for _, cause := range watchdog.Causes(p) {
			m.kills.WithLabelValues(string(p), cause)
		}
	}
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: name.Build, Help: "The program that runs; always 1.",
		ConstLabels: prometheus.Labels{"version": clean(build.Version), "revision": clean(build.Revision), "goversion": runtime.Version(), "python": clean(build.Python)},
	}, func() float64 { return 1 })
	m.registry.MustRegister(
		m.phase, m.kills, m.killTime, m.ask, m.journal, m.llmRequests, m.llmTokens, m.llmCost, m.llmTime, info,
		&state{source: source, gpus: gpus, failures: m.failed},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Registry returns the registry, for what others want to add to the page.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler serves the page. A part that fails is left out, and each part that
// could wait for something has a deadline of its own.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	})
}

// ObservePhase counts the time that a trial spent in a phase.
func (m *Metrics) ObservePhase(p search.Phase, d time.Duration) {
	m.phase.WithLabelValues(clean(string(p))).Observe(d.Seconds())
}

// ObserveKill counts a trial that the watchdog killed: in which phase, by
// which deadline (a word of a small set: "stall", "total", …), and how long it
// took until the trial's group was empty.
func (m *Metrics) ObserveKill(p search.Phase, cause string, d time.Duration) {
	m.kills.WithLabelValues(clean(string(p)), clean(cause)).Inc()
	m.killTime.Observe(d.Seconds())
}

// ObserveAsk counts the time that a strategy took to answer.
func (m *Metrics) ObserveAsk(strategy string, d time.Duration) {
	m.ask.WithLabelValues(clean(strategy)).Observe(d.Seconds())
}

// ObserveJournal counts a durable write.
func (m *Metrics) ObserveJournal(d time.Duration) { m.journal.Observe(d.Seconds()) }

// Models names the language models that may be asked, so that what is counted of
// them begins at 0.
func (m *Metrics) Models(names, outcomes []string) {
	for _, model := range names {
		model = clean(model)
		for _, outcome := range outcomes {
			m.llmRequests.WithLabelValues(model, outcome)
		}
		for _, kind := range []string{"prompt", "reply"} {
			m.llmTokens.WithLabelValues(model, kind)
		}
		m.llmCost.WithLabelValues(model)
		m.llmTime.WithLabelValues(model)
	}
}

// ObserveLLM counts a request to a language model. outcome is a word of a
// small set: "ok", "timeout", "rate_limited", …
func (m *Metrics) ObserveLLM(model, outcome string, d time.Duration, promptTokens, replyTokens int, dollars float64) {
	model = clean(model)
	m.llmRequests.WithLabelValues(model, clean(outcome)).Inc()
	m.llmTokens.WithLabelValues(model, "prompt").Add(float64(max(0, promptTokens)))
	m.llmTokens.WithLabelValues(model, "reply").Add(float64(max(0, replyTokens)))
	m.llmCost.WithLabelValues(model).Add(max(0, dollars))
	m.llmTime.WithLabelValues(model).Observe(d.Seconds())
	m.mu.Lock()
	defer m.mu.Unlock()
	switch outcome {
	case "ok", "truncated", "empty", "refused": // the server does its part
		m.failures[model] = 0
	case "cancelled": // nobody waited to see
	default:
		m.failures[model]++
	}
}

// failed returns how many requests to a model have failed in a row.
func (m *Metrics) failed(model string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failures[model]
}

// clean keeps a label from breaking the page.
func clean(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	valBPB         = desc(name.ValBPB, "Validation score of the last scored trial, in bits per byte.")
	bestValBPB     = desc(name.BestValBPB, "Validation score of the champion, the mean of its runs, in bits per byte.")
	baseline       = desc(name.BaselineValBPB, "Validation score of the baseline, the mean of its runs, in bits per byte.")
	decisionValBPB = desc(name.DecisionValBPB, "Validation score of the last candidate with this decision, the mean of its runs, in bits per byte.", "decision")
	claimedGain    = desc(name.ClaimedGain, "Bits per byte below the baseline that the study claims: the gain of the last candidate whose gain is confirmed; 0 while none is.")
	claimedLow     = desc(name.ClaimedGainLow, "Lower end of the claimed gain's 95 % interval, in bits per byte.")
	claimedHigh    = desc(name.ClaimedGainHigh, "Upper end of the claimed gain's 95 % interval, in bits per byte.")
	confirmed      = desc(name.Confirmed, "Whether the champion's gain is confirmed on paired seeds.")
	trials         = desc(name.Trials, "Finished runs of candidates.", "status", "strategy")
	decisions      = desc(name.Decisions, "Candidates that were decided; one that is kept after all counts again.", "decision")
	keeps          = desc(name.StrategyKeeps, "Candidates that were kept, by the strategy that proposed them.", "strategy")
	weight         = desc(name.Weight, "Chance of a strategy to be the next that the portfolio asks.", "strategy")
	running        = desc(name.TrialRunning, "Whether a trial is running on the seat.", "seat")
	seatState      = desc(name.SeatState, "Whether the seat is in this state.", "seat", "state")
	phaseInfo      = desc(name.TrialPhase, "The phase of the running trial, and of one that is getting ready beside it; always 1.", "seat", "phase")
	progress       = desc(name.TrialProgress, "Share of the running trial's budget that is spent.", "seat")
	trainLoss      = desc(name.TrainLoss, "Training loss of the running trial as its script prints it.", "seat")
	throughput     = desc(name.Throughput, "Training tokens a second of the running trial.", "seat")
	mfu            = desc(name.MFU, "Model FLOPs utilisation of the running trial.", "seat")
	trialGPU       = desc(name.TrialGPU, "GPU memory that the running trial's processes hold, by NVML.", "seat", "gpu")
	tokens         = desc(name.Tokens, "Training tokens consumed by all trials.")
	wallSeconds    = desc(name.WallSeconds, "Wall time of all finished trials.")
	peakVRAM       = desc(name.TrialPeakVRAM, "Peak GPU memory of the seat's running trial, else of its last one, by NVML.", "seat")
	trialStart     = desc(name.TrialStart, "When the running trial started.", "seat")
	trialBudget    = desc(name.TrialBudget, "Counted training time that a trial has; absent where the budget is in steps.")
	trialLimit     = desc(name.TrialLimit, "Wall time after which the watchdog ends a trial.")
	lastTrial      = desc(name.LastTrial, "When a trial last ended.")
	lastKeep       = desc(name.LastKeep, "When a candidate was last kept.")
	duty           = desc(name.Duty, "Counted training time over wall time.")
	activeSince    = desc(name.ActiveSince, "Since when trials are to run; absent while the study is paused or over.")
	reloadTime     = desc(name.ReloadTime, "When the configuration was last put in force.")
	reloadOK       = desc(name.ReloadOK, "Whether the last try to put another configuration in force succeeded.")
	champion       = desc(name.Champion, "The champion's commit; always 1.", "commit")

	gpuUsed        = desc(name.GPUUsed, "GPU memory in use by all processes.", "gpu")
	gpuTotal       = desc(name.GPUTotal, "GPU memory in all.", "gpu")
	gpuUtilization = desc(name.GPUUtilization, "Share of time in which a kernel ran.", "gpu")
	gpuPower       = desc(name.GPUPower, "Power draw.", "gpu")
	gpuTemperature = desc(name.GPUTemperature, "Temperature of the GPU's core.", "gpu")
	gpuInfo        = desc(name.GPUInfo, "A GPU of this machine, or a MIG instance of one (gpu=\"0:1\"); always 1.", "gpu", "uuid", "name", "driver")
	gpuQuarantined = desc(name.GPUQuarantined, "Whether the GPU gets no trials because its memory was not given back.", "gpu")

	llmEnabled  = desc(name.LLMEnabled, "Whether the configuration in force lets language models be asked.")
	llmFailures = desc(name.LLMFailures, "Requests in a row to which the model server gave no sound answer.", "model")
	llmStudy    = desc(name.LLMStudy, "What language models have cost this study, over restarts, by the configured prices.")
	llmCap      = desc(name.LLMCap, "What language models may cost this study; absent without a cap.")
)

// state shows the Snapshot and the GPUs.
type state struct {
	source   Source
	gpus     gpu.GPUs
	failures func(model string) int
	gate     gate.Gate
}

func (s *state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		valBPB, bestValBPB, baseline, decisionValBPB, claimedGain, claimedLow, claimedHigh, confirmed, trials, decisions, keeps, weight, running, seatState, phaseInfo, progress, trainLoss, throughput, mfu, trialGPU,
		tokens, wallSeconds, peakVRAM, trialStart, trialBudget, trialLimit, lastTrial, lastKeep, duty, activeSince, reloadTime, reloadOK, champion,
		gpuUsed, gpuTotal, gpuUtilization, gpuPower, gpuTemperature, gpuInfo, gpuQuarantined,
		llmEnabled, llmFailures, llmStudy, llmCap,
	} {
		ch <- d
	}
}

func (s *state) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), snapshotDeadline)
	defer cancel()
	var found []gpu.Device
	samples := make(chan []gpu.Sample, 1)
	if s.gpus != nil {
		found = s.gpus.Devices()
		go func() { samples <- s.gpus.Sample(ctx) }()
	} else {
		samples <- nil
	}
	snap, ok := gate.Call(ctx, &s.gate, s.source.Snapshot)
	if ok {
		s.record(ch, snap)
	}
	for _, d := range found {
		index := strconv.Itoa(d.Index)
		gauge(ch, gpuInfo, 1, index, clean(d.UUID), clean(d.Name), clean(s.gpus.Driver()))
		for _, i := range d.Instances {
			gauge(ch, gpuInfo, 1, i.Label, clean(i.UUID), clean(i.Name), clean(s.gpus.Driver()))
		}
		if ok {
			gauge(ch, gpuQuarantined, oneIf(snap.Quarantined[d.Index]), index)
		}
	}
	for _, r := range <-samples { // a GPU that did not answer is not among them
		some(ch, gpuUsed, r.MemoryUsed, r.Label)
		some(ch, gpuTotal, r.MemoryTotal, r.Label)
		some(ch, gpuUtilization, r.Utilization, r.Label)
		some(ch, gpuPower, r.Power, r.Label)
		some(ch, gpuTemperature, r.Temperature, r.Label)
	}
}

func (s *state) record(ch chan<- prometheus.Metric, snap Snapshot) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	some(ch, valBPB, snap.ValBPB)
	some(ch, bestValBPB, snap.BestValBPB)
	some(ch, baseline, snap.BaselineValBPB)
	if c := snap.Claim; c != nil {
		gauge(ch, claimedGain, c.Gain)
		gauge(ch, claimedLow, c.Low)
		gauge(ch, claimedHigh, c.High)
		gauge(ch, confirmed, oneIf(c.Confirmed))
	}
	for verdict, bpb := range snap.DecisionValBPB {
		gauge(ch, decisionValBPB, bpb, string(verdict))
	}
	// Every status of every strategy that is known, as in New.
	counts := map[string]map[search.Status]int64{}
	for _, strategy := range snap.Strategies {
		counts[strategy] = map[search.Status]int64{}
	}
	for _, t := range snap.Trials {
		of := counts[t.Strategy]
		if of == nil {
			of = map[search.Status]int64{}
			counts[t.Strategy] = of
		}
		of[t.Status] = t.Count
	}
	for strategy, of := range counts {
		for _, status := range search.Statuses {
			counter(trials, float64(of[status]), string(status), clean(strategy))
		}
		counter(keeps, float64(snap.Keeps[strategy]), clean(strategy))
	}
	for _, v := range []search.Verdict{search.Keep, search.Discard, search.Crash} {
		counter(decisions, float64(snap.Decisions[v]), string(v))
	}
	for strategy, chance := range snap.Weights {
		gauge(ch, weight, chance, clean(strategy))
	}
	counter(tokens, float64(snap.Tokens))
	counter(wallSeconds, snap.WallSeconds)
	moment(ch, lastTrial, snap.LastTrial)
	moment(ch, lastKeep, snap.LastKeep)
	some(ch, duty, snap.Duty)
	moment(ch, activeSince, snap.ActiveSince)
	duration(ch, trialBudget, snap.Budget)
	duration(ch, trialLimit, snap.Limit)
	moment(ch, reloadTime, snap.ConfigReload)
	gauge(ch, reloadOK, oneIf(!snap.ReloadFailed))
	if snap.Champion != "" {
		gauge(ch, champion, 1, clean(snap.Champion))
	}
	for _, seat := range snap.Seats {
		seat.record(ch, snap.SeatStates)
	}
	if l := snap.LLM; l != nil {
		gauge(ch, llmEnabled, oneIf(l.Enabled))
		if l.Enabled {
			for _, model := range l.Models {
				gauge(ch, llmFailures, float64(s.failures(clean(model))), clean(model))
			}
		}
		some(ch, llmStudy, l.Cost)
		if l.Cap > 0 {
			gauge(ch, llmCap, l.Cap)
		}
	}
}

func (s Seat) record(ch chan<- prometheus.Metric, states []string) {
	seat := clean(s.Name)
	for _, state := range states {
		gauge(ch, seatState, oneIf(s.State == state), seat, state)
	}
	gauge(ch, running, oneIf(s.Trial != nil), seat)
	some(ch, peakVRAM, s.PeakVRAM, seat)
	phases := map[search.Phase]bool{s.Next: true} // each once: the page knows a series only once
	if r := s.Trial; r != nil {
		phases[r.Phase] = true
		moment(ch, trialStart, r.StartedAt, seat)
		some(ch, progress, r.Progress, seat)
		some(ch, trainLoss, r.TrainLoss, seat)
		some(ch, throughput, r.TokensPerSecond, seat)
		some(ch, mfu, r.MFU, seat)
		for device, bytes := range r.GPUMemory {
			gauge(ch, trialGPU, bytes, seat, strconv.Itoa(device))
		}
	}
	for phase := range phases {
		if phase != "" {
			gauge(ch, phaseInfo, 1, seat, clean(string(phase)))
		}
	}
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func some(ch chan<- prometheus.Metric, d *prometheus.Desc, v *float64, labels ...string) {
	if v != nil {
		gauge(ch, d, *v, labels...)
	}
}

func moment(ch chan<- prometheus.Metric, d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		gauge(ch, d, float64(t.UnixMilli())/1000, labels...)
	}
}

func duration(ch chan<- prometheus.Metric, d *prometheus.Desc, v time.Duration) {
	if v > 0 {
		gauge(ch, d, v.Seconds())
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
