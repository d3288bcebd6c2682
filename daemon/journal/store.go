package journal

import (
	"bytes"
	"cmp"
	"compress/flate"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"autoresearchd/search"
)

const (
	fileName    = "journal.db"
	busyTimeout = 5 * time.Second
	application = 0x61726473 // "ards", SQLite's application_id
)

// Study is the one study of a state directory.
type Study struct {
	Tag         string
	Workspace   string // absolute path
	BaseCommit  string // full hash: where the study started
	Seed        uint64
	StartedAt   time.Time
	Budget      search.Budget
	PrepareHash string // of prepare.py at the start
}

// Record is a trial as far as it has come. Lists leave Trial.Source,
// Trial.Proposal.Source and Outcome.Curve empty; Trial fills them in.
type Record struct {
	search.Result
	Stage        search.Stage
	Commit       string // full hash of its candidate's; empty until that is decided
	ParentCommit string // full hash of the commit that its candidate starts from
	Seat         string // JSON given to SetSeat: how to find the trial's processes
	Decided      int64  // which decision it was, from 1; 0: none yet
}

// Suggestion is a human's idea for a coming proposal.
type Suggestion struct {
	ID     int64
	Kind   string                  // the caller's word: "text", "values", "ablation"
	Text   string                  // in words
	Values map[string]search.Value // constants to set, by name
	Parent int64                   // the trial that it changes; 0: the champion of its day
	Source []byte                  // a whole train.py; nil: it has none, or a trial has taken it
	At     time.Time
	Trial  int64 // the trial that took it; 0: waiting
}

// Flag is a piece of control state that survives a restart.
type Flag string

// The flags.
const (
	Paused   Flag = "paused"   // no new trial starts
	Ended    Flag = "ended"    // the study was ended by stop
	Confirms Flag = "confirms" // its judge claims what it has confirmed
)

// store is what the writer and readers share: a way to run queries, and the
// queries.
type store struct {
	dir  string // state directory, as given
	path string // of journal.db
	view func(func(*sql.DB) error) error
}

func dsn(path, query string) string {
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String()
}

// read runs a query, naming op in its error.
func (s *store) read(op string, fn func(*sql.DB) error) error {
	return s.classify(op, s.view(fn))
}

// Study returns the study; false when the journal has none yet.
func (s *store) Study() (Study, bool, error) {
	var st Study
	found := false
	err := s.read("read the study", func(db *sql.DB) error {
		var err error
		st, found, err = scanStudy(db)
		return err
	})
	return st, found, err
}

type queryer interface {
	QueryRow(query string, args ...any) *sql.Row
}

func scanStudy(db queryer) (Study, bool, error) {
	var st Study
	var seed, started, budget string
	err := db.QueryRow(`SELECT tag, workspace, base_commit, seed, started_at, budget, prepare_hash FROM study`).
		Scan(&st.Tag, &st.Workspace, &st.BaseCommit, &seed, &started, &budget, &st.PrepareHash)
	if errors.Is(err, sql.ErrNoRows) {
		return Study{}, false, nil
	}
	if err != nil {
		return Study{}, false, err
	}
	st.Seed, err = strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return Study{}, false, err
	}
	if st.StartedAt, err = time.Parse(time.RFC3339Nano, started); err != nil {
		return Study{}, false, err
	}
	return st, true, json.Unmarshal([]byte(budget), &st.Budget)
}

const (
	selected = `SELECT trial, stage, parent_commit, seat, outcome, val_bpb, verdict, reason, coalesce(decided_no, 0), `
	trials   = selected + `(SELECT c.commit_hash FROM trial c WHERE c.id = trial.candidate), candidate, answer FROM trial `
)

// inOrder compares by the one order of what was done: that of the decisions,
// in which strategies were told. What is not decided comes last, as it was begun.
func inOrder(a, b Record) int {
	switch {
	case a.Decided == b.Decided:
		return cmp.Compare(a.Trial.ID, b.Trial.ID)
	case a.Decided == 0:
		return 1
	case b.Decided == 0:
		return -1
	}
	return cmp.Compare(a.Decided, b.Decided)
}

// Trials returns every trial in the order of decisions, without sources and
// curves.
func (s *store) Trials() ([]Record, error) {
	return s.list("list trials", trials)
}

// Unfinished returns the trials that are not done, in the order of decisions,
// without sources and curves.
func (s *store) Unfinished() ([]Record, error) {
	return s.list("list unfinished trials", trials+"WHERE stage <> ?", string(search.StageDone))
}

