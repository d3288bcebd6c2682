package journal

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"autoresearchd/daemon/durable"
	"autoresearchd/daemon/faultpoint"
	"autoresearchd/search"

	"golang.org/x/sys/unix"
)

// step is a durable write with the places at which a crash is tried: before it,
// inside its transaction, and after it is on the disk.
type step struct{ before, inside, after *faultpoint.Point }

func newStep(name string) step {
	return step{
		faultpoint.New("journal." + name + ".before"),
		faultpoint.New("journal." + name + ".inside"),
		faultpoint.New("journal." + name + ".after"),
	}
}

var (
	migrateStep = newStep("migrate")
	studyStep   = newStep("study")
	beginStep   = newStep("begin")
	seatStep    = newStep("seat")
	endStep     = newStep("end")
	decideStep  = newStep("decide")
	commitStep  = newStep("commit")
	recordStep  = newStep("record")
	doneStep    = newStep("done")
	flagStep    = newStep("flag")
	suggestStep = newStep("suggest")
	sessionStep = newStep("session")
)

// migration brings a journal from one version to the next.
type migration struct {
	sql  string
	fill func(*sql.Tx) error // what SQL cannot say; nil: nothing
}

// migrate brings a journal of a version up to date.
func migrate(tx *sql.Tx, version int) error {
	for _, m := range migrations[version:] {
		if _, err := tx.Exec(m.sql); err != nil {
			return err
		}
		if m.fill != nil {
			if err := m.fill(tx); err != nil {
				return err
			}
		}
	}
	_, err := tx.Exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", application, len(migrations)))
	return err
}

// migrations[i] brings a journal from user_version i to i+1.
var migrations = []migration{{sql: `
CREATE TABLE study (
	one          INTEGER PRIMARY KEY CHECK (one = 1),
	tag          TEXT NOT NULL,
	workspace    TEXT NOT NULL,
	base_commit  TEXT NOT NULL,
	seed         TEXT NOT NULL,
	started_at   TEXT NOT NULL,
	budget       TEXT NOT NULL,
	prepare_hash TEXT NOT NULL
) STRICT;
CREATE TABLE trial (
	id            INTEGER PRIMARY KEY CHECK (id > 0),
	stage         TEXT NOT NULL,
	trial         TEXT NOT NULL,
	parent_commit TEXT NOT NULL,
	commit_hash   TEXT,
	seat          TEXT,
	status        TEXT,
	val_bpb       REAL,
	outcome       TEXT,
	verdict       TEXT CHECK (verdict IN ('keep', 'discard', 'crash')),
	reason        TEXT,
	decided_no    INTEGER UNIQUE
) STRICT;
CREATE TABLE blob (
	trial INTEGER NOT NULL REFERENCES trial (id),
	kind  TEXT NOT NULL CHECK (kind IN ('source', 'proposal', 'curve')),
	data  BLOB NOT NULL,
	PRIMARY KEY (trial, kind)
) STRICT;
CREATE TABLE flag (name TEXT PRIMARY KEY) STRICT;
CREATE TABLE suggestion (
	id    INTEGER PRIMARY KEY AUTOINCREMENT,
	kind  TEXT NOT NULL,
	text  TEXT NOT NULL,
	vals  TEXT NOT NULL,
	at    TEXT NOT NULL,
	trial INTEGER UNIQUE REFERENCES trial (id)
) STRICT;
CREATE INDEX trial_keep ON trial (decided_no) WHERE verdict = 'keep';
`}, {sql: `
ALTER TABLE trial ADD COLUMN candidate INTEGER REFERENCES trial (id);
CREATE INDEX trial_candidate ON trial (candidate);
`, fill: nameCandidates}, {sql: `
ALTER TABLE suggestion ADD COLUMN parent INTEGER REFERENCES trial (id);
ALTER TABLE suggestion ADD COLUMN source BLOB;
`}, {sql: `
ALTER TABLE trial ADD COLUMN answer TEXT;
`}, {sql: sessionTable, fill: inferSessions}}

