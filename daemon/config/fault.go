package config

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Fault is one thing that is wrong with the configuration.
type Fault struct {
	File    string // as given to Load, or "--set"
	Line    int    // 1-based; 0 where the file does not have the key
	Field   string // dotted key; empty for a fault of the file as a whole
	Value   string // as TOML; empty where it does not matter
	Problem string // a phrase that follows the value: "is not a duration"
	Hint    string // what to do; may be empty
}

func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	b.WriteString(": ")
	if f.Field != "" {
		b.WriteString(f.Field + ": ")
	}
	if f.Value != "" {
		b.WriteString(f.Value + " ")
	}
	b.WriteString(f.Problem)
	if f.Hint != "" {
		b.WriteString("; " + f.Hint)
	}
	return b.String()
}

// Faults is everything that is wrong, in the order of the file.
type Faults []Fault

// Error returns one line a fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

func (fs Faults) sorted() Faults {
	out := append(Faults(nil), fs...)
	sort.SliceStable(out, func(i, j int) bool {
		if set := out[i].File == "--set"; set != (out[j].File == "--set") {
			return !set
		}
		return out[i].Line < out[j].Line
	})
	return out
}

// suggest names the nearest of the known keys to key, in words.
func suggest(key string, known []string) string {
	leaf := func(k string) string { return k[strings.LastIndexByte(k, '.')+1:] }
	table := func(k string) string { return k[:strings.LastIndexByte(k, '.')+1] }
	best, at := -1, ""
	for _, k := range known {
		d := distance(leaf(key), leaf(k))
		if table(k) != table(key) {
			d++ // a key of the same table is nearer
		}
		if best < 0 || d < best {
			best, at = d, k
		}
	}
	if best >= 0 && best <= max(1, len(leaf(key))/3)+1 && best < len(leaf(key)) {
		return "did you mean " + at + "?"
	}
	var siblings []string
	for _, k := range known {
		if table(k) == table(key) {
			siblings = append(siblings, leaf(k))
		}
	}
	if len(siblings) == 0 {
		return ""
	}
	sort.Strings(siblings)
	siblings = slices.Compact(siblings)
	if t := strings.TrimSuffix(table(key), "."); t != "" {
		return "[" + t + "] knows " + strings.Join(siblings, ", ")
	}
	return "the tables are " + strings.Join(siblings, ", ")
}

// Nearest returns the entry of known within two edits of word; empty if none is.
func Nearest(word string, known []string) string {
	best, at := 3, ""
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < best && d < len(k) {
			best, at = d, k
		}
	}
	return at
}

// distance counts the edits (insert, delete, replace, swap of neighbours)
// between two strings.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before, last []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		before, last, row = last, row, make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(y)]
}
