package record

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDiff has hunks where diff has them, behind one with two changes too.
func TestDiff(t *testing.T) {
	var text strings.Builder
	for i := range 60 {
		fmt.Fprintf(&text, "line %d\n", i+1)
	}
	before := text.String()
	for name, swap := range map[string][]string{
		"two changes in a hunk": {"line 5\n", "five\n", "line 8\n", "eight\n", "line 30\n", "thirty\n", "line 50\n", ""},
		"longer and shorter":    {"line 5\n", "five\nand\nmore\n", "line 20\n", "", "line 21\n", "", "line 40\n", "forty\n"},
		"both ends":             {"line 1\n", "", "line 60\n", "line 60"},
		"nothing":               {},
	} {
		after := strings.NewReplacer(swap...).Replace(before)
		dir := t.TempDir()
		for file, content := range map[string]string{"a": before, "b": after} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("git", "diff", "--no-index", "--no-color", "-U3", "a", "b")
		cmd.Dir = dir
		theirs, _ := cmd.Output() // status 1: they differ
		places := func(text string) string {
			return strings.Join(regexp.MustCompile(`(?m)^@@ .*? @@`).FindAllString(text, -1), "\n")
		}
		got := Diff("parent", "trial 7", []byte(before), []byte(after))
		if places(got) != places(string(theirs)) {
			t.Errorf("%s: hunks at\n%s\nwant\n%s", name, places(got), places(string(theirs)))
		}
		if (got == "") != (len(swap) == 0) || got != "" && !strings.HasPrefix(got, "--- train.py (parent)\n+++ train.py (trial 7)\n@@ ") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