// nameCandidates finds out whose run each trial of a journal is that knew of
// trials only. A candidate's commit is the one that was kept, and it starts from
// its first run's parent.
func nameCandidates(tx *sql.Tx) error {
	records, err := list(tx, selected+"commit_hash, 0, NULL FROM trial ")
	if err != nil {
		return err
	}
	var h search.History
	for _, r := range records {
		if r.Decided > 0 {
			h.Done = append(h.Done, r.Result)
		} else {
			h.Pending = append(h.Pending, r.Trial)
		}
	}
	of := search.CandidatesOf(h)
	starts := map[int64]string{}
	for _, r := range records {
		starts[r.Trial.ID] = r.ParentCommit
	}
	for _, r := range records {
		candidate := of[r.Trial.ID]
		if _, err := tx.Exec("UPDATE trial SET candidate = ?, parent_commit = ? WHERE id = ?", candidate, starts[candidate], r.Trial.ID); err != nil {
			return err
		}
		if r.Decision.Verdict == search.Keep && r.Commit != "" {
			if _, err := tx.Exec("UPDATE trial SET commit_hash = ? WHERE id = ?", r.Commit, candidate); err != nil {
				return err
			}
		}
	}
	return nil
}

// Journal is the writer. There is one for a state directory; its methods may be
// called from several goroutines.
type Journal struct {
	store
	// Observe, if set before the first write, is told how many seconds each
	// durable write took.
	Observe func(seconds float64)

	db   *sql.DB
	lock *os.File

	mu     sync.Mutex
	failed error // an ErrIO: nothing is written any more
}

// Open opens the journal in the state directory dir for writing, creating both
// where they are missing, and takes the directory's lock. Errors: ErrLocked,
// ErrCorrupt, ErrReadOnly, ErrDiskFull, ErrNewer, ErrIO.
func Open(dir string) (*Journal, error) {
	j := &Journal{store: store{dir: dir, path: filepath.Join(dir, fileName)}}
	op := "open state directory " + dir
	if err := makeDir(dir); err != nil {
		return nil, j.classify(op, err)
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, j.classify(op, err)
	}
	j.lock = lock
	if err := j.openDB(); err != nil {
		j.Close()
		return nil, j.classify("open journal "+j.path, err)
	}
	return j, nil
}

func makeDir(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return errors.New("it is not a directory: set [study] state or --state to a directory")
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return errors.New("a part of the path is a file: set [study] state or --state to a directory")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return durable.Dir(filepath.Dir(filepath.Clean(dir)))
}

// inherited is how long a dead holder's lock is waited for.
const inherited = 2 * time.Second

