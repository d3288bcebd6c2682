package journal

import (
	"cmp"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// Session is a time in which trials of the study were to run: not while it was
// paused, over or had no daemon.
type Session struct {
	Begun time.Time
	Ended time.Time // zero: it is under way, or its daemon died
	Seats int       // for one trial at a time each
}

const sessionTable = `
CREATE TABLE session (
	id       INTEGER PRIMARY KEY,
	begun_at TEXT NOT NULL,
	ended_at TEXT,
	seats    INTEGER NOT NULL CHECK (seats > 0)
) STRICT;
`

// BeginSession notes that trials are to run from a moment on, and returns what
// EndSession calls it.
func (j *Journal) BeginSession(at time.Time, seats int) (id int64, err error) {
	err = j.write(sessionStep, "begin a session", func(tx *sql.Tx) error {
		result, err := tx.Exec("INSERT INTO session (begun_at, seats) VALUES (?, ?)", stamp(at), seats)
		if err == nil {
			id, err = result.LastInsertId()
		}
		return err
	})
	return id, err
}

// EndSession notes that none is to run any more. The last word counts.
func (j *Journal) EndSession(id int64, at time.Time) error {
	return j.write(sessionStep, fmt.Sprintf("end session %d", id), func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE session SET ended_at = ? WHERE id = ?", stamp(at), id)
		return err
	})
}

func stamp(t time.Time) string { return t.Round(0).UTC().Format(time.RFC3339Nano) }

// Sessions returns every session in the order in which they began.
func (s *store) Sessions() ([]Session, error) {
	var all []Session
	err := s.read("list sessions", func(db *sql.DB) error {
		all = nil
		rows, err := db.Query("SELECT begun_at, coalesce(ended_at, ''), seats FROM session ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var x Session
			var begun, ended string
			if err := rows.Scan(&begun, &ended, &x.Seats); err != nil {
				return err
			}
			if x.Begun, err = time.Parse(time.RFC3339Nano, begun); err != nil {
				return err
			}
			if ended != "" {
				if x.Ended, err = time.Parse(time.RFC3339Nano, ended); err != nil {
					return err
				}
			}
			all = append(all, x)
		}
		return rows.Err()
	})
	return all, err
}

// inferSessions makes out of a journal's trials what an older program did not
// write down: trials with no gap between them that is longer than a typical one
// are a session, with a seat for each device of theirs.
func inferSessions(tx *sql.Tx) error {
	records, err := list(tx, trials)
	if err != nil {
		return err
	}
	var took []time.Duration
	records = slices.DeleteFunc(records, func(r Record) bool { return r.Outcome.WallSeconds <= 0 })
	for _, r := range records {
		took = append(took, r.wall())
	}
	if len(took) == 0 {
		return nil
	}
	slices.Sort(took)
	typical := took[len(took)/2]
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(a.Trial.StartedAt.Compare(b.Trial.StartedAt), cmp.Compare(a.Trial.ID, b.Trial.ID))
	})
	var devices map[string]bool
	var now Session
	end := func() error {
		if devices == nil {
			return nil
		}
		_, err := tx.Exec("INSERT INTO session (begun_at, ended_at, seats) VALUES (?, ?, ?)", stamp(now.Begun), stamp(now.Ended), len(devices))
		return err
	}
	for _, r := range records {
		from, to := r.Trial.StartedAt, r.Trial.StartedAt.Add(r.wall())
		if devices == nil || from.Sub(now.Ended) > typical {
			if err := end(); err != nil {
				return err
			}
			now, devices = Session{Begun: from, Ended: to}, map[string]bool{}
		}
		devices[r.Trial.Device] = true
		if to.After(now.Ended) {
			now.Ended = to
		}
	}
	return end()
}

func (r *Record) wall() time.Duration {
	return time.Duration(r.Outcome.WallSeconds * float64(time.Second))
}
