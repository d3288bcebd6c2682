package journal

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"

	"modernc.org/sqlite"
)

// Reader reads a journal beside a running daemon or without one. It takes no
// lock and creates nothing in the state directory.
type Reader struct {
	store
	mu    sync.Mutex
	db    *sql.DB
	abs   string
	quiet bool   // opened as a file that nobody writes
	old   int    // version of a journal that an older program wrote: it is read from a copy, brought up to date; 0: it is not
	temp  string // a copy, where the directory does not let us read in place
}

// OpenReader opens the journal in dir for reading. ErrNoStudy when there is
// none; ErrCorrupt, ErrNewer.
func OpenReader(dir string) (*Reader, error) {
	r := &Reader{store: store{dir: dir, path: filepath.Join(dir, fileName)}}
	info, err := os.Stat(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%w in %s yet: start one with `autoresearchd run`, or name its directory with --state", ErrNoStudy, dir)
	case err != nil:
		return nil, fmt.Errorf("open journal: %w: run this as the daemon's user or as a member of its group", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("open journal %s: it is not a regular file: move it away", r.path)
	}
	if r.abs, err = filepath.Abs(r.path); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	r.view = r.try
	op := "open journal " + r.path
	version := 0
	err = r.read(op, func(db *sql.DB) error {
		version, err = checkVersion(db, &r.store)
		return err
	})
	if err == nil && version == 0 {
		err = fmt.Errorf("%w in %s yet: start one with `autoresearchd run`, or name its directory with --state", ErrNoStudy, dir)
	}
	if err == nil && version < len(migrations) {
		r.old = version
		err = r.drop()
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close releases the journal.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drop()
}

func (r *Reader) drop() error {
	var err error
	if r.db != nil {
		err = r.db.Close()
		r.db = nil
	}
	if r.temp != "" {
		err = errors.Join(err, os.RemoveAll(r.temp))
		r.temp = ""
	}
	return err
}

// Mark differs from an earlier one where the journal was written to since.
func (r *Reader) Mark() string {
	mark := ""
	for _, path := range []string{r.abs, r.abs + "-wal"} {
		if info, err := os.Stat(path); err == nil {
			mark += fmt.Sprintf("%d %d;", info.Size(), info.ModTime().UnixNano())
		}
	}
	return mark
}

// walSize returns the size of the write-ahead log, -1 when there is none.
// Without one the file itself is complete and nobody is writing.
func (r *Reader) walSize() int64 {
	info, err := os.Stat(r.abs + "-wal")
	if err != nil {
		return -1
	}
	return info.Size()
}

// try runs a query against the journal as it stands. A plain file is read as
// immutable, which needs no shared memory; when a daemon turns up meanwhile the
// query is run again beside it.
func (r *Reader) try(fn func(*sql.DB) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if err := r.connect(); err != nil {
			return err
		}
		before, _ := os.Stat(r.abs)
		err := fn(r.db)
		if r.quiet {
			// Pages of an immutable file are never looked at twice: forget them.
			if err := r.drop(); err != nil {
				return err
			}
			after, _ := os.Stat(r.abs)
			if r.walSize() < 0 && (before == nil || after == nil || before.ModTime().Equal(after.ModTime())) {
				return err
			}
			continue
		}
		if r.temp == "" && !r.quiet && unreadable(err) {
			if err := r.copy(); err != nil {
				return err
			}
			continue
		}
		if r.temp != "" && r.old == 0 { // the copy is as old as this query
			err = errors.Join(err, r.drop())
		}
		return err
	}
}

func unreadable(err error) bool {
	var failed *sqlite.Error
	if !errors.As(err, &failed) {
		return false
	}
	code := failed.Code() & 0xff
	return code == sqlite3.SQLITE_CANTOPEN || code == sqlite3.SQLITE_READONLY
}

func (r *Reader) connect() error {
	if r.db != nil {
		return nil
	}
	if r.old > 0 {
		return r.carry()
	}
	_, err := os.Stat(r.abs + "-shm")
	switch wal := r.walSize(); {
	case wal < 0:
		r.quiet = true
		return r.open(r.abs, "immutable=1")
	case err != nil: // opening it in place would create the -shm file
		return r.copy()
	}
	r.quiet = false
	return r.open(r.abs, "mode=ro")
}

func (r *Reader) open(path, mode string) error {
	db, err := sql.Open("sqlite", dsn(path, fmt.Sprintf("%s&_pragma=busy_timeout(%d)&_pragma=trusted_schema(0)", mode, busyTimeout.Milliseconds())))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	r.db = db
	return nil
}

// copy reads a journal whose log cannot be used in place, such as one on a
// read-only file system, from a temporary copy.
func (r *Reader) copy() error {
	if err := r.drop(); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "autoresearchd-")
	if err != nil {
		return err
	}
	r.temp, r.quiet = temp, false
	for _, suffix := range []string{"", "-wal"} {
		if suffix != "" && r.walSize() < 0 {
			continue // the file is complete
		}
		if err := copyFile(filepath.Join(temp, fileName+suffix), r.abs+suffix); err != nil {
			return errors.Join(err, r.drop())
		}
	}
	return r.open(filepath.Join(temp, fileName), "mode=rw")
}

// carry brings a copy of an older program's journal up to date, and keeps it.
func (r *Reader) carry() error {
	if err := r.copy(); err != nil {
		return err
	}
	tx, err := r.db.Begin()
	if err != nil {
		return errors.Join(err, r.drop())
	}
	if err := migrate(tx, r.old); err != nil {
		return errors.Join(err, tx.Rollback(), r.drop())
	}
	return tx.Commit()
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
