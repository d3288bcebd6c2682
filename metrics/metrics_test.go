package metrics

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"autoresearchd/metrics/gpu"
	"autoresearchd/metrics/name"
	"autoresearchd/search"
)

var update = flag.Bool("update", false, "rewrite the golden files")

type source func() Snapshot

func (s source) Snapshot() Snapshot { return s() }

type fakeGPUs struct {
	gpu.GPUs
	samples []gpu.Sample
}

func (f fakeGPUs) Devices() []gpu.Device {
	return []gpu.Device{{Index: 0, UUID: "GPU-0a", Name: "NVIDIA H100", MemoryTotal: 80 << 30},
		{Index: 1, UUID: "GPU-1b", Name: "NVIDIA H100", MemoryTotal: 80 << 30, Instances: []gpu.Instance{{Label: "1:0", UUID: "MIG-2c", Name: "NVIDIA H100 MIG 1g.10gb", MemoryTotal: 10 << 30}}}}
}
func (f fakeGPUs) Driver() string                      { return "550.54.15" }
func (f fakeGPUs) Sample(context.Context) []gpu.Sample { return f.samples }

var full = Snapshot{
	ValBPB: Some(0.9981), BestValBPB: Some(0.9932), BaselineValBPB: Some(0.9979),
	Claim: &Claim{Gain: 0.0047, Low: 0.0041, High: 0.0053, Confirmed: true},
	Trials: []TrialCount{
		{search.Completed, "evolution", 41}, {search.Completed, "baseline", 1}, {search.OutOfMemory, "evolution", 3},
		{search.Crashed, "a\"b\\c\n\xff", 1},
	},
	Decisions:      map[search.Verdict]int64{search.Keep: 7, search.Discard: 35, search.Crash: 4},
	DecisionValBPB: map[search.Verdict]float64{search.Keep: 0.9932, search.Discard: 0.9981},
	Keeps:          map[string]int64{"baseline": 1, "evolution": 6},
	Weights:        map[string]float64{"evolution": 0.75, "llm": 0.25},
	Tokens:         21e9,
	WallSeconds:    16284,
	LastTrial:      time.Unix(1763900900, 0),
	LastKeep:       time.Unix(1763900000, 5e8),
	Duty:           Some(0.83),
	ActiveSince:    time.Unix(1763890001, 0),
	Budget:         5 * time.Minute,
	Limit:          10 * time.Minute,
	Champion:       "a1b2c3d",
	SeatStates:     []string{"idle", "running", "waiting", "quarantined", "resting"},
	Seats: []Seat{
		{Name: "cuda:0", State: "running", PeakVRAM: Some(45060e6), Trial: &Running{
			Phase: search.Train, StartedAt: time.Unix(1763901000, 0), Progress: Some(0.5),
			TrainLoss: Some(3.21), TokensPerSecond: Some(1.7e6), MFU: Some(0.4),
			GPUMemory: map[int]float64{0: 45e9},
		}},
		{Name: "cuda:1", State: "quarantined", PeakVRAM: Some(44e9)},
		{Name: "node7/cuda:0\n", State: "running", Next: search.Gate, Trial: &Running{
			Phase: search.Evaluate, StartedAt: time.Unix(1763900690, 0), Progress: Some(1), TrainLoss: Some(2.9),
		}},
	},
	Quarantined:  map[int]bool{1: true},
	ConfigReload: time.Unix(1763890000, 0),
	LLM:          &LLM{Enabled: true, Models: []string{"small", "never asked"}, Cap: 5, Cost: Some(4.2)},
}

