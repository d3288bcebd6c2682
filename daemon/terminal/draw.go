package terminal

import (
	"math"
	"slices"
	"strings"
)

// Bar is a bar of so many cells, of which a share (0 to 1) is full.
func (t *Terminal) Bar(share float64, width int) string {
	full, empty := "#", "."
	if t.Unicode {
		full, empty = "█", "░"
	}
	n := 0
	if share > 0 {
		n = int(math.Min(1, share)*float64(width) + 0.5)
	}
	return strings.Repeat(full, n) + strings.Repeat(empty, width-n)
}

// Spark draws numbers as a line of heights, each in one cell; NaN is a blank.
// What lies far above the rest is drawn at the top.
func (t *Terminal) Spark(values []float64) string {
	steps := []rune("_.-=*#")
	if t.Unicode {
		steps = []rune("▁▂▃▄▅▆▇█")
	}
	var known []float64
	for _, v := range values {
		if finite(v) {
			known = append(known, v)
		}
	}
	if len(known) == 0 {
		return strings.Repeat(" ", len(values))
	}
	slices.Sort(known)
	low, high := known[0], known[len(known)-1]
	// Tukey's upper fence, so that one terrible value flattens nothing.
	q1, q3 := known[len(known)/4], known[len(known)*3/4]
	if fence := q3 + 1.5*(q3-q1); fence > low {
		high = math.Min(high, fence)
	}
	var b strings.Builder
	for _, v := range values {
		switch {
		case !finite(v):
			b.WriteByte(' ')
		case high <= low:
			b.WriteRune(steps[0])
		default:
			share := math.Min(1, (v-low)/(high-low))
			b.WriteRune(steps[int(share*float64(len(steps)-1)+0.5)])
		}
	}
	return b.String()
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Column is a column of a table.
type Column struct {
	Title string
	Right bool // aligned to the right
	Drop  int  // which is left out first where the window is narrow, from 1; 0: never
}

// Table aligns rows in columns, a title above. The last column takes what is
// left of the width (0: no limit), at least least cells; while there are not so
// many, columns are left out.
func Table(columns []Column, rows []Line, width, least int) []Line {
	last := len(columns) - 1
	wide := make([]int, len(columns))
	for i, c := range columns {
		wide[i] = Width(c.Title)
		for _, r := range rows {
			wide[i] = max(wide[i], Width(r[i].Text))
		}
	}
	gone := make([]bool, len(columns))
	used := func() int {
		n := 0
		for i := range last {
			if !gone[i] {
				n += wide[i] + 2
			}
		}
		return n
	}
	for step := 1; width > 0 && used()+min(least, wide[last]) > width && step <= last; step++ {
		for i, c := range columns {
			gone[i] = gone[i] || c.Drop == step
		}
	}
	layout := func(r Line) Line {
		var out Line
		for i, s := range r {
			if gone[i] {
				continue
			}
			pad := strings.Repeat(" ", wide[i]-Width(s.Text))
			switch {
			case columns[i].Right:
				s.Text = pad + s.Text
			case i != last:
				s.Text += pad
			}
			out = append(out, s)
			if i != last {
				out = append(out, Span{"  ", Plain})
			}
		}
		if width > 0 {
			out = out.Cut(width)
		}
		return out
	}
	var head Line
	for _, c := range columns {
		head = append(head, Span{c.Title, Dim})
	}
	out := []Line{layout(head)}
	for _, r := range rows {
		out = append(out, layout(r))
	}
	return out
}
