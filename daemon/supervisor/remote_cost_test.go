package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/slurm"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/daemon/watchdog"
	"autoresearchd/search"
)

// simulated are commands that do as Slurm's with a cluster of nodes that only seem
// to train (testdata/node.py): a job has the node of its number at once.
var simulated = map[string]string{
	"sbatch": `cat >/dev/null
for a; do case $a in --job-name=*) name=${a#*=} ;; esac; done
n=${name%%/bench*}; n=$((${n##*:} + 1))
echo "$name" >$D/jobs/$n; echo $n`,
	"squeue": `case " $* " in *" --steps "*) exit 0 ;; esac
for f in $D/jobs/*; do [ -e "$f" ] || continue; n=${f##*/}; read -r name <$f; echo "$n|RUNNING|None|n$n|8:00:00|$name"; done; exit 0`,
	"scancel": `rm -f $D/jobs/${1%.*}; exit 0`,
	"srun":    `for a; do case $a in --jobid=*) n=${a#*=} ;; esac; done; exec python3 $D/node.py n$n "NVIDIA H200" 65`,
}

// far is a trainer whose every seat is on another machine; what a script holds is
// read here.
type far struct{ *trainer.Process }

func (far) Inspect(_ context.Context, source []byte) (trainer.Inspection, error) {
	return inspect(source), nil
}

// BenchmarkRemoteSeats is BenchmarkSeats with seats on other machines: frames,
// leases, sampling and collecting are the daemon's own, and the nodes' processes,
// which are not awaited before the end, are not counted.
func BenchmarkRemoteSeats(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				remoteCost(b, n)
			}
		})
	}
}

func remoteCost(b *testing.B, seats int) {
	dir := b.TempDir()
	newWorkspace(b, dir)
	fake := filepath.Join(dir, "slurm")
	for _, name := range []string{"bin", "jobs"} {
		must(b, os.MkdirAll(filepath.Join(fake, name), 0o755))
	}
	for name, text := range simulated {
		must(b, os.WriteFile(filepath.Join(fake, "bin", name), []byte("#!/bin/sh\nD="+fake+"\n"+text+"\n"), 0o755))
	}
	node, err := os.ReadFile("testdata/node.py")
	must(b, err)
	must(b, os.WriteFile(filepath.Join(fake, "node.py"), node, 0o644))
	b.Setenv("PATH", filepath.Join(fake, "bin")+":"+os.Getenv("PATH"))

	c, err := settings(dir, `search.strategy="evolution"`, `study.baseline=1.0`, `trial.budget="900 steps"`, `trial.standby="off"`)
	must(b, err)
	repo, err := lineage.Open(b.Context(), c.Study.Workspace)
	must(b, err)
	j, err := journal.Open(c.Study.State)
	must(b, err)
	defer j.Close()
	limits := watchdog.Limits{Startup: time.Minute, Compile: time.Minute, Stall: time.Minute, Evaluate: time.Minute, Exit: time.Minute, Total: 10 * time.Minute}
	p, err := trainer.NewProcess(trainer.Options{
		Python: "/usr/bin/python3", Folder: func(id int64) string { return study.Folder(c.Study.State, id) }, Limits: limits, Grace: time.Second,
		LogLimit: 1 << 20, Quota: 1 << 30, Study: "bench", Owner: study.Owner(c.Study.State), Cores: map[string][]int{},
		Seat: func(id int64, handle string) { must(b, j.SetSeat(id, handle)) },
	})
	must(b, err)
	defer p.Close()
	var devices []device.Device
	var berths []trainer.Berth
	for i := range seats {
		name := fmt.Sprintf("slurm:%d", i)
		devices = append(devices, device.Device{Name: name})
		berths = append(berths, trainer.Berth{Name: name, Request: slurm.Request{}})
	}
	s, err := begin(b.Context(), j, repo, Options{Config: c, Registry: search.Default, Devices: devices, Trainer: far{p}, Look: p.Look})
	must(b, err)
	must(b, p.Berths(berths, s.Wake))
	measureCost(b, s, seats)
}
