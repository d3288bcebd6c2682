package trainer

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// memorySlack is the GPU memory in bytes that may differ from before.
const memorySlack = 64 << 20

func returned(used, before int64) bool { return used >= 0 && used <= before+memorySlack }

// Quarantine is the error of a trial that left its device unfit for another: its
// memory did not come back, or a process could not be ended. As JSON it outlives
// the daemon, but not the boot of its machine.
type Quarantine struct {
	Reason   string    `json:"reason"`
	GPU      int       `json:"gpu"`    // as NVML counts
	Before   int64     `json:"before"` // bytes in use before the trial; -1: nobody knows
	Leftover []remnant `json:"leftover"`
	Boot     string    `json:"boot"`
}

// remnant is a process that could not be ended. Its number alone may come again.
type remnant struct {
	PID   int    `json:"pid"`
	Begun string `json:"begun"`
}

func newQuarantine(gpu int, before int64, leftover []int, reason string) *Quarantine {
	q := &Quarantine{Reason: reason, GPU: gpu, Before: before, Boot: boot()}
	for _, pid := range leftover {
		if st, ok := stat(pid); ok {
			q.Leftover = append(q.Leftover, remnant{pid, st.begun})
		}
	}
	return q
}

// ReadQuarantine returns what an earlier daemon wrote; nil if the machine was
// booted since, which frees every device.
func ReadQuarantine(data []byte) (*Quarantine, error) {
	q := &Quarantine{}
	if err := json.Unmarshal(data, q); err != nil {
		return nil, err
	}
	if q.Boot != "" && q.Boot != boot() {
		return nil, nil
	}
	return q, nil
}

func boot() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}

func (q *Quarantine) Error() string { return "device is quarantined: " + q.Reason }

// Lifted reports whether the device is fit again.
func (q *Quarantine) Lifted(gpu GPU) bool {
	for _, p := range q.Leftover {
		if st, ok := stat(p.PID); ok && st.begun == p.Begun && st.state != 'Z' && st.state != 'X' {
			return false
		}
	}
	if gpu == nil || q.Before < 0 {
		return true
	}
	used, ok := gpu.MemoryUsed(q.GPU)
	return ok && returned(used, q.Before)
}

// Remains are the processes of an earlier daemon that Sweep, given the same,
// could not end; nil where there are none. Nothing is to run beside them.
func Remains(owner, place string) *Quarantine {
	left := (&group{marker: ownerMarker(owner), sweeps: true}).alive(nil)
	if at := at(place); at.Cgroup != "" {
		left = unique(append(left, (&group{cgroup: at.Cgroup}).alive(nil)...))
	}
	if len(left) == 0 {
		return nil
	}
	return newQuarantine(-1, -1, left, fmt.Sprintf("processes %v of an earlier daemon could not be ended", left))
}

// at reads what Sweep is given; the zero handle where it holds nothing of use.
func at(place string) handle {
	h := handle{Cgroup: place}
	if strings.HasPrefix(place, "{") {
		h = handle{}
		_ = json.Unmarshal([]byte(place), &h) // without it the marker finds them
	}
	if !strings.Contains(h.Cgroup, "/"+groupPrefix) || filepath.Base(filepath.Dir(h.Cgroup)) == groupName() {
		h.Cgroup = ""
	}
	return h
}
