package study

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"autoresearchd/daemon/journal"
)

// A crash over a file that is there, and not in the commit, is explained.
func TestACrashOverAnUncommittedFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vocab.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Study{about: journal.Study{Workspace: dir, BaseCommit: strings.Repeat("a", 40)}}
	for detail, hint := range map[string]bool{
		"FileNotFoundError: [Errno 2] No such file or directory: 'vocab.json'":                               true,
		"FileNotFoundError: [Errno 2] No such file or directory: '/s/trials/7/work/vocab.json'":              true,
		"FileNotFoundError: [Errno 2] No such file or directory: 'other.json'":                               false,
		"FileNotFoundError: [Errno 2] No such file or directory: '../" + filepath.Base(dir) + "/vocab.json'": false,
		"ValueError: 'vocab.json'": false,
	} {
		got := s.Uncommitted(detail)
		if want := "\nvocab.json lies in " + dir + ", but a trial has what its commit aaaaaaa holds: commit it, or keep data where prepare.py has its CACHE_DIR"; hint != (got == want) || !hint && got != "" {
			t.Errorf("%s: %q", detail, got)
		}
	}
}
