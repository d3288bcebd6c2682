package api

import (
	"context"
	"net/http"
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
	past []gpuReadings // one an interval, the oldest first
}

// gpuReadings are all GPUs at a time.
type gpuReadings struct {
	at  time.Time
	all []gpuReading
}

const (
	interval = 10 * time.Second // between two readings that are kept
	kept     = 720              // of them: two hours
)

// gpuHistory is what was read of each GPU in the last two hours.
type gpuHistory struct {
	Interval float64   `json:"interval_seconds"`
	GPUs     []gpuPast `json:"gpus"`
}

type gpuPast struct {
	Index       int      `json:"index"`
	Name        string   `json:"name"`
	MemoryTotal *float64 `json:"memory_total"`
	Points      [][5]any `json:"points"` // Unix seconds, utilization, memory used, watts, degrees Celsius
}

// watchGPUs keeps a reading each interval until ctx ends.
func (a *API) watchGPUs(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if now := a.readGPUs(ctx); len(now) > 0 {
			a.gpus.keep(gpuReadings{time.Now(), now})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *gpuCache) keep(r gpuReadings) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.past = append(c.past, r); len(c.past) > kept {
		c.past = append([]gpuReadings(nil), c.past[len(c.past)-kept:]...)
	}
}

func (a *API) gpuPast(*http.Request) (any, error) {
	a.gpus.mu.Lock()
	defer a.gpus.mu.Unlock()
	h := gpuHistory{Interval: interval.Seconds(), GPUs: []gpuPast{}}
	at := map[int]int{}
	for _, r := range a.gpus.past {
		for _, g := range r.all {
			i, ok := at[g.Index]
			if !ok {
				i = len(h.GPUs)
				at[g.Index] = i
				h.GPUs = append(h.GPUs, gpuPast{Index: g.Index, Name: g.Name, MemoryTotal: g.MemoryTotal})
			}
			h.GPUs[i].Points = append(h.GPUs[i].Points, [5]any{float64(r.at.UnixMilli()) / 1e3, g.Utilization, g.MemoryUsed, g.Power, g.Temperature})
		}
	}
	return h, nil
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
