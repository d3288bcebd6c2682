package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"autoresearchd/metrics/internal/gate"
	"autoresearchd/metrics/name"
)

// Disk collects the room on the file system that holds a folder. One that does
// not answer, as a network's may not, is left out of the page.
func Disk(dir string) prometheus.Collector { return &disk{dir: dir} }

type disk struct {
	dir  string
	gate gate.Gate
}

var (
	diskFree = desc(name.DiskFree, "Room that the daemon may use on the file system of the state directory.")
	diskSize = desc(name.DiskSize, "Size of the file system of the state directory.")
)

func (d *disk) Describe(ch chan<- *prometheus.Desc) {
	ch <- diskFree
	ch <- diskSize
}

func (d *disk) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), snapshotDeadline)
	defer cancel()
	type answer struct {
		unix.Statfs_t
		err error
	}
	a, ok := gate.Call(ctx, &d.gate, func() (a answer) {
		a.err = unix.Statfs(d.dir, &a.Statfs_t)
		return a
	})
	if !ok || a.err != nil {
		return
	}
	gauge(ch, diskFree, float64(a.Bavail)*float64(a.Frsize))
	gauge(ch, diskSize, float64(a.Blocks)*float64(a.Frsize))
}