// holder returns the process that wrote itself into the lock, 0 if none did.
func holder(lock *os.File) int {
	text := make([]byte, 32)
	n, _ := lock.ReadAt(text, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	return pid
}

func lives(pid int) bool { return pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	// A holder that was killed as it started a program leaves the lock to that
	// child for the moment until it executes.
	for end := time.Now().Add(inherited); errors.Is(err, unix.EWOULDBLOCK) && !lives(holder(f)) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		pid := "unknown"
		if n := holder(f); n > 0 {
			pid = strconv.Itoa(n)
		}
		f.Close()
		return nil, fmt.Errorf("open state directory %s: %w (pid %s): stop it first (`autoresearchd stop`, or `systemctl stop autoresearchd`), or give this one its own [study] state", dir, ErrLocked, pid)
	}
	if err == nil {
		pid := strconv.Itoa(os.Getpid()) + "\n"
		if _, err = f.WriteAt([]byte(pid), 0); err == nil {
			err = f.Truncate(int64(len(pid)))
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (j *Journal) openDB() error {
	abs, err := filepath.Abs(j.path)
	if err != nil {
		return err
	}
	info, err := os.Lstat(abs)
	if err == nil && !info.Mode().IsRegular() {
		return errors.New("it is not a regular file: move it away")
	}
	j.db, err = sql.Open("sqlite", dsn(abs, fmt.Sprintf("mode=rwc&_txlock=immediate&_pragma=busy_timeout(%d)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=trusted_schema(0)", busyTimeout.Milliseconds())))
	if err != nil {
		return err
	}
	j.db.SetMaxOpenConns(1)
	j.view = func(fn func(*sql.DB) error) error { return fn(j.db) }
	var check string
	if err := j.db.QueryRow("PRAGMA quick_check(1)").Scan(&check); err != nil {
		return err
	}
	if check != "ok" {
		return j.corrupt("open journal "+j.path, check)
	}
	version, err := checkVersion(j.db, &j.store)
	if err != nil {
		return err
	}
	if version < len(migrations) {
		err := j.write(migrateStep, "migrate the journal", func(tx *sql.Tx) error { return migrate(tx, version) })
		if err != nil {
			return err
		}
	}
	return durable.Dir(j.dir)
}

func checkVersion(db *sql.DB, s *store) (int, error) {
	var version, id, tables int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return 0, err
	}
	if err := db.QueryRow("PRAGMA application_id").Scan(&id); err != nil {
		return 0, err
	}
	if err := db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return 0, err
	}
	if id != application && tables > 0 {
		return 0, fmt.Errorf("%s is the database of another program: set [study] state or --state to another directory", s.path)
	}
	if version > len(migrations) {
		return 0, fmt.Errorf("open journal %s: %w (its version is %d, this program knows %d): install that one again, or use another state directory", s.path, ErrNewer, version, len(migrations))
	}
	return version, nil
}

// Close releases the journal and the lock. What was written is on the disk
// already.
func (j *Journal) Close() error {
	var err error
	if j.db != nil {
		err = j.classify("close journal "+j.path, j.db.Close())
	}
	return errors.Join(err, j.lock.Close())
}

// write runs fn in one transaction that is on the disk when write returns nil.
// After an ErrIO it refuses everything.
func (j *Journal) write(at step, op string, fn func(*sql.Tx) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return j.failed
	}
	at.before.Hit()
	start := time.Now()
	err := j.transact(at, fn)
	if j.Observe != nil {
		j.Observe(time.Since(start).Seconds())
	}
	if err = j.classify(op, err); err != nil {
		if errors.Is(err, ErrIO) {
			j.failed = err
		}
		return err
	}
	at.after.Hit()
	return nil
}

func (j *Journal) transact(at step, fn func(*sql.Tx) error) error {
	tx, err := j.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return err
	}
	at.inside.Hit()
	err = tx.Commit()
	if err != nil { // database/sql thinks that the transaction is over; SQLite may not
		_, _ = j.db.Exec("ROLLBACK")
	}
	return err
}

// SetStudy stores the study. Repeating it changes nothing; another study in the
// same directory is ErrConflict.
func (j *Journal) SetStudy(st Study) error {
	st.StartedAt = st.StartedAt.Round(0).UTC()
	budget, err := json.Marshal(st.Budget)
	if err != nil {
		return fmt.Errorf("store the study: %w", err)
	}
	return j.write(studyStep, "store the study", func(tx *sql.Tx) error {
		have, found, err := scanStudy(tx)
		if err != nil || found && have == st {
			return err
		}
		if found {
			return fmt.Errorf("%w: %s holds the study %q of %s: set [study] state to another directory for %q", ErrConflict, j.dir, have.Tag, have.Workspace, st.Tag)
		}
		_, err = tx.Exec(`INSERT INTO study VALUES (1, ?, ?, ?, ?, ?, ?, ?)`, st.Tag, st.Workspace, st.BaseCommit,
			strconv.FormatUint(st.Seed, 10), st.StartedAt.Format(time.RFC3339Nano), string(budget), st.PrepareHash)
		return err
	})
}