func page(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

var others = regexp.MustCompile(`(?m)^(# (HELP|TYPE) )?(go|process)_.*\n`)

func TestPage(t *testing.T) {
	gpus := fakeGPUs{samples: []gpu.Sample{
		{Device: 0, Label: "0", MemoryUsed: Some(46e9), MemoryTotal: Some(80 << 30), Utilization: Some(0.97), Power: Some(650.5), Temperature: Some(61)},
		{Device: 1, Label: "1:0", MemoryUsed: Some(3e9), MemoryTotal: Some(10 << 30)},
	}}
	m := New(source(func() Snapshot { return full }), gpus, Build{Version: "0.1.0", Revision: "75ed646", Python: "3.12.1"})
	m.ObservePhase(search.Startup, 9300*time.Millisecond)
	m.ObservePhase(search.Train, 300200*time.Millisecond)
	m.ObserveKill(search.Train, "stall", 80*time.Millisecond)
	m.ObserveAsk("evolution", 700*time.Microsecond)
	m.ObserveJournal(3 * time.Millisecond)
	m.ObserveLLM("small", "ok", 12*time.Second, 9000, 400, 0.012)
	m.ObserveLLM("small", "timeout", 3*time.Minute, 0, 0, 0.02)
	m.Registry().MustRegister(Disk(t.TempDir()))

	got := page(t, m)
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(got, "\n"+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
	got = others.ReplaceAllString(got, "")
	got = regexp.MustCompile(`goversion="[^"]*"`).ReplaceAllString(got, `goversion="go"`)
	got = regexp.MustCompile(`(state_disk_\w+) [1-9]\S*\n`).ReplaceAllString(got, "$1 1e+12\n")
	const golden = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}

	problems, err := testutil.GatherAndLint(m.Registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "autoresearch_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	var shown []string
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(got, -1) {
		shown = append(shown, match[1])
	}
	if names := slices.Sorted(slices.Values(name.All)); !slices.Equal(shown, names) {
		t.Errorf("the page has\n%v\nand package name\n%v", shown, names)
	}
}

// TestNativeHistograms proves that one scrape carries both kinds of buckets
// where the scraper can read the native ones.
func TestNativeHistograms(t *testing.T) {
	m := New(source(func() Snapshot { return full }), nil, Build{})
	m.ObserveJournal(3 * time.Millisecond)
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	decoder := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Header()))
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); err != nil {
			t.Fatalf("no %s: %v", name.JournalWrites, err)
		}
		if family.GetName() != name.JournalWrites {
			continue
		}
		h := family.GetMetric()[0].GetHistogram()
		if len(h.GetBucket()) != len(journalBuckets) || h.Schema == nil || len(h.GetPositiveDelta()) != 1 || h.GetSampleCount() != 1 {
			t.Errorf("got %v", h)
		}
		return
	}
}

// TestModelFailures counts what the server did not do, for models that are
// configured.
func TestModelFailures(t *testing.T) {
	snap := Snapshot{LLM: &LLM{Enabled: true, Models: []string{"a", "b"}}}
	m := New(source(func() Snapshot { return snap }), nil, Build{})
	for _, outcome := range []string{"timeout", "ok", "unreachable", "cancelled", "rate_limited"} {
		m.ObserveLLM("a", outcome, time.Second, 0, 0, 0)
	}
	m.ObserveLLM("b", "server_error", time.Second, 0, 0, 0)
	m.ObserveLLM("b", "refused", time.Second, 0, 0, 0)
	m.ObserveLLM("gone", "server_error", time.Second, 0, 0, 0)
	failures := func() string {
		return strings.Join(regexp.MustCompile(`(?m)^autoresearch_llm_consecutive_failures.*`).FindAllString(page(t, m), -1), " ")
	}
	if got, want := failures(), `autoresearch_llm_consecutive_failures{model="a"} 2 autoresearch_llm_consecutive_failures{model="b"} 0`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	snap.LLM.Enabled = false
	if got := failures(); got != "" {
		t.Errorf("not enabled: %s", got)
	}
}

// What is not known is not on the page: no zero stands for it, but for what is
// counted.
func TestAbsent(t *testing.T) {
	m := New(source(func() Snapshot { return Snapshot{} }), nil, Build{})
	got := others.ReplaceAllString(page(t, m), "")
	var series []string
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "#") {
			name, _, _ := strings.Cut(line, " ")
			name, _, _ = strings.Cut(name, "{")
			if !slices.Contains(series, name) {
				series = append(series, name)
			}
		}
	}
	want := "build_info config_last_reload_successful decisions_total journal_write_seconds_bucket journal_write_seconds_sum journal_write_seconds_count tokens_total trial_phase_seconds_bucket trial_phase_seconds_sum trial_phase_seconds_count trial_wall_seconds_total watchdog_kill_seconds_bucket watchdog_kill_seconds_sum watchdog_kill_seconds_count watchdog_kills_total"
	if got := strings.ReplaceAll(strings.Join(series, " "), "autoresearch_", ""); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestKnownLabels has what can be counted begin at 0.
