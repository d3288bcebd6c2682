package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"autoresearchd/metrics/gpu"
)

// local is a GPU of this machine: the same metric without a host.
type local struct{ desc *prometheus.Desc }

func (l local) Describe(ch chan<- *prometheus.Desc) { ch <- l.desc }
func (l local) Collect(ch chan<- prometheus.Metric) { gauge(ch, l.desc, 1, "0") }

// TestCluster has figures of nodes beside this machine's, each GPU once.
func TestCluster(t *testing.T) {
	used, power := 7.0, 300.0
	h200 := []gpu.Sample{{Device: 0, Label: "0", MemoryUsed: &used, Power: &power}}
	var seats []Remote
	r := prometheus.NewRegistry()
	r.MustRegister(local{gpuUsed}, Cluster(func() []Remote { return seats }))
	const here = `# HELP autoresearch_gpu_memory_used_bytes GPU memory in use by all processes.
# TYPE autoresearch_gpu_memory_used_bytes gauge
autoresearch_gpu_memory_used_bytes{gpu="0"} 1
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(here)); err != nil {
		t.Error(err)
	}
	seats = []Remote{{"slurm:0", "n1", "cuda:0", "H200", h200}, {"slurm:1", "n1", "cuda:0", "H200", h200}, {"slurm:2", "n2", "cuda:0", "H200", h200}, {"slurm:3", "n3", "cpu", "2 CPU cores", nil}}
	want := here + `autoresearch_gpu_memory_used_bytes{gpu="0",host="n1"} 7
autoresearch_gpu_memory_used_bytes{gpu="0",host="n2"} 7
# HELP autoresearch_gpu_power_watts Power draw.
# TYPE autoresearch_gpu_power_watts gauge
autoresearch_gpu_power_watts{gpu="0",host="n1"} 300
autoresearch_gpu_power_watts{gpu="0",host="n2"} 300
# HELP autoresearch_seat_info Where a seat on another machine is; always 1.
# TYPE autoresearch_seat_info gauge
autoresearch_seat_info{class="2 CPU cores",device="cpu",host="n3",seat="slurm:3"} 1
autoresearch_seat_info{class="H200",device="cuda:0",host="n1",seat="slurm:0"} 1
autoresearch_seat_info{class="H200",device="cuda:0",host="n1",seat="slurm:1"} 1
autoresearch_seat_info{class="H200",device="cuda:0",host="n2",seat="slurm:2"} 1
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
