package device

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"autoresearchd/metrics/gpu"
)

// gpus are a machine's, by index; an empty name is a GPU that is lost.
type gpus struct {
	gpu.GPUs
	names []string
	used  map[int]int64
	drawn int64
}

func (g gpus) Listed() int { return len(g.names) }

func (g gpus) Reason() string {
	return "libnvidia-ml.so.1 is not installed: no NVIDIA driver on this machine"
}

func (g gpus) Devices() (out []gpu.Device) {
	for i, name := range g.names {
		if name != "" {
			out = append(out, gpu.Device{Index: i, Name: name, UUID: fmt.Sprintf("GPU-%d-abc", i), PCI: fmt.Sprintf("0000:%02x:00.0", i), MemoryTotal: 80 << 30})
		}
	}
	return out
}

func (g gpus) Lost(i int) string {
	if i >= len(g.names) || g.names[i] == "" {
		return "the GPU has fallen off the bus"
	}
	return ""
}

func (g gpus) MemoryUsed(i int) (int64, bool) { used, ok := g.used[i]; return used, ok }
func (g gpus) GraphicsMemory(int) int64       { return g.drawn }

// machine has cores in nodes, each of so many physical cores with so many
// threads, numbered as Linux does: first all first threads, then the others.
func machine(nodes, cores, threads int, names ...string) Machine {
	sys := fstest.MapFS{}
	m := Machine{GPUs: gpus{names: names}, Sys: sys}
	put := func(file, text string) { sys[file] = &fstest.MapFile{Data: []byte(text + "\n")} }
	all := nodes * cores
	for n := range nodes {
		var own []int
		for th := range threads {
			for c := range cores {
				own = append(own, th*all+n*cores+c)
			}
		}
		slices.Sort(own)
		put(fmt.Sprintf("devices/system/node/node%d/cpulist", n), List(own))
		for i := range names {
			if i*nodes/len(names) == n {
				put(fmt.Sprintf("bus/pci/devices/0000:%02x:00.0/local_cpulist", i), List(own))
			}
		}
	}
	for c := range all * threads {
		m.Cores = append(m.Cores, c)
		var siblings []string
		for th := range threads {
			siblings = append(siblings, fmt.Sprint(c%all+th*all))
		}
		put(fmt.Sprintf("devices/system/cpu/cpu%d/topology/thread_siblings_list", c), strings.Join(siblings, ","))
	}
	return m
}

func shares(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("cpu:%d", i))
	}
	return out
}

