package api

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// gpuReading is a GPU as NVML shows it now; null is what it does not say.
type gpuReading struct {
	Index       int      `json:"index"`
	Name        string   `json:"name"`
	MemoryUsed  *float64 `json:"memory_used"`  // bytes
	MemoryTotal *float64 `json:"memory_total"` // bytes
	Utilization *float64 `json:"utilization"`  // 0 to 1
	Power       *float64 `json:"power_watts"`
	Temperature *float64 `json:"temperature_celsius"`
}

// fresh is how long a reading serves everybody who asks.
const fresh = 900 * time.Millisecond

type gpuCache struct {
	mu   sync.Mutex
	at   time.Time
	read []gpuReading
}

// readGPUs answers within half a second, as Sample does. Instances of a GPU
// under MIG are left out: the GPU stands for them.
func (a *API) readGPUs(ctx context.Context) []gpuReading {
	if a.o.GPUs == nil {
		return []gpuReading{}
	}
	a.gpus.mu.Lock()
	defer a.gpus.mu.Unlock()
	if !a.gpus.at.IsZero() && time.Since(a.gpus.at) < fresh {
		return a.gpus.read
	}
	names := map[int]string{}
	for _, d := range a.o.GPUs.Devices() {
		names[d.Index] = d.Name
	}
	read := []gpuReading{}
	for _, s := range a.o.GPUs.Sample(ctx) {
		if s.Label == strconv.Itoa(s.Device) {
			read = append(read, gpuReading{s.Device, names[s.Device], s.MemoryUsed, s.MemoryTotal, s.Utilization, s.Power, s.Temperature})
		}
	}
	a.gpus.at, a.gpus.read = time.Now(), read
	return read
}
