package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/device"
	"autoresearchd/daemon/httpd"
	"autoresearchd/metrics/gpu"
	"autoresearchd/search"
)

// findDevices finds what [trial] devices names on this machine.
func findDevices(c *config.Config, gpus gpu.GPUs) (device.Machine, []device.Device, error) {
	m, err := device.Here(gpus)
	if err != nil {
		return m, nil, err
	}
	if !c.LocalDevices() {
		return m, nil, nil
	}
	ds, err := m.Resolve(c.Trial.Devices)
	if err == nil && len(ds) > 1 && c.Trial.Isolation == "inprocess" {
		err = errors.New(`trial.isolation: "inprocess" has one interpreter, and so room for one device, and trial.devices = "all" are ` + names(ds) + `: use "process", or name one device`)
	}
	return m, ds, err
}

// coresOf are those of devices that do not have all.
func coresOf(m device.Machine, ds []device.Device) map[string][]int {
	cores := map[string][]int{}
	for _, d := range ds {
		if len(d.Cores) < len(m.Cores) {
			cores[d.Name] = d.Cores
		}
	}
	return cores
}

// coresOnceMore are the cores for a trial that ran on a device before: as much
// as it had, where the configuration still has that device.
func coresOnceMore(c *config.Config, gpus gpu.GPUs, name string) (map[string][]int, error) {
	list := c.Trial.Devices
	if _, onGPU := device.CUDAIndex(name); onGPU && !slices.Contains(list, name) {
		list = config.Devices{name}
	}
	if !c.LocalDevices() {
		list = config.Devices{"auto"}
	}
	m, err := device.Here(gpus)
	if err != nil {
		return nil, err
	}
	ds, err := m.Resolve(list)
	if err != nil {
		return nil, err
	}
	return coresOf(m, ds), nil
}

// fitness is what the seats ask before each trial.
func fitness(c *config.Config, ds []device.Device, gpus gpu.GPUs) func(string) *device.Unfit {
	others := int64(c.Trial.Foreign)
	if c.Trial.Isolation == "inprocess" {
		others = -1 // what the daemon holds itself looks like somebody else's
	}
	return func(name string) *device.Unfit {
		for _, d := range ds {
			if d.Name == name {
				return device.Fit(d, gpus, others)
			}
		}
		return nil
	}
}

func names(ds []device.Device) string {
	list := make([]string, len(ds))
	for i, d := range ds {
		list[i] = d.Name
	}
	return strings.Join(list, ", ")
}

// examineSeats says where trials would run, and what somebody else does there.
// It returns how many seats there are, at least one.
func examineSeats(c *config.Config, gpus gpu.GPUs, ok func(string, string, ...any), note func(string, string, string), fault func(string, error, string)) int {
	m, ds, err := findDevices(c, gpus)
	if err != nil {
		fault("seats", err, `name what is there in trial.devices, or write "auto"`)
		return 1
	}
	if len(ds) == 0 {
		return 1 // an inspection runs here
	}
	_, err = httpd.Dial(c.Study.State)
	running := err == nil // then what is used is used by its trials
	others := int64(c.Trial.Foreign)
	if running {
		others = -1
	}
	for _, d := range ds {
		cores := fmt.Sprintf("core %s", device.List(d.Cores))
		if len(d.Cores) > 1 {
			cores = fmt.Sprintf("%d cores (%s)", len(d.Cores), device.List(d.Cores))
		}
		switch u := device.Fit(d, gpus, others); {
		case u == nil:
			ok("seats", "%s%s runs one trial at a time, on %s", d.Name, parenthesised(d.Kind), cores)
		case u.Lost:
			fault("seats", u, "its seat waits until the driver reports it again; leave it out of trial.devices to continue without it")
		default:
			note("seats", u.Why, "its seat waits until they are done; trial.foreign sets how much is tolerated")
		}
	}
	on := c.Judge.ConfirmOn
	if on != "" && len(c.Seats) == 0 && !slices.ContainsFunc(ds, func(d device.Device) bool { return search.Alike(d.Kind, on) }) {
		fault("seats", fmt.Errorf("judge.confirm_on %q is the class of none", on), "name one that stands in brackets beside a seat, or remove it")
	}
	if left := len(m.Cores) - len(ds)*len(ds[0].Cores); device.IsCPU(ds[0].Name) && left > 0 {
		note("seats", fmt.Sprintf("%d of %d cores are left over: every seat gets the same number, so that scores compare", left, len(m.Cores)), "")
	}
	if busy := load(); !running && device.IsCPU(ds[0].Name) && busy > 0.25*float64(len(m.Cores)) {
		note("seats", fmt.Sprintf("other programs keep %.1f of %d cores busy", busy, len(m.Cores)), "what runs beside a trial changes how far it gets in its budget")
	}
	return len(ds)
}

// load is how many programs ran or wanted to, over the last minute.
func load() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), " ")
	n, _ := strconv.ParseFloat(first, 64)
	return n
}