func TestResolve(t *testing.T) {
	h200 := slices.Repeat([]string{"NVIDIA H200"}, 8)
	lost := slices.Clone(h200)
	lost[0], lost[5] = "", ""
	only := machine(2, 4, 1, h200...)
	only.Cores = []int{1, 2, 3, 4}
	hidden, chosen := machine(1, 4, 1, h200...), machine(1, 4, 1, h200...)
	named := machine(1, 2, 1)
	named.CPU = model("processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD  EPYC 7B13\n")
	hidden.Visible, chosen.Visible = []string{}, []string{"3", "GPU-5"}
	for _, c := range []struct {
		name  string
		m     Machine
		spec  []string
		want  string // name:cores of each, or the error
		kinds string
	}{
		{"a laptop", machine(1, 2, 1), []string{"auto"}, "cpu:[0-1]", "2 CPU cores"},
		{"all of a laptop", machine(1, 2, 1), []string{"all"}, "cpu:[0-1]", "2 CPU cores"},
		{"the CPU's name", named, []string{"cpu"}, "cpu:[0-1]", "AMD EPYC 7B13, 2 CPU cores"},
		{"two seats on it", machine(1, 2, 1), shares(2), "cpu:0:[0] cpu:1:[1]", "1 CPU core 1 CPU core"},
		{"in another order", machine(1, 2, 1), []string{"cpu:1", "cpu:0"}, "cpu:1:[1] cpu:0:[0]", "1 CPU core 1 CPU core"},
		{"three seats on it", machine(1, 2, 1), shares(3), "trial.devices: 3 shares of the CPU, but this process may use 2 cores (0-1)", ""},
		{"threads of a core stay together", machine(1, 4, 2), shares(2), "cpu:0:[0-1,4-5] cpu:1:[2-3,6-7]", "4 CPU cores 4 CPU cores"},
		{"more seats than physical cores", machine(1, 2, 2), shares(4), "cpu:0:[0] cpu:1:[2] cpu:2:[1] cpu:3:[3]", "1 CPU core 1 CPU core 1 CPU core 1 CPU core"},
		{"what is left over is nobody's", machine(1, 8, 1), shares(3), "cpu:0:[0-1] cpu:1:[2-3] cpu:2:[4-5]", "2 CPU cores 2 CPU cores 2 CPU cores"},
		{"no share of two nodes", machine(2, 6, 1), shares(3), "cpu:0:[0-2] cpu:1:[3-5] cpu:2:[6-8]", "3 CPU cores 3 CPU cores 3 CPU cores"},
		{"a node each", machine(2, 4, 2), shares(2), "cpu:0:[0-3,8-11] cpu:1:[4-7,12-15]", "8 CPU cores 8 CPU cores"},
		{"what the process may use", only, shares(2), "cpu:0:[1] cpu:1:[2]", "1 CPU core 1 CPU core"},
		{"the first GPU, near cores", machine(2, 4, 1, h200...), []string{"auto"}, "cuda:0:[0-3]", "NVIDIA H200"},
		{"two of one node", machine(2, 4, 1, h200...), []string{"cuda:1", "cuda:3"}, "cuda:1:[0-1] cuda:3:[2-3]", "NVIDIA H200 NVIDIA H200"},
		{"one of each", machine(2, 4, 1, h200...), []string{"cuda:1", "cuda:7"}, "cuda:1:[0-3] cuda:7:[4-7]", "NVIDIA H200 NVIDIA H200"},
		{"no near core is allowed", only, []string{"cuda:7"}, "cuda:7:[4]", "NVIDIA H200"},
		{"too few cores to share", machine(2, 1, 1, h200[:4]...), []string{"all"}, "cuda:0:[0] cuda:1:[0] cuda:2:[1] cuda:3:[1]", "NVIDIA H200 NVIDIA H200 NVIDIA H200 NVIDIA H200"},
		{"not there", machine(1, 2, 1, "NVIDIA T4", ""), []string{"cuda:0", "cuda:2", "cuda:4"}, "trial.devices: cuda:2, cuda:4 are not on this machine, which has cuda:0 (NVIDIA T4), cuda:1 (lost)", ""},
		{"no GPU", machine(1, 2, 1), []string{"cuda:0"}, "trial.devices: cuda:0 is not on this machine, which has no GPU (libnvidia-ml.so.1 is not installed: no NVIDIA driver on this machine) and 2 cores (0-1)", ""},
		{"the first that is not lost", machine(1, 2, 1, lost...), []string{"auto"}, "cuda:1:[0-1]", "NVIDIA H200"},
		{"a lost one has a seat", machine(1, 2, 1, "NVIDIA T4", ""), []string{"all"}, "cuda:0:[0] cuda:1:[1]", "NVIDIA T4 "},
		{"a lost one is waited for", machine(1, 2, 1, ""), []string{"auto"}, "cuda:0:[0-1]", ""},
		{"the environment hides them", hidden, []string{"all"}, "cpu:[0-3]", "4 CPU cores"},
		{"the environment chooses", chosen, []string{"all"}, "cuda:3:[0-1] cuda:5:[2-3]", "NVIDIA H200 NVIDIA H200"},
	} {
		var got, kinds []string
		ds, err := c.m.Resolve(c.spec)
		for _, d := range ds {
			got, kinds = append(got, fmt.Sprintf("%s:[%s]", d.Name, List(d.Cores))), append(kinds, d.Kind)
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if strings.Join(got, " ") != c.want || strings.Join(kinds, " ") != c.kinds {
			t.Errorf("%s: %s, kinds %q\nwant %s, kinds %q", c.name, strings.Join(got, " "), strings.Join(kinds, " "), c.want, c.kinds)
		}
	}
}

// TestShares gives every seat as much as any other, of cores that are its own.
func TestShares(t *testing.T) {
	for nodes := 1; nodes <= 4; nodes++ {
		for cores := 1; cores <= 9; cores++ {
			for threads := 1; threads <= 2; threads++ {
				m := machine(nodes, cores, threads)
				for n := 1; n <= len(m.Cores)+1; n++ {
					ds, err := m.Resolve(shares(n))
					if (err != nil) != (n > len(m.Cores)) {
						t.Fatalf("%d×%d×%d: %d seats: %v", nodes, cores, threads, n, err)
					}
					seen := map[int]bool{}
					for _, d := range ds {
						if len(d.Cores) != len(ds[0].Cores) || len(d.Cores) == 0 || !slices.IsSorted(d.Cores) {
							t.Fatalf("%d×%d×%d: %d seats: %v", nodes, cores, threads, n, ds)
						}
						for _, c := range d.Cores {
							if seen[c] {
								t.Fatalf("%d×%d×%d: %d seats: core %d twice: %v", nodes, cores, threads, n, c, ds)
							}
							seen[c] = true
						}
					}
				}
			}
		}
	}
}

func TestHere(t *testing.T) {
	t.Setenv("CUDA_VISIBLE_DEVICES", "")
	m, err := Here(gpus{})
	if err != nil || len(m.Cores) == 0 || m.Visible == nil || len(m.Visible) != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	ds, err := m.Resolve(shares(len(m.Cores)))
	if err != nil || len(ds) != len(m.Cores) || len(ds[0].Cores) != 1 {
		t.Errorf("%+v, %v", ds, err)
	}
}

func TestFit(t *testing.T) {
	d := Device{Name: "cuda:1", Memory: 80 << 30}
	for _, c := range []struct {
		device Device
		gpus   gpus
		others int64
		lost   bool
		why    string
	}{
		{Device{Name: "cpu:1"}, gpus{}, 1 << 30, false, ""},
		{d, gpus{names: []string{"a", "b"}}, 1 << 30, false, ""}, // it does not say
		{d, gpus{names: []string{"a", ""}}, 1 << 30, true, "cuda:1 cannot be used: the GPU has fallen off the bus"},
		{d, gpus{names: []string{"a", "b"}, used: map[int]int64{0: 40 << 30, 1: 4 << 30}}, 1 << 30, false, ""},
		{d, gpus{names: []string{"a", "b"}, used: map[int]int64{1: 5 << 30}}, 1 << 30, false, "cuda:1 is used by somebody else, who holds 5.0 of its 80.0 GiB: `nvidia-smi` names the processes"},
		{d, gpus{names: []string{"a", "b"}, used: map[int]int64{1: 5 << 30}, drawn: 2 << 30}, 1 << 30, false, ""},
		{d, gpus{names: []string{"a", "b"}, used: map[int]int64{1: 5 << 30}}, 8 << 30, false, ""},
		{d, gpus{names: []string{"a", "b"}, used: map[int]int64{1: 79 << 30}}, -1, false, ""},
	} {
		u := Fit(c.device, c.gpus, c.others)
		if u == nil {
			u = &Unfit{}
		}
		if u.Lost != c.lost || u.Why != c.why {
			t.Errorf("%+v: %+v, want %q", c.gpus, u, c.why)
		}
	}
}
