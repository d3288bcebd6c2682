package device

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// topology says where cores are. What /sys does not tell is one node, and a
// physical core for each.
type topology struct {
	node map[int]int // by core
	core map[int]int // the first of those that are one physical core
}

func (m Machine) topology() topology {
	t := topology{map[int]int{}, map[int]int{}}
	lists, _ := fs.Glob(m.Sys, "devices/system/node/node[0-9]*/cpulist")
	for _, file := range lists {
		n, err := strconv.Atoi(strings.TrimPrefix(path.Base(path.Dir(file)), "node"))
		if err != nil {
			continue
		}
		for _, c := range m.list(file) {
			t.node[c] = n
		}
	}
	for _, c := range m.Cores {
		t.core[c] = c
		if siblings := m.list(fmt.Sprintf("devices/system/cpu/cpu%d/topology/thread_siblings_list", c)); len(siblings) > 0 {
			t.core[c] = slices.Min(siblings)
		}
	}
	return t
}

// share gives each of n devices as much of the cores as any other, since scores
// in a budget of time must not depend on the device: neighbours, whole physical
// cores where there are enough, and none across two nodes of memory. What is
// left over is nobody's. It is nil where there are fewer cores than devices.
func (t topology) share(cores []int, n int) [][]int {
	if n == 1 {
		return [][]int{cores}
	}
	for _, whole := range []bool{true, false} {
		var nodes [][][]int // of units, which are not divided
		sorted := slices.Clone(cores)
		slices.SortStableFunc(sorted, func(a, b int) int {
			if t.node[a] != t.node[b] {
				return t.node[a] - t.node[b]
			}
			return t.core[a] - t.core[b]
		})
		for i, c := range sorted {
			before := -1
			if i > 0 {
				before = sorted[i-1]
			}
			if before < 0 || t.node[before] != t.node[c] {
				nodes = append(nodes, nil)
			}
			units := &nodes[len(nodes)-1]
			if last := len(*units) - 1; whole && last >= 0 && t.core[before] == t.core[c] {
				(*units)[last] = append((*units)[last], c)
			} else {
				*units = append(*units, []int{c})
			}
		}
		for size := len(cores) / n; size > 0; size-- {
			var out [][]int
			for _, units := range nodes {
				for ; len(units) >= size; units = units[size:] {
					out = append(out, slices.Sorted(slices.Values(slices.Concat(units[:size]...))))
				}
			}
			if len(out) >= n {
				return out[:n]
			}
		}
	}
	return nil
}

// near gives GPUs the cores that are near them, on whose node of memory what
// their trials allocate then lies too. GPUs that are near the same cores share
// them; where these are too few for that, each has all.
func (m Machine) near(ds []Device) {
	groups := map[string][]int{} // by their cores: places in ds
	for i := range ds {
		index, _ := CUDAIndex(ds[i].Name)
		ds[i].Cores = m.Cores
		if g, ok := m.find(index); ok && g.PCI != "" {
			local := m.list("bus/pci/devices/" + g.PCI + "/local_cpulist")
			if mine := slices.DeleteFunc(slices.Clone(m.Cores), func(c int) bool { return !slices.Contains(local, c) }); len(mine) > 0 {
				ds[i].Cores = mine
			}
		}
		key := List(ds[i].Cores)
		groups[key] = append(groups[key], i)
	}
	t := m.topology()
	for _, places := range groups {
		for n, cores := range t.share(ds[places[0]].Cores, len(places)) {
			ds[places[n]].Cores = cores
		}
	}
}

// list reads a list of cores, "0-3,8"; nil where there is none.
func (m Machine) list(file string) (out []int) {
	data, err := fs.ReadFile(m.Sys, file)
	if err != nil {
		return nil
	}
	for _, span := range strings.Split(strings.TrimSpace(string(data)), ",") {
		low, high, ranged := strings.Cut(span, "-")
		a, err := strconv.Atoi(low)
		b := a
		if err == nil && ranged {
			b, err = strconv.Atoi(high)
		}
		if err != nil || b > math.MaxUint16 {
			return nil
		}
		for c := a; c <= b; c++ {
			out = append(out, c)
		}
	}
	return out
}

// List writes cores as /sys does: "0-3,8".
func List(cores []int) string {
	var spans []string
	for i := 0; i < len(cores); {
		j := i
		for j+1 < len(cores) && cores[j+1] == cores[j]+1 {
			j++
		}
		span := strconv.Itoa(cores[i])
		if j > i {
			span += "-" + strconv.Itoa(cores[j])
		}
		spans = append(spans, span)
		i = j + 1
	}
	return strings.Join(spans, ",")
}
