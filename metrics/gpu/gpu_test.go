package gpu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
)

// dgx is go-nvml's fake DGX with readings.
func dgx() *server.Server {
	s := dgxh200.New()
	s.LookupSymbolFunc = func(symbol string) error { return errors.New(symbol + " is not there") }
	for i, d := range s.Devices {
		d := d.(*server.Device)
		d.MemoryInfo.Used = uint64(i+1) << 30
		d.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 97}, nvml.SUCCESS }
		d.GetPowerUsageFunc = func() (uint32, nvml.Return) { return 650500, nvml.SUCCESS }
		d.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 61, nvml.SUCCESS }
		d.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) { return nil, nvml.SUCCESS }
	}
	return s
}

func TestDevices(t *testing.T) {
	g := OpenLibrary(t.Context(), dgx())
	if g.Driver() != "550.54.15" || g.Reason() != "" || len(g.Devices()) != 8 {
		t.Fatalf("driver %q, reason %q, devices %v", g.Driver(), g.Reason(), g.Devices())
	}
	if d := g.Devices()[3]; d.Index != 3 || !strings.HasPrefix(d.UUID, "GPU-") || !strings.Contains(d.Name, "H200") || d.MemoryTotal < 100<<30 {
		t.Errorf("got %+v", d)
	}
	samples := g.Sample(t.Context())
	if len(samples) != 8 {
		t.Fatalf("%d samples", len(samples))
	}
	if s := samples[2]; s.Device != 2 || *s.MemoryUsed != 3<<30 || *s.Utilization != 0.97 || *s.Power != 650.5 || *s.Temperature != 61 {
		t.Errorf("got %+v", s)
	}
	if used, ok := g.MemoryUsed(7); used != 8<<30 || !ok {
		t.Errorf("memory %d, %v", used, ok)
	}
	if _, ok := g.MemoryUsed(8); ok {
		t.Error("a device that is not there has memory")
	}
}

// The newer memory call, where the driver has it, leaves out what is reserved.
func TestReservedMemory(t *testing.T) {
	s := dgx()
	s.LookupSymbolFunc = func(string) error { return nil }
	for _, d := range s.Devices {
		d.(*server.Device).GetMemoryInfo_v2Func = func() (nvml.Memory_v2, nvml.Return) {
			return nvml.Memory_v2{Total: 9000, Reserved: 700, Used: 42}, nvml.SUCCESS
		}
	}
	g := OpenLibrary(t.Context(), s)
	if used, ok := g.MemoryUsed(0); used != 42 || !ok || g.Devices()[0].MemoryTotal != 9000 {
		t.Errorf("got %d of %d", used, g.Devices()[0].MemoryTotal)
	}
}

// TestInstances tells the parts of a GPU under MIG apart, with their processes.
func TestInstances(t *testing.T) {
	s := dgx()
	s.LookupSymbolFunc = func(symbol string) error {
		if symbol == "nvmlDeviceGetMigMode" {
			return nil
		}
		return errors.New(symbol + " is not there")
	}
	whole := s.Devices[2].(*server.Device)
	whole.MigMode = nvml.DEVICE_MIG_ENABLE
	whole.GetMaxMigDeviceCountFunc = func() (int, nvml.Return) { return 7, nvml.SUCCESS }
	whole.GetMigDeviceHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i != 0 && i != 3 {
			return nil, nvml.ERROR_NOT_FOUND
		}
		return &mock.Device{
			GetUUIDFunc: func() (string, nvml.Return) { return fmt.Sprintf("MIG-%d", i), nvml.SUCCESS },
			GetNameFunc: func() (string, nvml.Return) { return "NVIDIA H200 MIG 1g.18gb", nvml.SUCCESS },
			GetMemoryInfoFunc: func() (nvml.Memory, nvml.Return) {
				return nvml.Memory{Total: 18 << 30, Used: uint64(i+1) << 20}, nvml.SUCCESS
			},
			GetUtilizationRatesFunc: func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{}, nvml.ERROR_NOT_SUPPORTED },
			GetPowerUsageFunc:       func() (uint32, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED },
			GetTemperatureFunc:      func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 0, nvml.ERROR_INVALID_ARGUMENT },
			GetComputeRunningProcessesFunc: func() ([]nvml.ProcessInfo, nvml.Return) {
				return []nvml.ProcessInfo{{Pid: uint32(100 + i), UsedGpuMemory: uint64(i+1) << 20}}, nvml.SUCCESS
			},
		}, nvml.SUCCESS
	}
	// What the whole device says of its instances' processes must not be added to it.
	whole.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) {
		return []nvml.ProcessInfo{{Pid: 103, UsedGpuMemory: 4 << 20}}, nvml.SUCCESS
	}
	g := OpenLibrary(t.Context(), s)
	want := []Instance{{"2:0", "MIG-0", "NVIDIA H200 MIG 1g.18gb", 18 << 30}, {"2:3", "MIG-3", "NVIDIA H200 MIG 1g.18gb", 18 << 30}}
	if got := g.Devices(); len(got) != 8 || !slices.Equal(got[2].Instances, want) || got[1].Instances != nil {
		t.Errorf("got %+v", got)
	}
	var labels []string
	for _, r := range g.Sample(t.Context()) {
		labels = append(labels, r.Label)
		if r.Label == "2:3" && (*r.MemoryUsed != 4<<20 || r.Power != nil || r.Utilization != nil || r.Device != 2) {
			t.Errorf("got %+v", r)
		}
	}
	if got := strings.Join(labels, " "); got != "0 1 2 2:0 2:3 3 4 5 6 7" {
		t.Errorf("samples of %s", got)
	}
	if sum, ok := g.ProcessMemory(map[int]bool{100: true, 103: true}); sum != 5<<20 || !ok {
		t.Errorf("processes hold %d, %v", sum, ok)
	}
}

