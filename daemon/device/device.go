// Package device finds on a machine what [trial] devices names: a device is
// where one trial at a time runs. It shares the cores out between them.
package device

import (
	"strconv"
	"strings"
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
