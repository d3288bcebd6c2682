package trainer

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tooMuch reports whether processes hold more of the host's memory than a trial
// may, and how many bytes those are. What they share counts once, and is looked
// at only where it matters, since the kernel has to walk their tables for it.
func (o *Options) tooMuch(pids []int) (limit int64, over bool) {
	limit = o.Memory
	if o.Room > 0 {
		var short bool
		if limit, short = HostMemory(); !short {
			return 0, false
		}
		limit /= int64(o.Room)
	}
	return limit, limit > 0 && resident(pids) > limit && proportional(pids) > limit
}

// proportional adds up the host memory in bytes that processes hold, with their
// part of what they share.
func proportional(pids []int) (total int64) {
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			total += resident([]int{pid})
			continue
		}
		for _, line := range strings.Split(string(data), "\n") {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
				kib, _ := strconv.ParseInt(fields[1], 10, 64)
				total += kib << 10
			}
		}
	}
	return total
}

// family returns a process and all that descend from it.
func family(pid int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if child, err := strconv.Atoi(e.Name()); err == nil {
			if st, ok := stat(child); ok {
				children[st.parent] = append(children[st.parent], child)
			}
		}
	}
	out := []int{pid}
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out
}

// room is what the machine itself is left: 2 GiB, of a large one a tenth.
const room = 2 << 30

// HostMemory returns the bytes that trials may take where nobody has said: what
// this machine, or the group of processes that the daemon is in, has without
// room, and half of a small one; 0: that cannot be told. short reports whether
// less than room is left: a virtual machine may look small until its memory is
// used, and then grows.
func HostMemory() (limit int64, short bool) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	kib := map[string]int64{}
	for _, line := range strings.Split(string(data), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 {
			kib[fields[0]], _ = strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return spare(kib["MemTotal:"]<<10, kib["MemAvailable:"]<<10, memoryLimits())
}

// spare is HostMemory of a machine with so many bytes, so many of them left, and
// limits of the groups.
func spare(total, left int64, limits []int64) (limit int64, short bool) {
	group := total
	for _, l := range limits {
		group = min(group, l)
	}
	without := func(bytes int64) int64 { return max(bytes/2, bytes-max(room, bytes/10)) }
	limit = without(group)
	return limit, group < total || left < total-without(total)
}

// memoryLimits are those of the control groups that this process is in.
func memoryLimits() (limits []int64) {
	for _, h := range [][4]string{{"cgroup2", "", "0::", "memory.max"}, {"cgroup", "memory", ":memory:", "memory.limit_in_bytes"}} {
		mount, ok := cgroupMount(h[0], h[1])
		own, err := ownCgroup(h[2])
		if !ok || err != nil {
			continue
		}
		for dir := filepath.Join("/", own); ; dir = filepath.Dir(dir) {
			if data, err := os.ReadFile(filepath.Join(mount, dir, h[3])); err == nil {
				if limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && limit > 0 {
					limits = append(limits, limit)
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return limits
}

// resident adds up the host memory in bytes that processes hold.
func resident(pids []int) (total int64) {
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue
		}
		if fields := strings.Fields(string(data)); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			total += pages * int64(os.Getpagesize())
		}
	}
	return total
}
