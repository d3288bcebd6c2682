package record

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

var hunk = regexp.MustCompile(`^(@@ -(\d+)(?:,(\d+))?) \+\d+(,\d+)? @@`)

// Diff is the unified diff of two train.py, "" where they are the same. from and
// to name them: "parent", "trial 7".
func Diff(from, to string, before, after []byte) string {
	text := udiff.Unified("train.py ("+from+")", "train.py ("+to+")", string(before), string(after))
	// go-udiff 0.4.1 does not count the lines between two changes of a hunk, so
	// that the later hunks' places in the new text are too small.
	lines := strings.SplitAfter(text, "\n")
	moved := 0
	for i, line := range lines {
		m := hunk.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		start, _ := strconv.Atoi(m[2])
		old, fresh := counted(m[3]), counted(strings.TrimPrefix(m[4], ","))
		if old > 0 && fresh > 0 {
			lines[i] = strings.Replace(line, m[0], fmt.Sprintf("%s +%d%s @@", m[1], start+moved, m[4]), 1)
		}
		moved += fresh - old
	}
	return strings.Join(lines, "")
}

// counted reads how many lines a hunk has; one, where it does not say.
func counted(s string) int {
	if s == "" {
		return 1
	}
	n, _ := strconv.Atoi(s)
	return n
}
