package writable

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFilesKeepsLocks asks about a file that this process holds locked, as
// SQLite holds the journal: the lock must outlive the question.
func TestFilesKeepsLocks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	held, asking := open(), open()
	if err := unix.FcntlFlock(held.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	if err := Files(dir); err != nil {
		t.Fatal(err)
	}
	// A lock of an open file conflicts with one of its own process too.
	found := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(asking.Fd(), unix.F_OFD_GETLK, &found); err != nil {
		t.Fatal(err)
	}
	if found.Type == unix.F_UNLCK {
		t.Error("the lock is gone")
	}
}

func TestFilesOfAnother(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "results.tsv")
	if err := os.WriteFile(path, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	// The superuser may write whatever a mount does not forbid.
	if err := Files(dir); (err == nil) != (os.Geteuid() == 0) {
		t.Errorf("a file without the right to write: %v", err)
	}
}
