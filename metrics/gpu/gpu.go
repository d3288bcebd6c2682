// Package gpu looks at NVIDIA devices through NVML. A machine without NVML is
// a machine without devices, and a call that hangs costs its own answer only.
package gpu

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"autoresearchd/metrics/internal/gate"
)

// Deadlines of calls into the driver.
const (
	openDeadline = 10 * time.Second       // nvmlInit wakes sleeping devices
	callDeadline = 500 * time.Millisecond // a scrape must answer within a second
)

// Device is one GPU; it does not change while the process runs.
type Device struct {
	Index       int // NVML's: PCI bus order, not CUDA_VISIBLE_DEVICES
	UUID        string
	Name        string
	PCI         string // where it is, as /sys/bus/pci/devices has it: "0000:1b:00.0"
	MemoryTotal int64  // bytes
	Instances   []Instance
}

// Instance is a part of a GPU under MIG.
type Instance struct {
	Label       string // GPU and instance, as NVIDIA_VISIBLE_DEVICES has them: "0:1"
	UUID        string // MIG-…
	Name        string // with the profile: "NVIDIA H100 MIG 1g.10gb"
	MemoryTotal int64  // bytes
}

// Sample is one reading of a device; nil is what NVML does not say.
type Sample struct {
	Device      int      // index of the GPU
	Label       string   // the GPU, "0", or an instance of it, "0:1"
	MemoryUsed  *float64 // bytes
	MemoryTotal *float64 // bytes
	Utilization *float64 // 0 to 1: the share of time in which a kernel ran
	Power       *float64 // watts
	Temperature *float64 // degrees Celsius
}

// GPUs is what the daemon knows of its GPUs. Its methods answer within half a
// second, whatever the driver does, and may be called at the same time.
type GPUs interface {
	// Devices returns the devices found at the start, by index.
	Devices() []Device
	// Listed returns how many GPUs the driver counted at the start, with those
	// that were lost already and are no Devices.
	Listed() int
	// Lost says why a GPU cannot be used now: it fell off the bus, is no longer
	// listed, or has to be reset. It is empty where the GPU is fit, and where
	// the driver does not answer in time.
	Lost(device int) (why string)
	// Driver returns the driver's version, and Reason says why there are no
	// devices; one of the two is empty.
	Driver() string
	Reason() string
	// Sample reads every device, and after it the MIG instances that it has;
	// those that do not answer in time are left out.
	Sample(ctx context.Context) []Sample
	// MemoryUsed returns the bytes in use on a device by all processes.
	MemoryUsed(device int) (bytes int64, ok bool)
	// GraphicsMemory returns the bytes that processes which draw hold on a
	// device: a desktop, its browser. 0 where NVML does not tell.
	GraphicsMemory(device int) int64
	// ProcessMemory sums the GPU memory of those compute processes that are
	// among pids, over all devices. It is not ok where NVML does not answer,
	// does not tell memory by process, or knows none of the pids (a process
	// in a pid namespace is listed under another number).
	ProcessMemory(pids map[int]bool) (bytes int64, ok bool)
}

type device struct {
	Device
	handle nvml.Device
	parts  []nvml.Device // MIG instances, as Device.Instances
	gate   gate.Gate
}

type driver struct {
	lib     nvml.Interface
	version string
	reason  string
	v2      bool // the driver has nvmlDeviceGetMemoryInfo_v2
	fields  bool // and nvmlDeviceGetFieldValues
	drawing bool // and nvmlDeviceGetGraphicsRunningProcesses
	listed  int
	devices []*device
	gate    gate.Gate // of calls about GPUs that are no devices
}

// Open looks for devices through libnvidia-ml.so.1. It always returns GPUs;
// where there are none, Reason says why.
func Open(ctx context.Context) GPUs { return OpenLibrary(ctx, nvml.New()) }

// OpenLibrary is Open with a library of the caller's: go-nvml's mocks, or one
// that lies elsewhere.
func OpenLibrary(ctx context.Context, lib nvml.Interface) GPUs {
	ctx, cancel := context.WithTimeout(ctx, openDeadline)
	defer cancel()
	d, ok := gate.Call(ctx, new(gate.Gate), func() *driver { return open(lib) })
	if !ok {
		return &driver{reason: "NVML did not answer within " + openDeadline.String() + ": see `nvidia-smi` and the kernel log"}
	}
	return d
}