func TestAbsentReadings(t *testing.T) {
	s := dgx()
	d := s.Devices[0].(*server.Device)
	d.GetPowerUsageFunc = func() (uint32, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED }
	d.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, nvml.ERROR_GPU_IS_LOST }
	g := OpenLibrary(t.Context(), s)
	if got := g.Sample(t.Context())[0]; got.Power != nil || got.MemoryUsed != nil || got.Temperature == nil {
		t.Errorf("got %+v", got)
	}
	if _, ok := g.MemoryUsed(0); ok {
		t.Error("a lost device has memory")
	}
}

// TestLost loses a GPU in the ways that there are, and has it back.
func TestLost(t *testing.T) {
	s := dgx()
	s.LookupSymbolFunc = func(symbol string) error {
		if symbol == "nvmlDeviceGetFieldValues" {
			return nil
		}
		return errors.New(symbol + " is not there")
	}
	var action uint32
	unknown := false
	dev := s.Devices[5].(*server.Device)
	dev.GetFieldValuesFunc = func(v []nvml.FieldValue) nvml.Return {
		if unknown || len(v) != 1 || v[0].FieldId != nvml.FI_DEV_GET_GPU_RECOVERY_ACTION {
			v[0].NvmlReturn = uint32(nvml.ERROR_NOT_SUPPORTED)
		}
		binary.LittleEndian.PutUint32(v[0].Value[:], action)
		return nvml.SUCCESS
	}
	whole, uuid := dev.GetMemoryInfoFunc, dev.UUID
	listed := s.DeviceGetHandleByIndexFunc
	missing := -1
	s.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i == missing {
			return nil, nvml.ERROR_GPU_IS_LOST
		}
		return listed(i)
	}
	g := OpenLibrary(t.Context(), s)
	for _, c := range []struct {
		change func()
		why    string
	}{
		{func() {}, ""},
		{func() { missing = 5 }, "the GPU has fallen off the bus"},
		{func() { missing = -1 }, ""},
		{func() {
			dev.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, nvml.ERROR_GPU_IS_LOST }
		}, "the GPU has fallen off the bus"},
		{func() { dev.GetMemoryInfoFunc = whole; action = 1 }, "the driver wants it reset: stop what uses it and run `nvidia-smi --gpu-reset`"},
		{func() { action = 2 }, "the driver wants this machine rebooted"},
		{func() { unknown = true }, ""},
		{func() { dev.UUID = "GPU-of-another-card" }, "another GPU is in its place: restart the daemon"},
		{func() { dev.UUID = uuid }, ""},
	} {
		c.change()
		if why := g.Lost(5); why != c.why {
			t.Errorf("%q, want %q", why, c.why)
		}
	}
	if why := g.Lost(8); why != "the driver lists 8 GPUs" {
		t.Errorf("a ninth: %q", why)
	}

	missing = 0 // before the daemon starts
	g = OpenLibrary(t.Context(), s)
	if len(g.Devices()) != 7 || g.Listed() != 8 || g.Lost(0) != "the GPU has fallen off the bus" {
		t.Errorf("%d devices of %d, %q", len(g.Devices()), g.Listed(), g.Lost(0))
	}
	missing = -1
	if why := g.Lost(0); why != "it was lost when the daemon started, and is back: restart the daemon to use it" {
		t.Errorf("%q", why)
	}
}