// Relocate notes that the study's workspace is another one.
func (j *Journal) Relocate(workspace string) error {
	return j.write(studyStep, "store the study's workspace", func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE study SET workspace = ?", workspace)
		return err
	})
}

// Begin makes a trial durable before it runs: all that is needed to finish or
// to repeat it. A trial without an id gets the next one; with one, the
// Begin of that trial is repeated. parentCommit is the full hash of the commit
// it starts from. suggestion is the id of the suggestion that it takes, 0 for
// none; both are written together. A trial whose Candidate is 0 is its own.
func (j *Journal) Begin(t search.Trial, parentCommit string, suggestion int64) (id int64, err error) {
	op := "begin a trial"
	if t.ID != 0 {
		op = fmt.Sprintf("begin trial %d", t.ID)
	}
	t.StartedAt = t.StartedAt.Round(0).UTC()
	err = j.write(beginStep, op, func(tx *sql.Tx) error {
		var next int64
		if err := tx.QueryRow("SELECT coalesce(max(id), 0) + 1 FROM trial").Scan(&next); err != nil {
			return err
		}
		if t.ID == 0 {
			t.ID = next
		}
		light := t
		light.Proposal.Source = nil
		text, err := json.Marshal(light)
		if err != nil {
			return err
		}
		if t.Candidate == 0 {
			t.Candidate = t.ID
		}
		if t.ID < next {
			return repeats(tx, t, string(text), parentCommit)
		}
		if t.ID != next {
			return fmt.Errorf("%w: the next trial is %d", ErrStage, next)
		}
		_, err = tx.Exec("INSERT INTO trial (id, stage, trial, parent_commit, candidate) VALUES (?, ?, ?, ?, ?)",
			t.ID, string(search.StageBegun), string(text), parentCommit, t.Candidate)
		if err != nil {
			return err
		}
		if err := putBlob(tx, t.ID, "source", t.Source); err != nil {
			return err
		}
		if t.Proposal.Source != nil {
			if err := putBlob(tx, t.ID, "proposal", t.Proposal.Source); err != nil {
				return err
			}
		}
		if suggestion == 0 {
			return nil
		}
		result, err := tx.Exec("UPDATE suggestion SET trial = ? WHERE id = ? AND trial IS NULL", t.ID, suggestion)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("take suggestion %d: %w: another trial took it, or it never was", suggestion, ErrConflict))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return t.ID, nil
}

// repeats returns nil where a trial that is there has begun with this very
// content.
func repeats(tx *sql.Tx, t search.Trial, text, parentCommit string) error {
	var have, haveParent string
	var candidate int64
	if err := tx.QueryRow("SELECT trial, parent_commit, candidate FROM trial WHERE id = ?", t.ID).Scan(&have, &haveParent, &candidate); err != nil {
		return err
	}
	source, err := blob(tx, t.ID, "source")
	if err == nil && (have != text || haveParent != parentCommit || candidate != t.Candidate || !bytes.Equal(source, t.Source)) {
		err = ErrConflict
	}
	return err
}

func putBlob(tx *sql.Tx, id int64, kind string, data []byte) error {
	packed, err := pack(data)
	if err != nil {
		return err
	}
	_, err = tx.Exec("INSERT INTO blob (trial, kind, data) VALUES (?, ?, ?)", id, kind, packed)
	return err
}

func blob(tx *sql.Tx, id int64, kind string) ([]byte, error) {
	var packed []byte
	err := tx.QueryRow("SELECT data FROM blob WHERE trial = ? AND kind = ?", id, kind).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return unpack(packed)
}

// SetSeat stores how the processes of a begun trial can be found again, as
// JSON; the last one counts. ErrStage once the trial has ended.
func (j *Journal) SetSeat(id int64, seat string) error {
	op := fmt.Sprintf("store the seat of trial %d", id)
	if !json.Valid([]byte(seat)) {
		return fmt.Errorf("%s: %.80q is not JSON", op, seat)
	}
	return j.write(seatStep, op, func(tx *sql.Tx) error {
		stage, err := stageOf(tx, id)
		if err != nil {
			return err
		}
		if stage != search.StageBegun {
			return fmt.Errorf("%w: the trial is %s", ErrStage, stage)
		}
		_, err = tx.Exec("UPDATE trial SET seat = ? WHERE id = ?", seat, id)
		return err
	})
}

func stageOf(tx *sql.Tx, id int64) (search.Stage, error) {
	var stage string
	err := tx.QueryRow("SELECT stage FROM trial WHERE id = ?", id).Scan(&stage)
	return search.Stage(stage), unknown(err)
}

// move brings a trial to a stage. When the trial is there or further, same says
// whether the step is repeated with the same content.
func (j *Journal) move(at step, op string, id int64, to search.Stage, set func(*sql.Tx) error, same func(*sql.Tx) (bool, error)) error {
	return j.write(at, fmt.Sprintf("%s trial %d", op, id), func(tx *sql.Tx) error {
		stage, err := stageOf(tx, id)
		if err != nil {
			return err
		}
		if stage.Reached(to) {
			equal, err := same(tx)
			if err == nil && !equal {
				err = ErrConflict
			}
			return err
		}
		if !stage.CanBecome(to) {
			return fmt.Errorf("%w: it is %s and cannot become %s", ErrStage, stage, to)
		}
		if _, err := tx.Exec("UPDATE trial SET stage = ? WHERE id = ?", string(to), id); err != nil {
			return err
		}
		return set(tx)
	})
}

// End stores what happened to a begun trial.
func (j *Journal) End(id int64, o search.Outcome) error {
	light := o
	light.Curve, light.ValBPB = nil, 0
	text, err := json.Marshal(light)
	if err != nil {
		return fmt.Errorf("end trial %d: %w", id, err)
	}
	if o.Status == "" {
		return fmt.Errorf("end trial %d: the outcome has no status", id)
	}
	var val sql.NullFloat64
	if !math.IsNaN(o.ValBPB) {
		val = sql.NullFloat64{Float64: o.ValBPB, Valid: true}
	}
	curve := encodeCurve(o.Curve)
	return j.move(endStep, "end", id, search.StageEnded, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE trial SET status = ?, val_bpb = ?, outcome = ? WHERE id = ?", string(o.Status), val, string(text), id)
		if err != nil || len(curve) == 0 {
			return err
		}
		return putBlob(tx, id, "curve", curve)
	}, func(tx *sql.Tx) (bool, error) {
		var have string
		var haveVal sql.NullFloat64
		if err := tx.QueryRow("SELECT outcome, val_bpb FROM trial WHERE id = ?", id).Scan(&have, &haveVal); err != nil {
			return false, err
		}
		haveCurve, err := blob(tx, id, "curve")
		return have == string(text) && haveVal == val && bytes.Equal(haveCurve, curve), err
	})
}

