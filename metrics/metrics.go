package metrics

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"autoresearchd/metrics/gpu"
	"autoresearchd/metrics/internal/gate"
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
	ValBPB         *float64 // bits per byte of the last scored trial
	BestValBPB     *float64 // of the champion
	BaselineValBPB *float64
	Trials         []TrialCount // finished trials by status and strategy, each pair once
	Decisions      map[search.Verdict]int64
	Tokens         int64     // training tokens consumed by all trials
	PeakVRAM       *float64  // bytes; of the running trial, else of the last one
	LastKeep       time.Time // when a trial was last kept
	Duty           *float64  // 0 to 1: counted training time over wall time
	Champion       string    // commit
	ConfigReload   time.Time // when the configuration was last put in force
	Running        *Running  // nil between trials
	Quarantined    map[int]bool
}

// TrialCount is a number of finished trials.
type TrialCount struct {
	Status   search.Status
	Strategy string
	Count    int64
}

// Running is the trial in progress.
type Running struct {
	Phase           search.Phase
	StartedAt       time.Time
	Progress        *float64 // 0 to 1: the share of the budget that is spent
	TrainLoss       *float64
	TokensPerSecond *float64
	MFU             *float64 // 0 to 1
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
}

// Buckets in seconds, for a world in which a trial trains for five minutes.
var (
	phaseBuckets   = []float64{0.5, 1, 2, 5, 10, 20, 30, 60, 120, 180, 240, 300, 330, 360, 420, 480, 600, 900, 1800, 3600}
	killBuckets    = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5, 3, 5, 10, 30}
	askBuckets     = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120}
	llmBuckets     = []float64{0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 600}
	journalBuckets = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}
)

const namespace = "autoresearch"

