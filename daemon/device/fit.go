package device

import "fmt"

// GPU is what Fit asks of NVML; a gpu.GPUs is one.
type GPU interface {
	Lost(device int) (why string)
	MemoryUsed(device int) (bytes int64, ok bool)
	GraphicsMemory(device int) int64
}

// Unfit is why no trial can begin on a device now.
type Unfit struct {
	Lost  bool   // it cannot be used at all; else somebody else uses it
	Waits string // what its seat does meanwhile; "": it waits for somebody else to be done
	Why   string
}

func (u *Unfit) Error() string { return u.Why }

// Fit looks whether a trial can begin on a device that has none. Others may
// hold so many bytes of a GPU's memory, or 5 % of it if that is more; negative:
// any number. What draws a desktop is nobody's.
func Fit(d Device, g GPU, others int64) *Unfit {
	index, ok := CUDAIndex(d.Name)
	if !ok || g == nil {
		return nil
	}
	if why := g.Lost(index); why != "" {
		return &Unfit{Lost: true, Why: fmt.Sprintf("%s cannot be used: %s", d.Name, why)}
	}
	used, ok := g.MemoryUsed(index)
	if !ok || others < 0 || used <= max(others, d.Memory/20) {
		return nil
	}
	if used -= g.GraphicsMemory(index); used <= max(others, d.Memory/20) {
		return nil
	}
	return &Unfit{Why: fmt.Sprintf("%s is used by somebody else, who holds %.1f of its %.1f GiB: `nvidia-smi` names the processes", d.Name, gib(used), gib(d.Memory))}
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }
