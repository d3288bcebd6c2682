// Package device finds on a machine what [trial] devices names. A device is
// where one trial at a time runs: a GPU, the CPU, or a share of its cores.
package device

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"autoresearchd/metrics/gpu"
)

// CPU is the device that has all cores. "cpu:0", "cpu:1", … share them.
const CPU = "cpu"

// IsCPU reports whether a device is the CPU or a share of it.
func IsCPU(name string) bool { return name == CPU || strings.HasPrefix(name, CPU+":") }

// CUDAIndex returns the number in "cuda:0", which is NVML's.
func CUDAIndex(name string) (int, bool) {
	number, ok := strings.CutPrefix(name, "cuda:")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(number)
	return n, err == nil
}

func cuda(index int) string { return "cuda:" + strconv.Itoa(index) }

// Device is one that this machine has.
type Device struct {
	Name   string // "cuda:0", "cpu", "cpu:1"
	Kind   string // what scores in a budget of time depend on: "NVIDIA H100 80GB HBM3", "AMD EPYC 7B13, 2 CPU cores"; "": a GPU that was lost already
	Memory int64  // of the GPU, bytes; 0: not known, or none of its own
	Cores  []int  // that its trials run on, ascending

	// Of a seat on another machine, once it has one.
	Host    string // its name; "": it is this machine, or none yet
	Local   string // what the device is there: "cuda:0"; "": as Name says
	Sandbox string // what confines trials there, in words
}

// Machine is what devices are found on.
type Machine struct {
	GPUs    gpu.GPUs
	Visible []string // GPUs that "auto" and "all" may take, as CUDA_VISIBLE_DEVICES names them; nil: every one
	Cores   []int    // that this process may use, ascending
	CPU     string   // its name; "": the kernel has none
	Sys     fs.FS    // /sys
}

const mostCores = 1024 // that a CPUSet holds

// Here is this machine, as far as this process may use it.
func Here(gpus gpu.GPUs) (Machine, error) {
	m := Machine{GPUs: gpus, Sys: os.DirFS("/sys")}
	if list, ok := os.LookupEnv("CUDA_VISIBLE_DEVICES"); ok { // set and empty, it hides all
		m.Visible = append([]string{}, strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = model(string(info))
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return m, fmt.Errorf("read the cores of this process: %w", err)
	}
	for c := range mostCores {
		if set.IsSet(c) {
			m.Cores = append(m.Cores, c)
		}
	}
	return m, nil
}

// model is the CPU's name in /proc/cpuinfo; "" if that does not say, as on ARM.
func model(info string) string {
	for line := range strings.Lines(info) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

// Resolve finds the devices that a configuration names, with cores of their
// own. What this machine does not have is an error that says what it has. A GPU
// that the driver counts and cannot use is found: Fit says what is wrong with it.
func (m Machine) Resolve(names []string) ([]Device, error) {
	names = m.choose(names)
	var missing []string
	var out []Device
	for _, name := range names {
		d := Device{Name: name}
		if index, ok := CUDAIndex(name); ok {
			if index >= m.GPUs.Listed() {
				missing = append(missing, name)
			}
			if g, ok := m.find(index); ok {
				d.Kind, d.Memory = g.Name, g.MemoryTotal
			}
		}
		out = append(out, d)
	}
	if missing != nil {
		verb := "is"
		if len(missing) > 1 {
			verb = "are"
		}
		return nil, fmt.Errorf("trial.devices: %s %s not on this machine, which has %s", strings.Join(missing, ", "), verb, m.has())
	}
	if IsCPU(names[0]) {
		shares := m.topology().share(m.Cores, len(names))
		if shares == nil {
			return nil, fmt.Errorf("trial.devices: %d shares of the CPU, but this process may use %s", len(names), m.cores())
		}
		for i := range out {
			// Its number picks the share, whatever its place in the list.
			_, number, _ := strings.Cut(out[i].Name, ":")
			n, _ := strconv.Atoi(number)
			out[i].Cores, out[i].Kind = shares[n], fmt.Sprintf("%d CPU cores", len(shares[n]))
			if len(shares[n]) == 1 {
				out[i].Kind = "1 CPU core"
			}
			if m.CPU != "" { // as search.Alike knows it
				out[i].Kind = m.CPU + ", " + out[i].Kind
			}
		}
		return out, nil
	}
	m.near(out)
	return out, nil
}

// choose puts names in the place of "auto" and "all".
func (m Machine) choose(names []string) []string {
	if len(names) != 1 || names[0] != "auto" && names[0] != "all" {
		return names
	}
	var usable, listed []string
	for index := range m.GPUs.Listed() {
		g, ok := m.find(index)
		if !m.visible(index, g.UUID) {
			continue
		}
		listed = append(listed, cuda(index))
		if ok {
			usable = append(usable, cuda(index))
		}
	}
	switch {
	case len(listed) == 0:
		return []string{CPU}
	case names[0] == "all":
		return listed
	case len(usable) > 0:
		return usable[:1]
	}
	return listed[:1] // to be waited for: scores of a CPU would be another study's
}

// visible reports whether a GPU is one of those that the environment leaves.
func (m Machine) visible(index int, uuid string) bool {
	return m.Visible == nil || slices.ContainsFunc(m.Visible, func(v string) bool {
		return v == strconv.Itoa(index) || strings.HasPrefix(v, "GPU-") && strings.HasPrefix(uuid, v)
	})
}

func (m Machine) find(index int) (gpu.Device, bool) {
	for _, g := range m.GPUs.Devices() {
		if g.Index == index {
			return g, true
		}
	}
	return gpu.Device{}, false
}

// has says in words what there is.
func (m Machine) has() string {
	var list []string
	for index := range m.GPUs.Listed() {
		words := cuda(index) + " (lost)"
		if g, ok := m.find(index); ok {
			words = fmt.Sprintf("%s (%s)", cuda(index), g.Name)
		}
		list = append(list, words)
	}
	if list == nil {
		return "no GPU (" + m.GPUs.Reason() + ") and " + m.cores()
	}
	return strings.Join(list, ", ")
}

// cores says in words what there is of them.
func (m Machine) cores() string {
	if len(m.Cores) == 1 {
		return fmt.Sprintf("one core (%d)", m.Cores[0])
	}
	return fmt.Sprintf("%d cores (%s)", len(m.Cores), List(m.Cores))
}
