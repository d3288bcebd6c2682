package api

import (
	"testing"

	"autoresearchd/search"
)

// TestNoGPUHourOnACPU counts hours on GPUs alone.
func TestNoGPUHourOnACPU(t *testing.T) {
	on := func(names ...string) search.History {
		var h search.History
		for _, name := range names {
			var r search.Result
			r.Trial.Device, r.Outcome.WallSeconds = name, 1800
			h.Done = append(h.Done, r)
		}
		return h
	}
	if got := gainPerGPUHour(0.1, on("cpu", "cpu:1")); got != nil {
		t.Errorf("%g a GPU-hour on a CPU", *got)
	}
	if got := gainPerGPUHour(0.1, on("cuda:0", "cpu", "cuda:1")); got == nil || *got != 0.1 {
		t.Errorf("%v a GPU-hour, want 0.1", got)
	}
}
