// Package writable tells whether this process can write where it will have to,
// and what to do where it cannot. It looks by writing, since a mount, a quota
// and a security module show in no mode bit.
package writable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrDenied = errors.New("it cannot be written") // until a person allows it
	ErrFull   = errors.New("the disk is full")     // until somebody makes room
)

// Dir makes a file in dir and removes it again.
func Dir(dir string) error {
	f, err := os.CreateTemp(dir, ".autoresearchd-probe-")
	if err != nil {
		return Explain(err, dir, dir)
	}
	_, err = f.WriteString("proves that files can be written here\n")
	return Explain(errors.Join(err, f.Close(), os.Remove(f.Name())), dir, dir)
}

// Files asks of each regular file that lies directly in dir whether it can be
// written. Other users' files are what a run by sudo leaves behind. None is
// opened: closing a file lets go of all locks that the process has on it, and
// SQLite's on the journal are such locks.
func Files(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Explain(err, dir, dir)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it went meanwhile
			return Explain(&fs.PathError{Op: "write", Path: path, Err: err}, path, dir)
		}
	}
	return nil
}

// Existing returns dir, or the nearest folder above it that is there.
func Existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// Free returns the bytes that this process may still write under path.
func Free(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, fmt.Errorf("look at the disk under %s: %w", path, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// Room returns ErrFull where less than need bytes are free under path.
func Room(path string, need int64) error {
	free, err := Free(path)
	if err != nil || free >= need {
		return err
	}
	return fmt.Errorf("write under %s: %w: %d MiB are free, and a trial may need %d MiB: make room there", path, ErrFull, free>>20, need>>20)
}

// Explain says why path cannot be written, where err shows it, and what is to be
// done to root, which holds it.
func Explain(err error, path, root string) error {
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("write %s: %w: it is read-only for this process: in a systemd unit allow it with `systemctl edit autoresearchd` and the lines [Service] and ReadWritePaths=%s, elsewhere mount it writable", path, ErrDenied, root)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("write %s: %w: %s", path, ErrDenied, denied(path, root))
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("write %s: %w: make room there (%w)", path, ErrFull, err)
	}
	return err
}

func denied(path, root string) string {
	me, owner := name(os.Geteuid()), ""
	if info, err := os.Stat(Existing(path)); err == nil {
		owner = name(int(info.Sys().(*syscall.Stat_t).Uid))
	}
	if owner == me {
		return fmt.Sprintf("its owner %s has taken the right away: run `chmod -R u+rwX %s`", me, root)
	}
	return fmt.Sprintf("it belongs to %s, and this process runs as %s: hand it over with `sudo chown -R %s %s`, or run as %s", owner, me, me, root, owner)
}

func name(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
