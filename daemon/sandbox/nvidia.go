package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// NVIDIA returns the device nodes that a program on one GPU needs, which is
// index in the order of the PCI bus. uuid names that GPU to CUDA, which counts
// only what it may open; "": the program gets the nodes of all, since which one
// is its own cannot be told, or it is the only one.
func NVIDIA(index int) (nodes []string, uuid string) { return nvidia("/", index) }

func nvidia(root string, index int) (nodes []string, uuid string) {
	glob := func(pattern string) []string {
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		return found
	}
	all := slices.DeleteFunc(glob("dev/nvidia[0-9]*"), func(path string) bool {
		_, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "nvidia"))
		return err != nil
	})
	nodes = slices.Concat(glob("dev/nvidiactl"), glob("dev/nvidia-uvm*"), glob("dev/nvidia-modeset"), glob("dev/nvidia-caps"), glob("dev/nvidia-caps-imex-channels"))
	// The driver names its GPUs after their place on the bus. Those of other
	// containers are among them.
	type gpu struct{ node, uuid string }
	var gpus []gpu
	for _, dir := range glob("proc/driver/nvidia/gpus/*") { // sorted
		data, err := os.ReadFile(filepath.Join(dir, "information"))
		if err != nil {
			continue
		}
		var g gpu
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(line, ":")
			switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
			case "Device Minor":
				g.node = filepath.Join(root, "dev/nvidia"+value)
			case "GPU UUID":
				g.uuid = value
			}
		}
		if slices.Contains(all, g.node) {
			gpus = append(gpus, g)
		}
	}
	if len(all) == 1 || len(gpus) != len(all) || index < 0 || index >= len(gpus) || gpus[index].uuid == "" {
		return append(nodes, all...), ""
	}
	return append(nodes, gpus[index].node), gpus[index].uuid
}
