package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/trainer"
	"autoresearchd/metrics"
	"autoresearchd/search"
	_ "autoresearchd/search/evolution"
)

// metronome is a trainer whose trials do nothing but tell of themselves, as one
// on a GPU does: three steps a second for five minutes, with what the script
// prints of each, and the memory once a second. The first trial of a seat is
// shorter, by its number, so that not all end at once.
type metronome struct{ swift }

const beat, long = time.Second / 3, 300.0 // between two steps; seconds

func (m *metronome) Run(ctx context.Context, o trainer.Order, observe func(trainer.Event)) (search.Outcome, error) {
	if err := m.journal.SetSeat(o.ID, "{}"); err != nil {
		return search.Outcome{}, err
	}
	last := long
	if o.ID <= 65 {
		last = long * float64(o.ID) / 65
	}
	observe(trainer.Event{Phase: search.Train})
	tick := time.NewTicker(beat)
	defer tick.Stop()
	begun := time.Now()
	for step := 1; ; step++ {
		select {
		case <-ctx.Done():
			return search.Outcome{Status: search.Interrupted, Detail: "cancelled"}, nil
		case <-tick.C:
		}
		counted := time.Since(begun).Seconds()
		observe(trainer.Event{Step: &trainer.Step{Number: step, Tokens: int64(step) << 19, Counted: counted}})
		observe(trainer.Event{Progress: &trainer.Progress{Step: step, Loss: 3 + 6/float64(step), TokPerSec: 1.6e6, MFU: 40}})
		if step%3 == 0 {
			observe(trainer.Event{Memory: 45 << 30})
		}
		if counted >= last {
			return yield(o.Source), nil
		}
	}
}

// BenchmarkSeats measures what the loop costs beside so many seats with scripted
// trainers, its own processor time and that of the git that it starts, in
// percent of a core over a minute (goal: less than 5); and then how long a scrape
// and a status take (goal of a scrape: 50 ms).
func BenchmarkSeats(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				cost(b, n)
			}
		})
	}
}

func cost(b *testing.B, seats int) {
	dir := b.TempDir()
	newWorkspace(b, dir)
	c, err := settings(dir, `search.strategy="evolution"`, `study.baseline=1.0`)
	must(b, err)
	repo, err := lineage.Open(b.Context(), c.Study.Workspace)
	must(b, err)
	j, err := journal.Open(c.Study.State)
	must(b, err)
	defer j.Close()
	var devices []device.Device
	for i := range seats {
		devices = append(devices, device.Device{Name: fmt.Sprintf("cuda:%d", i), Kind: "GPU"})
	}
	s, err := begin(b.Context(), j, repo, Options{Config: c, Registry: search.Default, Devices: devices, Trainer: &metronome{swift{c.Study.State, j}}})
	must(b, err)
	measureCost(b, s, seats)
}

// measureCost reports what a loop takes of a core once all its seats train, and
// how long a scrape and a status take then.
func measureCost(b *testing.B, s *Supervisor, seats int) {
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for len(s.Now().Running()) < seats {
		select {
		case err := <-ended:
			b.Fatal(err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	before, done := processorTime(b), len(s.History().Done)
	time.Sleep(time.Minute)
	b.ReportMetric(100*(processorTime(b)-before).Seconds()/60, "core-%")
	b.ReportMetric(float64(len(s.History().Done)-done), "trials")

	for _, r := range s.History().Done[done:] {
		if r.Outcome.Status != search.Completed {
			b.Errorf("trial %d: %s, %s", r.Trial.ID, r.Outcome.Status, r.Outcome.Detail)
		}
	}

	page := metrics.New(s, nil, metrics.Build{}).Handler()
	report(b, "scrape", func() {
		page.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
	})
	report(b, "status", func() {
		_, err := json.Marshal(s.Status())
		must(b, err)
	})
	b.ReportMetric(0, "ns/op")
	cancel()
	must(b, <-ended)
}

// processorTime is the processor time of this process and of those that it has awaited.
func processorTime(b *testing.B) time.Duration {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		must(b, unix.Getrusage(who, &u))
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// report measures 300 calls: the median and the 99th percentile, milliseconds.
func report(b *testing.B, name string, call func()) {
	var took []float64
	for range 300 {
		begun := time.Now()
		call()
		took = append(took, float64(time.Since(begun).Microseconds())/1000)
	}
	slices.Sort(took)
	b.ReportMetric(took[150], name+"-p50-ms")
	b.ReportMetric(took[296], name+"-p99-ms")
}
