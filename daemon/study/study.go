// Package study is the record and its only writer: the journal, git and
// results.tsv, and what follows from them: what is done, what is pending, and
// the champion. Whoever only wants to know opens a study to Read, and nothing
// more.
package study

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/change"
	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// Refusal is why a study cannot begin until a person mends something: to start
// the daemon again is no use.
type Refusal struct{ Err error }

func (r Refusal) Error() string { return r.Err.Error() }
func (r Refusal) Unwrap() error { return r.Err }

// Options are what a study works with.
type Options struct {
	Config  *config.Config
	Journal *journal.Journal
	Repo    *lineage.Repo
	Inspect Inspect
	Log     *slog.Logger

	Relocate bool // the study goes on in the configuration's workspace, whichever it was begun in
}

// Study is one research effort. Its methods may be called from any goroutine.
type Study struct {
	o     Options
	about journal.Study
	tsv   *lineage.Results

	uncounted int // see search.Budget, of the study's prepare.py

	beginning sync.Mutex      // one trial after another is begun
	writing   sync.Mutex      // one trial after another is decided, and brought to its end
	undone    *journal.Record // of writing: decided, and not at its end

	mu       sync.Mutex
	done     []search.Result          // in the order of decisions, without sources and curves
	pending  []search.Trial           // in the order of ids, without sources
	champion *journal.Record          // the first run of the candidate; nil: none yet
	firsts   map[int64]journal.Record // first runs of candidates, without sources and curves
	commits  map[int64]string         // of candidates that are decided
	flags    map[journal.Flag]bool
	sessions []journal.Session
	session  int64 // the last of them, which is under way; 0: it is not
}

// Open finds the study in the journal, or begins one from the workspace. What
// was begun and is not done waits for Resume.
func Open(ctx context.Context, o Options) (*Study, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := empty()
	s.o = o
	past := Known(o.Journal)
	if o.Relocate {
		past = relocated{past, o.Config.Study.Workspace}
	}
	plan, err := Foresee(ctx, o.Config, o.Repo, past, time.Now())
	if err != nil {
		return nil, err
	}
	if err := plan.Prove(ctx, o.Repo); err != nil {
		return nil, err
	}
	if err := s.relocate(plan); err != nil {
		return nil, err
	}
	s.about = plan.Study
	cache, err := o.Config.GivenCache()
	if err != nil {
		return nil, err
	}
	notes, err := Beside(ctx, o.Repo, o.Inspect, s.about.BaseCommit, cache)
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		o.Log.Warn(note)
	}
	if !plan.Begun {
		if s.about, err = s.found(ctx, plan); err != nil {
			return nil, err
		}
	}
	prepare, err := o.Repo.ReadFile(ctx, s.about.BaseCommit, "prepare.py")
	if err != nil {
		return nil, err
	}
	i, err := o.Inspect(ctx, prepare)
	if err != nil {
		return nil, err
	}
	s.uncounted = i.Uncounted
	records, err := s.read(o.Journal)
	if err != nil {
		return nil, err
	}
	var committed []search.Result
	for _, r := range records {
		if !r.Stage.Reached(search.StageCommitted) {
			continue // Resume finishes it
		}
		committed = append(committed, r.Result)
		if r.Stage.Reached(search.StageDone) {
			s.note(r)
		}
	}
	if err := s.mend(ctx, committed); err != nil {
		return nil, err
	}
	tsv, repaired, err := lineage.OpenResults(filepath.Join(o.Config.Study.State, "results.tsv"), s.rows(committed))
	if err != nil {
		return nil, Disk(err)
	}
	if repaired != "" {
		o.Log.Warn("results.tsv was not what the journal says", "repaired", repaired)
	}
	s.tsv = tsv
	return s, nil
}

func empty() *Study {
	return &Study{firsts: map[int64]journal.Record{}, commits: map[int64]string{}, flags: map[journal.Flag]bool{}}
}

// Read makes a study out of a journal. It can be looked at, and not gone on with.
func Read(r *journal.Reader) (*Study, error) {
	about, ok, err := r.Study()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w here yet: start one with `autoresearchd run`", journal.ErrNoStudy)
	}
	s := empty()
	s.about = about
	records, err := s.read(r)
	if err != nil {
		return nil, err
	}
	for _, rec := range records {
		if rec.Stage.Reached(search.StageDecided) {
			s.note(rec)
		} else {
			s.pending = append(s.pending, rec.Trial)
		}
	}
	return s, nil
}