// New builds a registry of its own. gpus may be nil.
func New(source Source, gpus gpu.GPUs, build Build) *Metrics {
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		phase:    prometheus.NewHistogramVec(histogram("trial_phase_seconds", "Time that finished trials spent in each phase.", phaseBuckets), []string{"phase"}),
		kills: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "watchdog_kills_total", Help: "Trials that the watchdog killed, by phase and by the deadline that fired.",
		}, []string{"phase", "cause"}),
		killTime: prometheus.NewHistogram(histogram("watchdog_kill_seconds", "Time from a watchdog's decision until no process of the trial was left.", killBuckets)),
		ask:      prometheus.NewHistogramVec(histogram("search_ask_seconds", "Time that a strategy took to propose a trial.", askBuckets), []string{"strategy"}),
		journal:  prometheus.NewHistogram(histogram("journal_write_seconds", "Time of a durable write to the journal.", journalBuckets)),
		llmRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "llm_requests_total", Help: "Requests to language models, by what came of them.",
		}, []string{"model", "outcome"}),
		llmTokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "llm_tokens_total", Help: "Tokens of prompts and replies, as the server counts them.",
		}, []string{"model", "kind"}),
		llmCost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "llm_cost_dollars_total", Help: "What requests to language models have cost, by the configured prices.",
		}, []string{"model"}),
		llmTime: prometheus.NewHistogramVec(histogram("llm_request_seconds", "Time of a request to a language model.", llmBuckets), []string{"model"}),
	}
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "The program that runs; always 1.",
		ConstLabels: prometheus.Labels{"version": clean(build.Version), "revision": clean(build.Revision), "goversion": runtime.Version(), "python": clean(build.Python)},
	}, func() float64 { return 1 })
	m.registry.MustRegister(
		m.phase, m.kills, m.killTime, m.ask, m.journal, m.llmRequests, m.llmTokens, m.llmCost, m.llmTime, info,
		&state{source: source, gpus: gpus},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Registry returns the registry, for what others want to add to the page.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler serves the page. A part that fails is left out.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
		Timeout:           5 * time.Second,
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

// ObserveLLM counts a request to a language model. outcome is a word of a
// small set: "ok", "timeout", "rate_limited", …
func (m *Metrics) ObserveLLM(model, outcome string, d time.Duration, promptTokens, replyTokens int, dollars float64) {
	model = clean(model)
	m.llmRequests.WithLabelValues(model, clean(outcome)).Inc()
	m.llmTokens.WithLabelValues(model, "prompt").Add(float64(max(0, promptTokens)))
	m.llmTokens.WithLabelValues(model, "reply").Add(float64(max(0, replyTokens)))
	m.llmCost.WithLabelValues(model).Add(max(0, dollars))
	m.llmTime.WithLabelValues(model).Observe(d.Seconds())
}

// clean keeps a label from breaking the page.
func clean(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	valBPB       = desc("val_bpb", "Validation score of the last scored trial, in bits per byte.")
	bestValBPB   = desc("best_val_bpb", "Validation score of the champion, in bits per byte.")
	baseline     = desc("baseline_val_bpb", "Validation score of the baseline, in bits per byte.")
	trials       = desc("trials_total", "Finished trials.", "status", "strategy")
	decisions    = desc("decisions_total", "Decisions on finished trials.", "decision")
	running      = desc("trial_running", "Whether a trial is running.")
	phaseInfo    = desc("trial_phase_info", "The phase of the running trial; always 1.", "phase")
	progress     = desc("trial_progress_ratio", "Share of the running trial's budget that is spent.")
	trainLoss    = desc("train_loss", "Training loss of the running trial as its script prints it.")
	throughput   = desc("throughput_tokens_per_second", "Training tokens a second of the running trial.")
	mfu          = desc("mfu_ratio", "Model FLOPs utilisation of the running trial.")
	tokens       = desc("tokens_total", "Training tokens consumed by all trials.")
	peakVRAM     = desc("trial_peak_vram_bytes", "Peak GPU memory of the running trial, else of the last one, by NVML.")
	trialStart   = desc("trial_start_timestamp_seconds", "When the running trial started.")
	lastKeep     = desc("last_keep_timestamp_seconds", "When a trial was last kept.")
	duty         = desc("duty_ratio", "Counted training time over wall time.")
	configReload = desc("config_reload_success_timestamp_seconds", "When the configuration was last put in force.")
	champion     = desc("champion_info", "The champion's commit; always 1.", "commit")

	gpuUsed        = desc("gpu_memory_used_bytes", "GPU memory in use by all processes.", "gpu")
	gpuTotal       = desc("gpu_memory_total_bytes", "GPU memory in all.", "gpu")
	gpuUtilization = desc("gpu_utilization_ratio", "Share of time in which a kernel ran.", "gpu")
	gpuPower       = desc("gpu_power_watts", "Power draw.", "gpu")
	gpuTemperature = desc("gpu_temperature_celsius", "Temperature of the GPU's core.", "gpu")
	gpuInfo        = desc("gpu_info", "A GPU of this machine; always 1.", "gpu", "uuid", "name", "driver")
	gpuQuarantined = desc("gpu_quarantined", "Whether the GPU gets no trials because its memory was not given back.", "gpu")
)

// state shows the Snapshot and the GPUs.
type state struct {
	source Source
	gpus   gpu.GPUs
	gate   gate.Gate
}

func (s *state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		valBPB, bestValBPB, baseline, trials, decisions, running, phaseInfo, progress, trainLoss, throughput, mfu, tokens,
		peakVRAM, trialStart, lastKeep, duty, configReload, champion,
		gpuUsed, gpuTotal, gpuUtilization, gpuPower, gpuTemperature, gpuInfo, gpuQuarantined,
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
		record(ch, snap)
	}
	for _, d := range found {
		index := strconv.Itoa(d.Index)
		gauge(ch, gpuInfo, 1, index, clean(d.UUID), clean(d.Name), clean(s.gpus.Driver()))
		if ok {
			gauge(ch, gpuQuarantined, oneIf(snap.Quarantined[d.Index]), index)
		}
	}
	for _, r := range <-samples { // a GPU that did not answer is not among them
		index := strconv.Itoa(r.Device)
		some(ch, gpuUsed, r.MemoryUsed, index)
		some(ch, gpuTotal, r.MemoryTotal, index)
		some(ch, gpuUtilization, r.Utilization, index)
		some(ch, gpuPower, r.Power, index)
		some(ch, gpuTemperature, r.Temperature, index)
	}
}

func record(ch chan<- prometheus.Metric, snap Snapshot) {
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	some(ch, valBPB, snap.ValBPB)
	some(ch, bestValBPB, snap.BestValBPB)
	some(ch, baseline, snap.BaselineValBPB)
	for _, t := range snap.Trials {
		counter(trials, t.Count, clean(string(t.Status)), clean(t.Strategy))
	}
	for _, v := range []search.Verdict{search.Keep, search.Discard, search.Crash} {
		counter(decisions, snap.Decisions[v], string(v))
	}
	counter(tokens, snap.Tokens)
	some(ch, peakVRAM, snap.PeakVRAM)
	moment(ch, lastKeep, snap.LastKeep)
	some(ch, duty, snap.Duty)
	moment(ch, configReload, snap.ConfigReload)
	if snap.Champion != "" {
		gauge(ch, champion, 1, clean(snap.Champion))
	}
	gauge(ch, running, oneIf(snap.Running != nil))
	if r := snap.Running; r != nil {
		if r.Phase != "" {
			gauge(ch, phaseInfo, 1, clean(string(r.Phase)))
		}
		moment(ch, trialStart, r.StartedAt)
		some(ch, progress, r.Progress)
		some(ch, trainLoss, r.TrainLoss)
		some(ch, throughput, r.TokensPerSecond)
		some(ch, mfu, r.MFU)
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

func moment(ch chan<- prometheus.Metric, d *prometheus.Desc, t time.Time) {
	if !t.IsZero() {
		gauge(ch, d, float64(t.UnixMilli())/1000)
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