func TestKnownLabels(t *testing.T) {
	m := New(source(func() Snapshot { return Snapshot{Strategies: []string{"evolution", "baseline", "evolution"}} }), nil, Build{})
	m.Models([]string{"small"}, []string{"ok", "timeout"})
	got := page(t, m)
	for _, line := range []string{
		`watchdog_kills_total{cause="stall",phase="train"} 0`, `watchdog_kills_total{cause="startup",phase="startup"} 0`, `watchdog_kills_total{cause="total",phase="exit"} 0`,
		`trials_total{status="out of memory",strategy="evolution"} 0`, `trials_total{status="completed",strategy="baseline"} 0`, `strategy_keeps_total{strategy="evolution"} 0`,
		`decisions_total{decision="keep"} 0`, `trial_phase_seconds_count{phase="train"} 0`,
		`llm_requests_total{model="small",outcome="timeout"} 0`, `llm_tokens_total{kind="reply",model="small"} 0`, `llm_cost_dollars_total{model="small"} 0`,
	} {
		if !strings.Contains(got, "\nautoresearch_"+line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	if strings.Contains(got, `cause="stall",phase="exit"`) {
		t.Error("a kill is counted that cannot be")
	}
}

// A driver that does not answer for one device leaves out what it would have
// said, and the old figures with it.
func TestHungDriver(t *testing.T) {
	dgx := dgxh200.New()
	dgx.LookupSymbolFunc = func(symbol string) error { return errors.New(symbol + " is not there") }
	release := make(chan struct{})
	hang := false
	for i, device := range dgx.Devices {
		d := device.(*server.Device)
		d.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 97}, nvml.SUCCESS }
		d.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 61, nvml.SUCCESS }
		d.GetPowerUsageFunc = func() (uint32, nvml.Return) {
			if hang && i == 5 {
				<-release
			}
			return 650500, nvml.SUCCESS
		}
	}
	m := New(source(func() Snapshot { return full }), gpu.OpenLibrary(t.Context(), dgx), Build{})
	gpus := func() string {
		return strings.Join(regexp.MustCompile(`(?m)^autoresearch_gpu_(?:power_watts|info).*gpu="(\d)`).FindAllString(page(t, m), -1), "\n")
	}
	before := gpus()
	if strings.Count(before, "\n") != 2*8-1 {
		t.Fatalf("eight devices show as\n%s", before)
	}
	hang = true
	for range 2 {
		if got, want := gpus(), strings.Replace(before, "\nautoresearch_gpu_power_watts{gpu=\"5", "", 1); got != want {
			t.Errorf("while one hangs:\n%s\nwant\n%s", got, want)
		}
	}
	hang = false
	close(release)
	for end := time.Now().Add(time.Minute); gpus() != before; { // until the stuck call has returned
		if time.Now().After(end) {
			t.Fatalf("afterwards:\n%s\nwant\n%s", gpus(), before)
		}
	}
}

// A state that does not answer leaves the rest of the page well formed.
func TestBusySource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		m := New(source(func() Snapshot { <-release; return full }), fakeGPUs{samples: []gpu.Sample{{Device: 1, Label: "1", Power: Some(70)}}}, Build{})
		for i := range 3 {
			start := time.Now()
			got := page(t, m)
			if d := time.Since(start); d > snapshotDeadline || i > 0 && d > 0 {
				t.Errorf("scrape %d took %v", i, d)
			}
			if strings.Contains(got, "trial_running") || strings.Contains(got, "gpu_quarantined") ||
				!strings.Contains(got, `autoresearch_gpu_power_watts{gpu="1"} 70`) || !strings.Contains(got, "autoresearch_build_info") {
				t.Errorf("got:\n%s", got)
			}
		}
	})
}