func open(lib nvml.Interface) *driver {
	d := &driver{lib: lib}
	// Without Init no other function may be called: their symbols are not there.
	switch ret := lib.Init(); ret {
	case nvml.SUCCESS:
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		d.reason = "libnvidia-ml.so.1 is not installed: no NVIDIA driver on this machine"
		return d
	default:
		d.reason = "NVML did not start: " + message(ret)
		return d
	}
	has := func(symbol string) bool { return lib.Extensions().LookupSymbol(symbol) == nil }
	d.v2, d.fields, d.drawing = has("nvmlDeviceGetMemoryInfo_v2"), has("nvmlDeviceGetFieldValues"), has("nvmlDeviceGetGraphicsRunningProcesses")
	mig := has("nvmlDeviceGetMigMode")
	count, ret := lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		d.reason = "NVML did not count its devices: " + message(ret)
		return d
	}
	d.listed = count
	for i := range count {
		handle, ret := lib.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS {
			continue // a lost device takes no other with it
		}
		dev := &device{Device: Device{Index: i}, handle: handle}
		dev.UUID, _ = handle.GetUUID()
		dev.Name, _ = handle.GetName()
		if p, ret := handle.GetPciInfo(); ret == nvml.SUCCESS {
			dev.PCI = fmt.Sprintf("%04x:%02x:%02x.0", p.Domain, p.Bus, p.Device)
		}
		if _, total, ok := d.memory(handle); ok {
			dev.MemoryTotal = total
		}
		if mig {
			d.divide(dev)
		}
		d.devices = append(d.devices, dev)
	}
	if len(d.devices) == 0 {
		d.reason = "NVML answers and has no usable device"
		return d
	}
	d.version, _ = lib.SystemGetDriverVersion()
	return d
}

// divide finds the MIG instances of a device.
func (d *driver) divide(dev *device) {
	if mode, _, ret := dev.handle.GetMigMode(); ret != nvml.SUCCESS || mode != nvml.DEVICE_MIG_ENABLE {
		return
	}
	count, _ := dev.handle.GetMaxMigDeviceCount()
	for i := range count {
		handle, ret := dev.handle.GetMigDeviceHandleByIndex(i)
		if ret != nvml.SUCCESS {
			continue // places that no instance takes
		}
		part := Instance{Label: fmt.Sprintf("%d:%d", dev.Index, i)}
		part.UUID, _ = handle.GetUUID()
		part.Name, _ = handle.GetName()
		if _, total, ok := d.memory(handle); ok {
			part.MemoryTotal = total
		}
		dev.Instances, dev.parts = append(dev.Instances, part), append(dev.parts, handle)
	}
}

// message names an error without a call into the library, which may be absent.
func message(ret nvml.Return) string {
	switch ret {
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return "the kernel driver is not loaded"
	case nvml.ERROR_NO_PERMISSION:
		return "no permission on /dev/nvidia*"
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return "library and kernel driver are of different versions: reboot after an upgrade"
	case nvml.ERROR_GPU_IS_LOST:
		return "the GPU has fallen off the bus"
	case nvml.ERROR_GPU_NOT_FOUND, nvml.ERROR_NOT_FOUND, nvml.ERROR_INVALID_ARGUMENT:
		return "the driver does not list the GPU any more"
	}
	return ret.Error()
}

func (d *driver) Driver() string { return d.version }
func (d *driver) Reason() string { return d.reason }

func (d *driver) Devices() []Device {
	out := make([]Device, len(d.devices))
	for i, dev := range d.devices {
		out[i] = dev.Device
	}
	return out
}

// memory returns bytes in use and in all. The newer call leaves out what the
// driver reserves for itself, as nvidia-smi does.
func (d *driver) memory(handle nvml.Device) (used, total int64, ok bool) {
	if d.v2 {
		if m, ret := handle.GetMemoryInfo_v2(); ret == nvml.SUCCESS && m.Total > 0 {
			return int64(m.Used), int64(m.Total), true
		}
	}
	m, ret := handle.GetMemoryInfo()
	return int64(m.Used), int64(m.Total), ret == nvml.SUCCESS
}