// Some returns the trials of these ids, without sources and curves, in the order
// of decisions; an id that the journal does not have is left out.
func (s *store) Some(ids []int64) ([]Record, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	return s.list("read trials", trials+"WHERE id IN (SELECT value FROM json_each(?))", string(list))
}

func (s *store) list(op, query string, args ...any) ([]Record, error) {
	var records []Record
	err := s.read(op, func(db *sql.DB) error {
		var err error
		records, err = list(db, query, args...)
		return err
	})
	return records, err
}

func list(db interface {
	Query(query string, args ...any) (*sql.Rows, error)
}, query string, args ...any) ([]Record, error) {
	rows, err := db.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var records []Record
	for rows.Next() {
		rec, err := scanRecord(rows)
		if err != nil {
			return nil, err
		}
		records = append(records, rec)
	}
	slices.SortFunc(records, inOrder)
	return records, rows.Err()
}

func scanRecord(row interface{ Scan(...any) error }) (Record, error) {
	var rec Record
	var trial, stage string
	var candidate int64
	var commit, seat, outcome, verdict, reason, answer sql.NullString
	var val sql.NullFloat64
	if err := row.Scan(&trial, &stage, &rec.ParentCommit, &seat, &outcome, &val, &verdict, &reason, &rec.Decided, &commit, &candidate, &answer); err != nil {
		return Record{}, err
	}
	if err := json.Unmarshal([]byte(trial), &rec.Trial); err != nil {
		return Record{}, err
	}
	rec.Trial.Candidate = candidate
	if outcome.Valid {
		if err := json.Unmarshal([]byte(outcome.String), &rec.Outcome); err != nil {
			return Record{}, err
		}
		rec.Outcome.ValBPB = math.NaN() // SQLite keeps NaN as NULL
		if val.Valid {
			rec.Outcome.ValBPB = val.Float64
		}
	}
	rec.Stage = search.Stage(stage)
	rec.Commit, rec.Seat = commit.String, seat.String
	rec.Decision = search.Decision{Verdict: search.Verdict(verdict.String), Reason: reason.String}
	if answer.Valid {
		return rec, json.Unmarshal([]byte(answer.String), &rec.Decision.Answer)
	}
	return rec, nil
}

// Trial returns one trial with its sources and curve. An id that the journal
// does not have is ErrUnknown.
func (s *store) Trial(id int64) (Record, error) {
	var rec Record
	err := s.read(fmt.Sprintf("read trial %d", id), func(db *sql.DB) error {
		var err error
		if rec, err = scanRecord(db.QueryRow(trials+"WHERE id = ?", id)); err != nil {
			return unknown(err)
		}
		return fill(db, &rec)
	})
	return rec, err
}

func unknown(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrUnknown
	}
	return err
}

