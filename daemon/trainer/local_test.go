package trainer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"autoresearchd/search"
)

// fakeGPU is a GPU whose memory the test sets, in bytes.
type fakeGPU struct {
	used, own atomic.Int64
	blind     bool // it does not tell processes apart
}

func (g *fakeGPU) MemoryUsed(int) (int64, bool) { return g.used.Load(), true }
func (g *fakeGPU) ProcessMemory(map[int]bool) (int64, bool) {
	return g.own.Load(), !g.blind
}

// TestMemoryBesideANeighbour has a trial end while another holds memory of the
// same GPU, which says nothing of the first; then the last one ends.
func TestMemoryBesideANeighbour(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		blind      bool
		left       int64 // in use once all are gone
		quarantine bool
	}{
		"all comes back":             {false, 1 * gib, false},
		"it does not":                {false, 3 * gib, true},
		"processes are not told":     {true, 1 * gib, false},
		"nor does it come back then": {true, 3 * gib, true},
	} {
		t.Run(name, func(t *testing.T) {
			gpu := &fakeGPU{blind: c.blind}
			gpu.used.Store(1 * gib)
			o := options(t)
			o.GPU = gpu
			p := newProcess(t, o)
			p.place.patience = 50 * time.Millisecond
			folder(t, o, 1, evaluating)
			folder(t, o, 2, "from prepare import evaluate_bpb\nevaluate_bpb(1.25, None, 4)\n")
			on := func(id int64) Order {
				tr := trial(id)
				tr.Device = "cuda:0"
				return Order{Trial: tr}
			}
			evaluates, ended := make(chan bool, 2), make(chan error, 1)
			go func() {
				_, err := p.Run(context.Background(), on(1), func(e Event) {
					if e.Phase == search.Evaluate {
						gpu.used.Store(6 * gib)
						gpu.own.Store(5 * gib)
						evaluates <- true
					}
				})
				ended <- err
			}()
			<-evaluates
			if out, err := p.Run(context.Background(), on(2), nil); err != nil || out.Status != search.Completed {
				t.Errorf("beside a neighbour: %v %s", err, out.Status)
			}
			gpu.used.Store(c.left)
			if err := os.WriteFile(filepath.Join(o.work(1), "end"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			var q *Quarantine
			if err := <-ended; errors.As(err, &q) != c.quarantine {
				t.Errorf("the last one: %v", err)
			}
			if q == nil {
				return
			}
			if q.Lifted(gpu) {
				t.Error("the quarantine is lifted while the memory is gone")
			}
			if gpu.used.Store(1 * gib); !q.Lifted(gpu) {
				t.Error("the quarantine stays")
			}
		})
	}
}

// 74: what a trial says of its GPU memory is not its peak, which NVML tells.
func TestUnderstatedMemory(t *testing.T) {
	const gib = 1 << 30
	gpu := &fakeGPU{}
	gpu.own.Store(5 * gib)
	gpu.used.Store(1 * gib)
	o := options(t)
	o.GPU = gpu
	folder(t, o, 1, training+`
import torch
torch.cuda.max_memory_allocated = torch.cuda.max_memory_reserved = lambda *_: 1
while not os.path.exists("sampled"): train(1); time.sleep(0.01)
print("---\npeak_vram_mb: 0.1")
evaluate_bpb(1.25, None, 4)
`)
	order := Order{Trial: trial(1)}
	order.Device = "cuda:0"
	out, err := newProcess(t, o).Run(context.Background(), order, func(e Event) {
		if e.Memory > 0 {
			if err := os.WriteFile(filepath.Join(o.work(1), "sampled"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || out.Status != search.Completed || out.PeakVRAM != 5*gib {
		t.Errorf("%v, %s, a peak of %d bytes", err, out.Status, out.PeakVRAM)
	}
}