func (d *driver) Sample(ctx context.Context) []Sample {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	found := make([][]Sample, len(d.devices))
	var wg sync.WaitGroup
	for i, dev := range d.devices {
		wg.Go(func() {
			found[i], _ = gate.Call(ctx, &dev.gate, func() []Sample { return d.read(dev) })
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

func (d *driver) read(dev *device) []Sample {
	out := []Sample{d.sample(dev.Index, strconv.Itoa(dev.Index), dev.handle)}
	for i, part := range dev.parts { // NVML says little more of them than their memory
		out = append(out, d.sample(dev.Index, dev.Instances[i].Label, part))
	}
	return out
}

func (d *driver) sample(index int, label string, handle nvml.Device) Sample {
	s := Sample{Device: index, Label: label}
	some := func(v float64) *float64 { return &v }
	if used, total, ok := d.memory(handle); ok {
		s.MemoryUsed, s.MemoryTotal = some(float64(used)), some(float64(total))
	}
	if u, ret := handle.GetUtilizationRates(); ret == nvml.SUCCESS {
		s.Utilization = some(float64(u.Gpu) / 100)
	}
	if mw, ret := handle.GetPowerUsage(); ret == nvml.SUCCESS {
		s.Power = some(float64(mw) / 1000)
	}
	if c, ret := handle.GetTemperature(nvml.TEMPERATURE_GPU); ret == nvml.SUCCESS {
		s.Temperature = some(float64(c))
	}
	return s
}

func (d *driver) Listed() int { return d.listed }

func (d *driver) find(index int) *device {
	for _, dev := range d.devices {
		if dev.Index == index {
			return dev
		}
	}
	return nil
}

func (d *driver) Lost(index int) string {
	if index >= d.listed {
		return fmt.Sprintf("the driver lists %d GPUs", d.listed)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callDeadline)
	defer cancel()
	dev, g := d.find(index), &d.gate
	if dev != nil {
		g = &dev.gate
	}
	why, _ := gate.Call(ctx, g, func() string {
		handle, ret := d.lib.DeviceGetHandleByIndex(index)
		if ret != nvml.SUCCESS {
			return message(ret)
		}
		if dev == nil {
			return "it was lost when the daemon started, and is back: restart the daemon to use it"
		}
		switch uuid, ret := handle.GetUUID(); {
		case ret != nvml.SUCCESS:
			return message(ret)
		case uuid != dev.UUID:
			return "another GPU is in its place: restart the daemon"
		}
		if _, ret := handle.GetMemoryInfo(); ret != nvml.SUCCESS && ret != nvml.ERROR_NOT_SUPPORTED {
			return message(ret)
		}
		if why := d.remedy(handle); why != "" {
			return why
		}
		dev.handle = handle // the old one may be of before it was lost
		return ""
	})
	return why
}

// remedy is what the driver wants done with a GPU after an Xid error, where it
// says so; empty: nothing.
func (d *driver) remedy(handle nvml.Device) string {
	if !d.fields {
		return ""
	}
	v := []nvml.FieldValue{{FieldId: nvml.FI_DEV_GET_GPU_RECOVERY_ACTION}}
	if ret := handle.GetFieldValues(v); ret != nvml.SUCCESS || nvml.Return(v[0].NvmlReturn) != nvml.SUCCESS {
		return ""
	}
	switch action := nvml.DeviceGpuRecoveryAction(binary.LittleEndian.Uint32(v[0].Value[:])); action {
	case nvml.GPU_RECOVERY_ACTION_GPU_RESET, nvml.GPU_RECOVERY_ACTION_DRAIN_AND_RESET, nvml.GPU_RECOVERY_ACTION_BUS_RESET:
		return "the driver wants it reset: stop what uses it and run `nvidia-smi --gpu-reset`"
	case nvml.GPU_RECOVERY_ACTION_NODE_REBOOT, nvml.GPU_RECOVERY_ACTION_SYSTEM_REBOOT:
		return "the driver wants this machine rebooted"
	}
	return "" // what concerns links to other GPUs hinders no trial
}

func (d *driver) GraphicsMemory(index int) int64 {
	dev := d.find(index)
	if dev == nil || !d.drawing {
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), callDeadline)
	defer cancel()
	sum, _ := gate.Call(ctx, &dev.gate, func() (sum int64) {
		infos, _ := dev.handle.GetGraphicsRunningProcesses()
		for _, p := range infos {
			if p.UsedGpuMemory <= math.MaxInt64 { // else NVML_VALUE_NOT_AVAILABLE
				sum += int64(p.UsedGpuMemory)
			}
		}
		return sum
	})
	return sum
}

func (d *driver) MemoryUsed(index int) (int64, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), callDeadline)
	defer cancel()
	dev := d.find(index)
	if dev == nil {
		return 0, false
	}
	used, ok := gate.Call(ctx, &dev.gate, func() int64 {
		if used, _, ok := d.memory(dev.handle); ok {
			return used
		}
		return -1
	})
	return max(used, 0), ok && used >= 0
}

func (d *driver) ProcessMemory(pids map[int]bool) (int64, bool) {
	type answer struct {
		infos []nvml.ProcessInfo
		ret   nvml.Return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callDeadline)
	defer cancel()
	answers := make([]answer, len(d.devices))
	var wg sync.WaitGroup
	for i, dev := range d.devices {
		answers[i].ret = nvml.ERROR_TIMEOUT
		wg.Go(func() {
			if a, ok := gate.Call(ctx, &dev.gate, func() (a answer) {
				if len(dev.parts) == 0 {
					a.infos, a.ret = dev.handle.GetComputeRunningProcesses()
					return a
				}
				// Asked as a whole, the device tells of its instances' processes
				// only to who may see all of it.
				for _, part := range dev.parts {
					infos, ret := part.GetComputeRunningProcesses()
					if a.ret = ret; ret != nvml.SUCCESS {
						break
					}
					a.infos = append(a.infos, infos...)
				}
				return a
			}); ok {
				answers[i] = a
			}
		})
	}
	wg.Wait()
	var sum int64
	found := false
	for _, a := range answers {
		if a.ret != nvml.SUCCESS {
			return 0, false
		}
		for _, p := range a.infos {
			if !pids[int(p.Pid)] {
				continue
			}
			if p.UsedGpuMemory > math.MaxInt64 { // NVML_VALUE_NOT_AVAILABLE
				return 0, false
			}
			sum += int64(p.UsedGpuMemory)
			found = true
		}
	}
	return sum, found
}