// Decide stores what was concluded from an ended trial.
func (j *Journal) Decide(id int64, d search.Decision) error {
	var answer sql.NullString
	if d.Answer != nil {
		text, err := json.Marshal(d.Answer)
		if err != nil {
			return fmt.Errorf("decide trial %d: %w", id, err)
		}
		answer = sql.NullString{String: string(text), Valid: true}
	}
	return j.move(decideStep, "decide", id, search.StageDecided, func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE trial SET verdict = ?, reason = ?, answer = ?,
			decided_no = (SELECT coalesce(max(decided_no), 0) + 1 FROM trial) WHERE id = ?`, string(d.Verdict), d.Reason, answer, id)
		return err
	}, func(tx *sql.Tx) (bool, error) {
		var verdict, reason string
		var have sql.NullString
		err := tx.QueryRow("SELECT verdict, reason, answer FROM trial WHERE id = ?", id).Scan(&verdict, &reason, &have)
		return verdict == string(d.Verdict) && reason == d.Reason && have == answer, err
	})
}

// Commit stores the full hashes of the commits of the candidates that a trial's
// end decided, when git has them and the refs that follow from the decision.
func (j *Journal) Commit(id int64, commits map[int64]string) error {
	return j.move(commitStep, "commit", id, search.StageCommitted, func(tx *sql.Tx) error {
		for candidate, commit := range commits {
			if _, err := tx.Exec("UPDATE trial SET commit_hash = ? WHERE id = ?", commit, candidate); err != nil {
				return err
			}
		}
		return nil
	}, func(tx *sql.Tx) (bool, error) {
		for candidate, commit := range commits {
			var have sql.NullString
			if err := tx.QueryRow("SELECT commit_hash FROM trial WHERE id = ?", candidate).Scan(&have); err != nil || have.String != commit {
				return false, err
			}
		}
		return true, nil
	})
}

func always(*sql.Tx) (bool, error) { return true, nil }
func nothing(*sql.Tx) error        { return nil }

// Recorded notes that the trial's row is in results.tsv.
func (j *Journal) Recorded(id int64) error {
	return j.move(recordStep, "record", id, search.StageRecorded, nothing, always)
}

// Done notes that nothing remains to be done for the trial.
func (j *Journal) Done(id int64) error {
	return j.move(doneStep, "finish", id, search.StageDone, nothing, always)
}

// SetFlag sets or clears a flag.
func (j *Journal) SetFlag(f Flag, on bool) error {
	return j.write(flagStep, "set flag "+string(f), func(tx *sql.Tx) error {
		query := "DELETE FROM flag WHERE name = ?"
		if on {
			query = "INSERT OR IGNORE INTO flag (name) VALUES (?)"
		}
		_, err := tx.Exec(query, string(f))
		return err
	})
}

// Suggest queues a suggestion (all but its ID and Trial) and returns its id.
func (j *Journal) Suggest(g Suggestion) (int64, error) {
	values, err := json.Marshal(g.Values)
	if err != nil {
		return 0, fmt.Errorf("store the suggestion: %w", err)
	}
	var source []byte
	if g.Source != nil {
		if source, err = pack(g.Source); err != nil {
			return 0, fmt.Errorf("store the suggestion: %w", err)
		}
	}
	var id int64
	err = j.write(suggestStep, "store the suggestion", func(tx *sql.Tx) error {
		result, err := tx.Exec("INSERT INTO suggestion (kind, text, vals, at, parent, source) VALUES (?, ?, ?, ?, nullif(?, 0), ?)",
			g.Kind, g.Text, string(values), g.At.UTC().Format(time.RFC3339Nano), g.Parent, source)
		if err != nil {
			return err
		}
		id, err = result.LastInsertId()
		return err
	})
	return id, err
}

// Drop takes back a suggestion that no trial has taken, and returns it.
func (j *Journal) Drop(id int64) (Suggestion, error) {
	op := fmt.Sprintf("drop suggestion %d", id)
	all, err := j.Suggestions()
	if err != nil {
		return Suggestion{}, err
	}
	at := slices.IndexFunc(all, func(g Suggestion) bool { return g.ID == id })
	if at < 0 {
		return Suggestion{}, fmt.Errorf("there is no suggestion %d: `autoresearchd suggest --list` shows those that wait", id)
	}
	if trial := all[at].Trial; trial != 0 {
		return Suggestion{}, fmt.Errorf("suggestion %d was taken by trial %d", id, trial)
	}
	err = j.write(suggestStep, op, func(tx *sql.Tx) error {
		result, err := tx.Exec("DELETE FROM suggestion WHERE id = ? AND trial IS NULL", id)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("%w: a trial took it", ErrConflict))
		}
		return nil
	})
	return all[at], err
}