// read takes flags, sessions and commits out of a journal, and returns its trials.
func (s *Study) read(from interface {
	Flag(journal.Flag) (bool, error)
	Sessions() ([]journal.Session, error)
	Trials() ([]journal.Record, error)
}) ([]journal.Record, error) {
	for _, f := range []journal.Flag{journal.Paused, journal.Ended, journal.Confirms} {
		on, err := from.Flag(f)
		if err != nil {
			return nil, err
		}
		s.flags[f] = on
	}
	var err error
	if s.sessions, err = from.Sessions(); err != nil {
		return nil, err
	}
	records, err := from.Trials()
	for _, r := range records {
		if r.Commit != "" {
			s.commits[r.Trial.Candidate] = r.Commit
		}
	}
	return records, err
}

// Empty reports whether no trial was ever begun.
func (s *Study) Empty() (bool, error) {
	id, err := s.o.Journal.NextID()
	return id == 1, err
}

// About is what the study was begun with.
func (s *Study) About() journal.Study { return s.about }

// Budget is what each trial may spend.
func (s *Study) Budget() search.Budget {
	b := s.about.Budget
	b.Uncounted = s.uncounted
	return b
}

// History is what is known: the champion, the finished trials and the pending
// ones, as they were at one moment, without sources and curves. They are shared
// and must not be changed.
func (s *Study) History() search.History {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := search.History{Done: s.done[:len(s.done):len(s.done)], Pending: slices.Clone(s.pending)}
	if s.champion != nil {
		h.Champion = s.champion.Trial
	}
	return h
}

// Ending is the end of a trial, and what it meant.
type Ending struct {
	journal.Record
	Of      *search.Candidate   // whose run it was
	Settled []*search.Candidate // by it, as they then stood
}

// Back says whether it made a champion of a candidate that had been one before.
func (e Ending) Back() bool {
	return e.Decision.Verdict == search.Keep && !slices.Contains(e.Settled, e.Of)
}

// Ending looks at a trial that is done.
func (s *Study) Ending(r journal.Record) Ending {
	done := s.History().Done
	for i := range slices.Backward(done) {
		if done[i].Trial.ID == r.Trial.ID {
			done = done[:i]
			break
		}
	}
	e := Ending{Record: r}
	e.Of, e.Settled = search.Ended(done, r.Result)
	return e
}

// Champion returns the record of the champion's first run, nil while there is none.
func (s *Study) Champion() *journal.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.champion
}

// note takes a finished trial into what is known.
func (s *Study) note(r journal.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Trial.Source, r.Outcome.Curve, r.Outcome.AuditBPB = nil, nil, 0
	s.done = append(s.done, r.Result)
	s.pending = slices.DeleteFunc(s.pending, func(t search.Trial) bool { return t.ID == r.Trial.ID })
	if _, ok := s.firsts[r.Trial.Candidate]; !ok {
		s.firsts[r.Trial.Candidate] = r
	}
	if r.Decision.Verdict == search.Keep {
		first := s.firsts[r.Trial.Candidate]
		first.Commit = r.Commit
		s.champion = &first
	}
}

// Flag reports whether a piece of control state is set.
func (s *Study) Flag(f journal.Flag) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flags[f]
}

// SetFlag sets or clears a piece of control state, which survives a restart.
func (s *Study) SetFlag(f journal.Flag, on bool) error {
	if s.Flag(f) == on {
		return nil
	}
	if err := s.o.Journal.SetFlag(f, on); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flags[f] = on
	return nil
}

// Work notes that trials are to run from now on, on so many seats. Nothing
// happens where they were already. One call of Work or Rest comes after another.
func (s *Study) Work(seats int) error {
	s.mu.Lock()
	under := s.session != 0
	s.mu.Unlock()
	if under {
		return nil
	}
	now := time.Now()
	id, err := s.o.Journal.BeginSession(now, seats)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.sessions = id, append(s.sessions[:len(s.sessions):len(s.sessions)], journal.Session{Begun: now, Seats: seats})
	return nil
}