func TestWhere(t *testing.T) {
	s := dgx()
	dev := s.Devices[0].(*server.Device)
	dev.GetPciInfoFunc = func() (nvml.PciInfo, nvml.Return) {
		return nvml.PciInfo{Domain: 0x10, Bus: 0x1b, Device: 2}, nvml.SUCCESS
	}
	s.LookupSymbolFunc = func(string) error { return nil }
	for _, d := range s.Devices {
		d.(*server.Device).GetMemoryInfo_v2Func = func() (nvml.Memory_v2, nvml.Return) { return nvml.Memory_v2{Total: 9000}, nvml.SUCCESS }
	}
	dev.GetGraphicsRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) {
		return []nvml.ProcessInfo{{Pid: 7, UsedGpuMemory: 300}, {Pid: 8, UsedGpuMemory: math.MaxUint64}, {Pid: 9, UsedGpuMemory: 45}}, nvml.SUCCESS
	}
	g := OpenLibrary(t.Context(), s)
	if pci := g.Devices()[0].PCI; pci != "0010:1b:02.0" {
		t.Errorf("at %s", pci)
	}
	if drawn := g.GraphicsMemory(0); drawn != 345 {
		t.Errorf("%d bytes are drawn with", drawn)
	}
}

func TestProcessMemory(t *testing.T) {
	s := dgx()
	for i, infos := range [][]nvml.ProcessInfo{
		{{Pid: 10, UsedGpuMemory: 100}, {Pid: 11, UsedGpuMemory: 20}, {Pid: 12, UsedGpuMemory: 3}},
		{{Pid: 11, UsedGpuMemory: 4000}, {Pid: 13, UsedGpuMemory: math.MaxUint64}},
	} {
		s.Devices[i].(*server.Device).GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) { return infos, nvml.SUCCESS }
	}
	g := OpenLibrary(t.Context(), s)
	if sum, ok := g.ProcessMemory(map[int]bool{10: true, 11: true, 99: true}); sum != 4120 || !ok {
		t.Errorf("got %d, %v", sum, ok)
	}
	if _, ok := g.ProcessMemory(map[int]bool{99: true}); ok {
		t.Error("a hidden process has memory")
	}
	if _, ok := g.ProcessMemory(map[int]bool{10: true, 13: true}); ok {
		t.Error("a process of unknown memory was counted")
	}
}

func TestNoDevices(t *testing.T) {
	failing := func(ret nvml.Return) *server.Server {
		s := dgx()
		s.InitFunc = func() nvml.Return { return ret }
		return s
	}
	none := dgx()
	none.Devices = nil
	for _, c := range []struct {
		lib    nvml.Interface
		reason string
	}{
		{nvml.New(nvml.WithLibraryPath("libnothing-there.so.9")), "libnvidia-ml.so.1 is not installed: no NVIDIA driver on this machine"},
		{failing(nvml.ERROR_DRIVER_NOT_LOADED), "NVML did not start: the kernel driver is not loaded"},
		{failing(nvml.ERROR_LIB_RM_VERSION_MISMATCH), "NVML did not start: library and kernel driver are of different versions: reboot after an upgrade"},
		{none, "NVML answers and has no usable device"},
	} {
		g := OpenLibrary(t.Context(), c.lib)
		if g.Reason() != c.reason || len(g.Devices()) != 0 || g.Driver() != "" || len(g.Sample(t.Context())) != 0 {
			t.Errorf("reason %q, want %q", g.Reason(), c.reason)
		}
		if _, ok := g.MemoryUsed(0); ok {
			t.Error("no device has memory")
		}
		if _, ok := g.ProcessMemory(map[int]bool{1: true}); ok {
			t.Error("no device has processes")
		}
	}
}

// Fault 17: an NVML call that hangs.
func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dgx()
		release, calls := make(chan struct{}), 0
		s.Devices[1].(*server.Device).GetPowerUsageFunc = func() (uint32, nvml.Return) {
			calls++
			<-release
			return 1000, nvml.SUCCESS
		}
		g := OpenLibrary(t.Context(), s)
		start := time.Now()
		for range 50 {
			if got := g.Sample(t.Context()); len(got) != 7 || got[1].Device != 2 {
				t.Fatalf("got %d samples", len(got))
			}
			if _, ok := g.MemoryUsed(1); ok {
				t.Fatal("the device that hangs answered")
			}
			if _, ok := g.MemoryUsed(0); !ok {
				t.Fatal("its neighbour did not")
			}
		}
		if d := time.Since(start); d != callDeadline || calls != 1 {
			t.Errorf("took %v and %d calls, want one deadline and one call", d, calls)
		}
		close(release)
		synctest.Wait()
		if got := g.Sample(t.Context()); len(got) != 8 {
			t.Errorf("after the hang: %d samples", len(got))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s, release := dgx(), make(chan struct{})
		s.InitFunc = func() nvml.Return { <-release; return nvml.ERROR_UNKNOWN }
		g := OpenLibrary(t.Context(), s)
		if want := "NVML did not answer within 10s: see `nvidia-smi` and the kernel log"; g.Reason() != want {
			t.Errorf("reason %q", g.Reason())
		}
		close(release)
	})
}
