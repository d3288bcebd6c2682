// Package journaltest makes journals of studies that never ran, for tests of
// whatever reads one: any number of plausible trials, the same each time.
package journaltest

import (
	"cmp"
	"crypto/sha1"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

// Options say what a study looks like.
type Options struct {
	Trials    int    // finished ones
	Hostile   bool   // descriptions, models' replies and logs hold markup, escapes, 10 kB, right-to-left marks
	Running   bool   // one more trial is begun and has no outcome
	Tag       string // the study's; empty: jan5
	Workspace string // empty: /nowhere
	Bare      bool   // no folders under trials/: faster
	Confirm   bool   // the judge is "confirm", which has trials run again, and luck is larger: slow beyond a few thousand
}

// Start is when the first trial of every study begins.
var Start = time.Date(2026, 1, 5, 22, 0, 0, 0, time.UTC)

// Pause is the time from one trial's end to the next one's start.
const Pause = 4 * time.Second

// Fill writes a study into the state directory dir, which is made: the journal,
// and each trial's folder with its log and a model's prompt and reply. The first
// trials hold an outcome of every status. Ten thousand trials take some ten
// seconds on a disk that is quick to sync; TempDir is one.
func Fill(dir string, o Options) error {
	j, err := journal.Open(dir)
	if err != nil {
		return err
	}
	defer j.Close()
	s := newStudy(j, dir, o)
	return errors.Join(s.fill(), j.Close())
}

type study struct {
	j        *journal.Journal
	dir      string
	o        Options
	task     simulate.Task
	random   *rand.Rand
	champion search.Result // with its source
	space    search.Space  // the champion's
	commits  map[int64]string
	now      time.Time
	rule     search.Judge
	done     []search.Result // with their sources
}

func newStudy(j *journal.Journal, dir string, o Options) *study {
	name, noise := "greedy", 5e-4
	if o.Confirm {
		name, noise = search.Confirm, 2e-3
	}
	rule, err := search.LookupJudge(name)
	if err != nil {
		panic(err) // it is always there
	}
	return &study{rule: rule, j: j, dir: dir, o: o, task: simulate.NewTask(7, noise), random: rand.New(rand.NewPCG(7, 7)), commits: map[int64]string{0: hash("start")}, now: Start}
}

func hash(text string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(text))) }

func (s *study) fill() error {
	workspace := s.o.Workspace
	if workspace == "" {
		workspace = "/nowhere"
	}
	err := s.j.SetStudy(journal.Study{
		Tag: cmp.Or(s.o.Tag, "jan5"), Workspace: workspace, BaseCommit: s.commits[0], Seed: 42, StartedAt: Start, Budget: budget, PrepareHash: hash("prepare"),
	})
	if err != nil {
		return err
	}
	if s.o.Trials == 0 && !s.o.Running {
		return nil
	}
	session, err := s.j.BeginSession(Start, 1)
	if err != nil {
		return err
	}
	for id := range int64(s.o.Trials) {
		if err := s.run(id + 1); err != nil {
			return err
		}
	}
	if !s.o.Running {
		return s.j.EndSession(session, s.now)
	}
	t, err := s.propose(int64(s.o.Trials) + 1)
	if err != nil {
		return err
	}
	return s.begin(t)
}

// run takes a trial through all its stages.
func (s *study) run(id int64) error {
	t, err := s.propose(id)
	if err != nil {
		return err
	}
	o := s.outcome(&t)
	r := search.Result{Trial: t, Outcome: o}
	r.Decision = s.judge(r)
	if s.o.Confirm {
		s.done = append(s.done, r)
	}
	s.now = t.StartedAt.Add(time.Duration(o.WallSeconds * float64(time.Second)))
	s.commits[id] = s.commits[t.Proposal.Parent]
	commits := map[int64]string{}
	if !search.IsRerun(t) {
		if id > 1 {
			s.commits[id] = hash(string(t.Source))
		}
		commits[id] = s.commits[id]
	}
	for _, step := range []func() error{
		func() error { return s.begin(t) },
		func() error { return s.bundle(r) },
		func() error { return s.j.End(id, o) },
		func() error { return s.j.Decide(id, r.Decision) },
		func() error { return s.j.Commit(id, commits) },
		func() error { return s.j.Recorded(id) },
		func() error { return s.j.Done(id) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if r.Decision.Verdict == search.Keep {
		s.champion = s.original(r)
		s.space, err = search.NewSpace(t.Constants, nil)
	}
	return err
}

func (s *study) begin(t search.Trial) error {
	_, err := s.j.Begin(t, s.commits[t.Proposal.Parent], 0)
	return err
}

// judge keeps what is better than the champion; what is run again is never kept.
func (s *study) judge(r search.Result) search.Decision {
	if s.o.Confirm {
		return s.rule.Judge(s.history(), r)
	}
	if search.IsRerun(r.Trial) && r.Outcome.Status == search.Completed {
		return search.Decision{Verdict: search.Discard, Reason: fmt.Sprintf("val_bpb %.6f is another run of trial %d: another seed is no gain", r.Outcome.ValBPB, r.Trial.Proposal.Parent)}
	}
	h := search.History{}
	if s.champion.Trial.ID != 0 {
		h = search.History{Champion: s.champion.Trial, Done: []search.Result{s.champion}}
	}
	return s.rule.Judge(h, r)
}

func (s *study) history() search.History {
	return search.History{Champion: s.champion.Trial, Done: s.done}
}

// original is a candidate's first run, from whose source others are derived.
func (s *study) original(r search.Result) search.Result {
	if c := r.Trial.Candidate; c != 0 {
		return s.done[c-1]
	}
	return r
}

// TempDir makes a directory in memory where that can be, so that thousands of
// durable writes take seconds, and returns what removes it.
func TempDir() (dir string, remove func(), err error) {
	top, err := os.MkdirTemp("/dev/shm", "journaltest")
	if err != nil {
		top, err = os.MkdirTemp("", "journaltest")
	}
	return filepath.Join(top, "state"), func() { os.RemoveAll(top) }, err
}
