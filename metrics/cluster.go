package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"autoresearchd/metrics/gpu"
	"autoresearchd/metrics/name"
)

// Remote is a seat on another machine.
type Remote struct {
	Seat   string
	Host   string
	Device string       // there: "cuda:0"
	Class  string       // of that hardware, within which scores compare
	GPUs   []gpu.Sample // what NVML says of it there; nil: it has none
}

// Cluster collects what is known of the seats on other machines. The GPU figures
// are those of this machine's GPUs, with one more label, host; a page without
// such seats is as if there were no Cluster.
type Cluster func() []Remote

var (
	seatInfo = desc(name.SeatInfo, "Where a seat on another machine is; always 1.", "seat", "host", "device", "class")
	far      = map[string]func(gpu.Sample) *float64{
		name.GPUUsed: func(s gpu.Sample) *float64 { return s.MemoryUsed }, name.GPUTotal: func(s gpu.Sample) *float64 { return s.MemoryTotal },
		name.GPUUtilization: func(s gpu.Sample) *float64 { return s.Utilization }, name.GPUPower: func(s gpu.Sample) *float64 { return s.Power },
		name.GPUTemperature: func(s gpu.Sample) *float64 { return s.Temperature },
	}
	farHelp = map[string]string{
		name.GPUUsed: "GPU memory in use by all processes.", name.GPUTotal: "GPU memory in all.", name.GPUUtilization: "Share of time in which a kernel ran.",
		name.GPUPower: "Power draw.", name.GPUTemperature: "Temperature of the GPU's core.",
	}
	farDescs = func() map[string]*prometheus.Desc {
		out := map[string]*prometheus.Desc{}
		for metric := range far {
			out[metric] = desc(metric, farHelp[metric], "gpu", "host")
		}
		return out
	}()
)

// Describe tells nothing, so that the registry lets metrics have labels here
// that they do not have elsewhere.
func (Cluster) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c Cluster) Collect(ch chan<- prometheus.Metric) {
	seen := map[[2]string]bool{} // two seats may share a GPU
	for _, r := range c() {
		gauge(ch, seatInfo, 1, clean(r.Seat), clean(r.Host), clean(r.Device), clean(r.Class))
		for _, s := range r.GPUs {
			if at := [2]string{r.Host, s.Label}; seen[at] {
				continue
			} else {
				seen[at] = true
			}
			for metric, value := range far {
				some(ch, farDescs[metric], value(s), s.Label, clean(r.Host))
			}
		}
	}
}
