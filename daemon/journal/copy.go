package journal

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"autoresearchd/daemon/durable"

	"modernc.org/sqlite"
)

// Snapshot writes the journal as it stands at one moment into dir, a folder that
// is there, and opens it; errors name the journal that it is of. Whoever writes
// that meanwhile is not held up. Pages are copied as they are, so a damaged
// journal gives a damaged copy.
func (r *Reader) Snapshot(ctx context.Context, dir string) (*Reader, error) {
	if err := r.copyTo(ctx, dir); err != nil {
		return nil, err
	}
	c, err := OpenReader(dir)
	if err == nil {
		c.dir, c.path = r.dir, r.path
	}
	return c, err
}

func (r *Reader) copyTo(ctx context.Context, dir string) error {
	path := filepath.Join(dir, fileName)
	err := r.try(func(db *sql.DB) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Raw(func(driver any) error {
			b, err := driver.(interface {
				NewBackup(string) (*sqlite.Backup, error)
			}).NewBackup(dsn(path, "mode=rwc&_pragma=synchronous(OFF)"))
			if err != nil {
				return err
			}
			_, err = b.Step(-1)
			return errors.Join(err, b.Finish())
		})
	})
	if err == nil {
		err = durable.File(path)
	}
	// What went wrong may be the place that is written to.
	return (&store{dir: dir, path: path}).classify("copy journal "+r.path, err)
}

// Check reads all of the journal, and returns what SQLite finds damaged in it,
// a line each, none where it is sound.
func (r *Reader) Check() ([]string, error) {
	var faults []string
	err := r.read("check journal "+r.path, func(db *sql.DB) error {
		faults = nil
		lines, err := texts(db, "PRAGMA integrity_check(20)")
		if err != nil {
			return err
		}
		for _, line := range lines {
			if line != "ok" {
				faults = append(faults, line)
			}
		}
		lines, err = texts(db, `SELECT "table" || ' ' || coalesce(rowid, '') || ' names a row of ' || parent || ' that is not there' FROM pragma_foreign_key_check LIMIT 20`)
		faults = append(faults, lines...)
		return err
	})
	return faults, err
}

func texts(db *sql.DB, query string) ([]string, error) {
	rows, err := db.Query(query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}

// Version is the version of the journals that this program writes.
func Version() int { return len(migrations) }

// Moment tells two states of a journal apart: it changes with every step of a
// trial.
func (s *store) Moment() (string, error) {
	var moment string
	err := s.read("read how far the trials have come", func(db *sql.DB) error {
		return db.QueryRow("SELECT coalesce(group_concat(id || stage, ' '), '') FROM (SELECT id, stage FROM trial ORDER BY id)").Scan(&moment)
	})
	return moment, err
}
