package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrLocked   = errors.New("another autoresearchd holds it")
	ErrCorrupt  = errors.New("the database is damaged")
	ErrNoStudy  = errors.New("no study")
	ErrDiskFull = errors.New("the disk is full")        // nothing was written; the call may be repeated once there is room
	ErrIO       = errors.New("the disk reports errors") // what was written is unknown: stop, and start again
	ErrReadOnly = errors.New("it cannot be written")
	ErrNewer    = errors.New("it was written by a newer autoresearchd")
	ErrStage    = errors.New("out of order")    // a step that the trial's stage does not allow
	ErrConflict = errors.New("already differs") // a step repeated with other content
	ErrUnknown  = errors.New("not in the journal")
)

// classify turns SQLite's and the system's errors into ours, with what to do.
func (s *store) classify(op string, err error) error {
	if err == nil {
		return nil
	}
	for _, ours := range []error{ErrLocked, ErrCorrupt, ErrNoStudy, ErrDiskFull, ErrIO, ErrReadOnly, ErrNewer} {
		if errors.Is(err, ours) {
			return err
		}
	}
	code := 0
	var failed *sqlite.Error
	if errors.As(err, &failed) {
		code = failed.Code()
	}
	say := func(kind error, what string) error { return fmt.Errorf("%s: %w: %s (%v)", op, kind, what, err) }
	switch primary := code & 0xff; {
	case primary == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_IOERR_SHMSIZE, errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return say(ErrDiskFull, "free some space on the file system of "+s.dir+"; nothing recorded is lost")
	case primary == sqlite3.SQLITE_READONLY, primary == sqlite3.SQLITE_CANTOPEN, primary == sqlite3.SQLITE_PERM,
		errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return say(ErrReadOnly, "make the state directory "+s.dir+" writable for this user, or set [study] state or --state to another one")
	case primary == sqlite3.SQLITE_CORRUPT, primary == sqlite3.SQLITE_NOTADB:
		return s.corrupt(op, err.Error())
	case primary == sqlite3.SQLITE_IOERR, errors.Is(err, syscall.EIO):
		return say(ErrIO, "look at the kernel's log and the disk under "+s.dir+", then start again: the journal is read back as it then is")
	case primary == sqlite3.SQLITE_BUSY, primary == sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%s: %s is busy for more than %s: end the program that holds it open", op, s.path, busyTimeout)
	}
	return fmt.Errorf("%s: %w", op, err)
}

func (s *store) corrupt(op, what string) error {
	what = strings.Join(strings.Fields(what), " ")
	return fmt.Errorf("%s: %w (%.200s): nothing was changed, and results.tsv and git still hold the record; "+
		"restore a copy of journal.db, or recover with `sqlite3 %s .recover | sqlite3 recovered.db`, "+
		"or move journal.db, journal.db-wal and journal.db-shm away to begin anew", op, ErrCorrupt, what, s.path)
}