func fill(db *sql.DB, rec *Record) error {
	rows, err := db.Query("SELECT kind, data FROM blob WHERE trial = ?", rec.Trial.ID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var kind string
		var packed []byte
		if err := rows.Scan(&kind, &packed); err != nil {
			return err
		}
		data, err := unpack(packed)
		if err != nil {
			return err
		}
		switch kind {
		case "source":
			rec.Trial.Source = data
		case "proposal":
			rec.Trial.Proposal.Source = data
		case "curve":
			if rec.Outcome.Curve, err = decodeCurve(data); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// Replay calls each with every trial in the order of decisions, sources and
// curves filled in, holding one in memory at a time. each may use the journal.
func (s *store) Replay(each func(Record) error) error {
	var all []Record
	err := s.read("replay trials", func(db *sql.DB) error {
		all = nil
		rows, err := db.Query("SELECT id, coalesce(decided_no, 0) FROM trial")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r Record
			if err := rows.Scan(&r.Trial.ID, &r.Decided); err != nil {
				return err
			}
			all = append(all, r)
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, inOrder)
	for _, r := range all {
		rec, err := s.Trial(r.Trial.ID)
		if err != nil {
			return err
		}
		if err := each(rec); err != nil {
			return err
		}
	}
	return nil
}

// Source returns a trial's full train.py; ErrUnknown when there is no such trial.
func (s *store) Source(id int64) ([]byte, error) {
	var source []byte
	err := s.read(fmt.Sprintf("read the source of trial %d", id), func(db *sql.DB) error {
		var packed []byte
		err := db.QueryRow("SELECT data FROM blob WHERE trial = ? AND kind = 'source'", id).Scan(&packed)
		if err != nil {
			return unknown(err)
		}
		source, err = unpack(packed)
		return err
	})
	return source, err
}

// Champion returns the first run of the candidate that was kept last, with its
// source and curve; false when there is none.
func (s *store) Champion() (Record, bool, error) {
	var rec Record
	found := false
	err := s.read("read the champion", func(db *sql.DB) error {
		var err error
		rec, err = scanRecord(db.QueryRow(trials+"WHERE id = (SELECT candidate FROM trial WHERE verdict = ? ORDER BY decided_no DESC LIMIT 1)", string(search.Keep)))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		return fill(db, &rec)
	})
	return rec, found, err
}

// NextID returns the id that the next trial gets, from 1.
func (s *store) NextID() (int64, error) {
	var id int64
	err := s.read("read the next trial's id", func(db *sql.DB) error {
		return db.QueryRow("SELECT coalesce(max(id), 0) + 1 FROM trial").Scan(&id)
	})
	return id, err
}

// Flag reports whether a flag is set.
func (s *store) Flag(f Flag) (bool, error) {
	set := false
	err := s.read("read flag "+string(f), func(db *sql.DB) error {
		return db.QueryRow("SELECT EXISTS (SELECT 1 FROM flag WHERE name = ?)", string(f)).Scan(&set)
	})
	return set, err
}

// Suggestions returns every suggestion in the order in which they came.
func (s *store) Suggestions() ([]Suggestion, error) {
	var all []Suggestion
	err := s.read("list suggestions", func(db *sql.DB) error {
		all = nil
		rows, err := db.Query("SELECT id, kind, text, vals, at, coalesce(trial, 0), coalesce(parent, 0), iif(trial IS NULL, source, NULL) FROM suggestion ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var g Suggestion
			var values, at string
			var source []byte
			if err := rows.Scan(&g.ID, &g.Kind, &g.Text, &values, &at, &g.Trial, &g.Parent, &source); err != nil {
				return err
			}
			if source != nil {
				if g.Source, err = unpack(source); err != nil {
					return err
				}
			}
			if err := json.Unmarshal([]byte(values), &g.Values); err != nil {
				return err
			}
			if g.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
				return err
			}
			all = append(all, g)
		}
		return rows.Err()
	})
	return all, err
}

// NextSuggestion returns the oldest suggestion that no trial has taken; false
// when none waits.
func (s *store) NextSuggestion() (Suggestion, bool, error) {
	all, err := s.Suggestions()
	for _, g := range all {
		if g.Trial == 0 {
			return g, true, err
		}
	}
	return Suggestion{}, false, err
}

// packers are kept, since a new one costs more than what it packs.
var packers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is one that there is
	}
	return w
}}

func pack(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w := packers.Get().(*flate.Writer)
	defer packers.Put(w)
	w.Reset(&b)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// unpacked is more bytes than any source or curve has: a journal may come from
// a backup of somebody else's.
const unpacked = 64 << 20

func unpack(packed []byte) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), unpacked+1))
	if err == nil && len(data) > unpacked {
		err = fmt.Errorf("unpack %d bytes: more than %d come of them", len(packed), unpacked)
	}
	return data, err
}

// encodeCurve writes points as little-endian words: JSON has no NaN, and a
// diverging loss is one.
func encodeCurve(curve []search.Point) []byte {
	data := make([]byte, 0, 32*len(curve))
	for _, p := range curve {
		for _, word := range [4]uint64{uint64(p.Step), math.Float64bits(p.Seconds), uint64(p.Tokens), math.Float64bits(p.Loss)} {
			data = binary.LittleEndian.AppendUint64(data, word)
		}
	}
	return data
}

func decodeCurve(data []byte) ([]search.Point, error) {
	if len(data)%32 != 0 {
		return nil, fmt.Errorf("decode curve: %d bytes are not whole points", len(data))
	}
	var curve []search.Point
	for ; len(data) > 0; data = data[32:] {
		word := func(i int) uint64 { return binary.LittleEndian.Uint64(data[8*i:]) }
		curve = append(curve, search.Point{
			Step:    int(word(0)),
			Seconds: math.Float64frombits(word(1)),
			Tokens:  int64(word(2)),
			Loss:    math.Float64frombits(word(3)),
		})
	}
	return curve, nil
}