// Rest notes that no trial is to run any more. Where that cannot be written, the
// session ends with what was last heard of it.
func (s *Study) Rest() error {
	now := time.Now()
	s.mu.Lock()
	id := s.session
	if id != 0 {
		s.session, s.sessions = 0, slices.Clone(s.sessions)
		s.sessions[len(s.sessions)-1].Ended = now
	}
	s.mu.Unlock()
	if id == 0 {
		return nil
	}
	return s.o.Journal.EndSession(id, now)
}

// Worked is the time in which trials were to run.
func (s *Study) Worked() record.Work {
	s.mu.Lock()
	h := search.History{Done: s.done[:len(s.done):len(s.done)], Pending: slices.Clone(s.pending)}
	sessions, now := s.sessions, time.Time{}
	if s.session != 0 {
		now = time.Now()
	}
	s.mu.Unlock()
	return record.Worked(sessions, h, now)
}

// Suggest keeps a person's suggestion until a trial takes it.
func (s *Study) Suggest(g journal.Suggestion) error {
	_, err := s.o.Journal.Suggest(g)
	return err
}

// Drop takes back a suggestion that no trial has taken.
func (s *Study) Drop(id int64) (journal.Suggestion, error) { return s.o.Journal.Drop(id) }

// Waiting returns the suggestions of these kinds that no trial has taken, the
// oldest first.
func (s *Study) Waiting(kinds ...string) ([]journal.Suggestion, error) {
	all, err := s.o.Journal.Suggestions()
	return slices.DeleteFunc(all, func(g journal.Suggestion) bool { return !slices.Contains(kinds, g.Kind) || g.Trial != 0 }), err
}

// Changes are those of the candidates that were kept, as the record has them now.
func (s *Study) Changes() (*change.Study, error) { return change.Read(s.o.Journal) }

// Source returns the train.py of a trial; 0 is the study's own start.
func (s *Study) Source(ctx context.Context, id int64) ([]byte, error) {
	if id == 0 {
		return s.o.Repo.ReadFile(ctx, s.about.BaseCommit, "train.py")
	}
	return s.o.Journal.Source(id)
}

// Curve returns the training curve of a trial.
func (s *Study) Curve(id int64) ([]search.Point, error) {
	r, err := s.o.Journal.Trial(id)
	return r.Outcome.Curve, err
}

// Parent is what a proposal starts from. A parent that is not decided has no
// commit: what starts from it stands on the commit that it starts from itself.
type Parent struct {
	Source    []byte
	Commit    string // full hash
	Constants []search.Constant
}

// Parent returns what a proposal from a trial starts from; 0 is the study's own
// start.
func (s *Study) Parent(ctx context.Context, id int64) (Parent, error) {
	source, err := s.Source(ctx, id)
	if err != nil {
		return Parent{}, fmt.Errorf("find the parent of a proposal: %w", err)
	}
	if id == 0 {
		i, err := s.o.Inspect(ctx, source)
		return Parent{source, s.about.BaseCommit, i.Constants}, err
	}
	r, err := s.o.Journal.Trial(id)
	return Parent{source, cmp.Or(r.Commit, r.ParentCommit), r.Trial.Constants}, err
}

// Examine inspects a train.py and returns why it cannot be a trial of this
// study, or "".
func (s *Study) Examine(ctx context.Context, source []byte) (i trainer.Inspection, fault string, err error) {
	return Examine(ctx, s.o.Repo, s.o.Inspect, s.about.BaseCommit, source, s.about.Budget)
}

// Disk marks an error that the disk is to blame for, in git's words too, as the
// journal's. Room is waited for. After an error of the disk itself nobody knows
// what is on it: nothing is tried again before a start has read it back.
func Disk(err error) error {
	if err == nil || errors.Is(err, journal.ErrDiskFull) || errors.Is(err, journal.ErrIO) {
		return err
	}
	words := err.Error()
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), strings.Contains(words, "No space left on device"), strings.Contains(words, "Disk quota exceeded"):
		return fmt.Errorf("%w: %w", journal.ErrDiskFull, err)
	case errors.Is(err, unix.EIO), strings.Contains(words, "Input/output error"):
		return fmt.Errorf("%w: look at the kernel's log and the disk, then start again: what was recorded is read back (%w)", journal.ErrIO, err)
	}
	return err
}
