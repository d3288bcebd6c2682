package study

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/search"
)

// Disagreement is where two parts of a record do not agree.
type Disagreement struct {
	Check string `json:"check"` // one of Proof.Checks
	Where string `json:"where"`
	What  string `json:"what"`
	Do    string `json:"do"`
}

// Check is one thing that Verify looks at.
type Check struct {
	Name   string `json:"name"`
	Looked string `json:"looked"` // at what, in words; empty: it could not
	Faults int    `json:"faults"`
}

// Proof is what Verify found.
type Proof struct {
	Tag           string         `json:"study"`
	State         string         `json:"state"`
	Workspace     string         `json:"workspace"`
	Checks        []Check        `json:"checks"`
	Disagreements []Disagreement `json:"disagreements"`
	Notes         []string       `json:"notes"` // what is as it may be, and worth knowing
}

// attempts bounds how often Verify looks again because the study has gone on.
const attempts = 5

// Verify looks whether the journal of a state directory, git, results.tsv and
// the trials' bundles agree, and writes nothing to them. A daemon may go on
// beside it: what it looks at is the journal of one moment, and it looks again
// where the rest had gone on by then. open finds the study's repository.
func Verify(ctx context.Context, state string, open func(context.Context, journal.Study) (*lineage.Repo, error)) (Proof, error) {
	for n := 1; ; n++ {
		p, moment, err := verifyOnce(ctx, state, open)
		if err != nil || len(p.Disagreements) == 0 || n == attempts || moment == "" {
			return p, err
		}
		r, err := journal.OpenReader(state)
		if err != nil {
			return p, nil // that is among what was found
		}
		now, err := r.Moment()
		if err = errors.Join(err, r.Close()); err != nil || now == moment {
			return p, nil
		}
	}
}

func verifyOnce(ctx context.Context, state string, open func(context.Context, journal.Study) (*lineage.Repo, error)) (Proof, string, error) {
	v := &verifier{Proof: Proof{State: state, Checks: []Check{}, Disagreements: []Disagreement{}, Notes: []string{}}}
	temp, err := os.MkdirTemp("", "autoresearchd-verify-")
	if err != nil {
		return v.Proof, "", err
	}
	defer os.RemoveAll(temp)
	if v.journal, err = snapshot(ctx, state, temp); err == nil {
		defer v.journal.Close()
		err = v.read()
	}
	if err != nil && !errors.Is(err, journal.ErrCorrupt) {
		return v.Proof, "", err
	}
	if err != nil {
		v.run("journal", func() (string, error) { return "", err })
		return v.Proof, "", nil
	}
	moment, err := v.journal.Moment()
	if err != nil {
		return v.Proof, "", err
	}
	v.Tag, v.Workspace = v.study.about.Tag, v.study.about.Workspace
	v.run("journal", v.sound)
	v.run("trials", v.trials)
	v.run("candidates", v.candidates)
	if v.repo, err = open(ctx, v.study.about); err != nil {
		v.run("git", func() (string, error) { return "", err })
	} else {
		v.Workspace = v.repo.Workspace()
		v.run("start", func() (string, error) { return v.start(ctx) })
		v.run("commits", func() (string, error) { return v.commits(ctx) })
		v.run("refs", func() (string, error) { return v.refs(ctx) })
		v.run("branch", func() (string, error) { return v.branch(ctx) })
	}
	v.run("results.tsv", v.results)
	v.run("bundles", v.bundles)
	return v.Proof, moment, ctx.Err()
}

// snapshot copies the journal of a state directory into temp, and opens that.
func snapshot(ctx context.Context, state, temp string) (*journal.Reader, error) {
	r, err := journal.OpenReader(state)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Snapshot(ctx, temp)
}

// verifier is one look at a record.
type verifier struct {
	Proof
	journal *journal.Reader
	study   *Study
	repo    *lineage.Repo
	all     []journal.Record    // in the order of decisions
	last    *journal.Record     // decided, and not at its end: the next start, or the daemon, goes on with it; nil: none
	decided []*search.Candidate // by what is committed
	unsure  map[int64]bool      // candidates that last decides, as far as git is not known to have them
}

func (v *verifier) read() error {
	var err error
	if v.study, err = Read(v.journal); err != nil {
		return err
	}
	if v.all, err = v.journal.Trials(); err != nil {
		return err
	}
	v.unsure = map[int64]bool{}
	var done, committed []search.Result
	for i, r := range v.all {
		if !r.Stage.Reached(search.StageDecided) {
			continue
		}
		if !r.Stage.Reached(search.StageDone) && v.last == nil {
			v.last = &v.all[i]
		}
		if r.Stage.Reached(search.StageCommitted) {
			committed = append(committed, r.Result)
		} else {
			_, settled := search.Ended(done, r.Result)
			for _, c := range settled {
				v.unsure[c.ID] = true
			}
		}
		done = append(done, r.Result)
	}
	v.decided = search.Decided(committed)
	return nil
}

// run makes one check. What it cannot look at is a disagreement too.
func (v *verifier) run(name string, check func() (string, error)) {
	before := len(v.Disagreements)
	looked, err := check()
	if err != nil {
		v.report(name, "fix that, and verify again", "%v", err)
	}
	for i := range v.Disagreements[before:] {
		v.Disagreements[before+i].Check = name
	}
	v.Checks = append(v.Checks, Check{Name: name, Looked: looked, Faults: len(v.Disagreements) - before})
}

func (v *verifier) report(where, do, format string, args ...any) {
	v.Disagreements = append(v.Disagreements, Disagreement{Where: where, What: fmt.Sprintf(format, args...), Do: do})
}

const fromBackup = "restore a backup (`autoresearchd restore`) beside this one, and compare"

// sound is about the database itself.
func (v *verifier) sound() (string, error) {
	faults, err := v.journal.Check()
	for _, f := range faults {
		v.report("journal.db", "stop the daemon; then restore a backup (`autoresearchd restore`), or recover with `sqlite3 journal.db .recover | sqlite3 recovered.db`", "%s", f)
	}
	return fmt.Sprintf("version %d, every page", journal.Version()), err
}

// trials are about each trial, and the order of decisions.
func (v *verifier) trials() (string, error) {
	ids, decisions := int64(0), int64(0)
	var done search.History
	seen := map[int64]bool{}
	for _, r := range v.all {
		id, where := r.Trial.ID, fmt.Sprintf("trial %d", r.Trial.ID)
		seen[id] = true
		ids = max(ids, id)
		if r.Stage.Reached(search.StageDecided) != (r.Decided > 0) || r.Stage.Reached(search.StageDecided) != (r.Decision.Verdict != "") {
			v.report(where, fromBackup, "it is %s, with the decision %q, number %d", r.Stage, r.Decision.Verdict, r.Decided)
		}
		if r.Stage.Reached(search.StageEnded) != (r.Outcome.Status != "") {
			v.report(where, fromBackup, "it is %s, with the status %q", r.Stage, r.Outcome.Status)
		}
		if r.Decided == 0 {
			continue
		}
		if decisions++; r.Decided != decisions {
			v.report(where, fromBackup, "its decision is number %d, and should be number %d", r.Decided, decisions)
			decisions = r.Decided
		}
		if !r.Stage.Reached(search.StageDone) && v.last != nil && v.last.Trial.ID != id {
			v.report(where, "start the daemon; it finishes the trial", "it is %s, as is trial %d: one comes to its end before the next is decided", r.Stage, v.last.Trial.ID)
		}
		if _, scored := r.Score(); r.Decision.Verdict == search.Keep && !scored {
			v.report(where, fromBackup, "it was kept without a score: it is %s", r.Outcome.Status)
		}
		done.Done = append(done.Done, r.Result)
	}
	for id := int64(1); id <= ids; id++ {
		if !seen[id] {
			v.report(fmt.Sprintf("trial %d", id), fromBackup, "the journal does not have it, and has later ones")
		}
	}
	return fmt.Sprintf("%d, %d of them decided", len(v.all), len(done.Done)), nil
}

// candidates are about what the decisions mean for them.
func (v *verifier) candidates() (string, error) {
	first := map[int64]journal.Record{}
	for _, r := range v.all {
		if r.Trial.ID == r.Trial.Candidate {
			first[r.Trial.ID] = r
		}
	}
	for _, r := range v.all {
		own, ok := first[r.Trial.Candidate]
		if !ok || own.Trial.ID > r.Trial.ID {
			v.report(fmt.Sprintf("trial %d", r.Trial.ID), fromBackup, "it is a run of candidate %d, which is none", r.Trial.Candidate)
		} else if own.ParentCommit != r.ParentCommit {
			v.report(fmt.Sprintf("trial %d", r.Trial.ID), fromBackup, "it starts from %.7s, and its candidate %d from %.7s", r.ParentCommit, own.Trial.ID, own.ParentCommit)
		}
	}
	_, champion := search.Ends(v.study.History().Done)
	stored, ok, err := v.journal.Champion()
	if err != nil {
		return "", err
	}
	switch {
	case champion == nil && ok:
		v.report("the champion", fromBackup, "the journal says candidate %d, and its decisions kept none", stored.Trial.ID)
	case champion != nil && (!ok || stored.Trial.ID != champion.ID):
		v.report("the champion", fromBackup, "the journal says candidate %d, and its decisions candidate %d", stored.Trial.ID, champion.ID)
	}
	for _, c := range v.decided {
		if v.study.commits[c.ID] == "" {
			v.report(fmt.Sprintf("candidate %d", c.ID), fromBackup, "it was decided, and the journal names no commit of it")
		}
	}
	return fmt.Sprintf("%d, %d of them decided, each once", len(first), len(v.decided)), nil
}

// start is about where the study began.
func (v *verifier) start(ctx context.Context) (string, error) {
	about := v.study.about
	prepare, err := v.repo.ReadFile(ctx, about.BaseCommit, "prepare.py")
	if err != nil {
		return "", err
	}
	if hash := fmt.Sprintf("%x", sha256.Sum256(prepare)); hash != about.PrepareHash {
		v.report(fmt.Sprintf("prepare.py at %.7s", about.BaseCommit), "find out which repository this is: another prepare.py has other scores", "its SHA-256 is %.12s, and by the journal %.12s", hash, about.PrepareHash)
	}
	return fmt.Sprintf("commit %.7s and its prepare.py", about.BaseCommit), nil
}

// commits are about what git holds of decided candidates.
func (v *verifier) commits(ctx context.Context) (string, error) {
	var hashes []string
	var of []*search.Candidate
	for _, c := range v.decided {
		if hash := v.study.commits[c.ID]; hash != "" {
			hashes, of = append(hashes, hash), append(of, c)
		}
	}
	n := 0
	err := v.repo.Stored(ctx, hashes, func(s lineage.Stored) error {
		c := of[n]
		n++
		return v.commit(c, s)
	})
	return fmt.Sprintf("%d, with program, parent and verdict", len(hashes)), err
}

func (v *verifier) commit(c *search.Candidate, s lineage.Stored) error {
	where := fmt.Sprintf("candidate %d, commit %.7s", c.ID, s.Commit)
	do := fmt.Sprintf("fetch it from a clone or a restored backup, and look with `git -C %s fsck`", lineage.Quote(v.repo.Workspace()))
	if s.Lacks != "" {
		v.report(where, do, "git does not have its %s", s.Lacks)
		return nil
	}
	r, err := v.journal.Trial(c.ID)
	if err != nil {
		return err
	}
	if !bytes.Equal(s.Program, r.Trial.Source) {
		v.report(where, do, "its train.py is not the one that the journal has: %d bytes, and %d there", len(s.Program), len(r.Trial.Source))
	}
	if s.Commit == r.ParentCommit || c.Strategy == search.Imported {
		return nil // its words are somebody else's
	}
	if !slices.Equal(s.Parents, []string{r.ParentCommit}) {
		v.report(where, do, "its parent is %.7s, and by the journal %.7s", strings.Join(s.Parents, " "), r.ParentCommit)
	}
	carried := fmt.Sprintf("\n\ntrial %d, strategy", c.ID) // by a program that committed before it decided
	want := strings.TrimSuffix(lineage.Message(c.Description, says(c)), "\n")
	if !strings.HasPrefix(s.Message, want) && !strings.Contains(s.Message, carried) {
		v.report(where, do, "its message says %.200q, and by the journal %.200q", s.Message, want)
	}
	return nil
}

// refs are about what keeps those commits.
func (v *verifier) refs(ctx context.Context) (string, error) {
	about := v.study.about
	have, err := v.repo.Trials(ctx, about.Tag)
	if err != nil {
		return "", err
	}
	work := lineage.Quote(v.repo.Workspace())
	for _, c := range v.decided {
		hash, ref := v.study.commits[c.ID], lineage.TrialRef(about.Tag, c.ID)
		if hash == "" || have[c.ID] == hash || v.unsure[c.ID] {
			continue
		}
		is := "is missing"
		if have[c.ID] != "" {
			is = fmt.Sprintf("is at %.7s", have[c.ID])
		}
		v.report(ref, fmt.Sprintf("`git -C %s update-ref %s %s`", work, lineage.Quote(ref), hash), "it %s, and by the journal at %.7s", is, hash)
	}
	known := map[int64]bool{}
	for _, r := range v.all {
		known[r.Trial.ID] = true
	}
	for id, hash := range have {
		if !known[id] {
			ref := lineage.TrialRef(about.Tag, id)
			v.report(ref, fmt.Sprintf("name the state directory that knows it; or, if it is not wanted, `git -C %s update-ref -d %s`", work, lineage.Quote(ref)), "it is at %.7s, and the journal has no such trial", hash)
		}
	}
	return fmt.Sprintf("%d below refs/autoresearch/%s", len(have), about.Tag), nil
}

// branch is about the champion's.
func (v *verifier) branch(ctx context.Context) (string, error) {
	about, champion := v.study.about, v.study.Champion()
	tip, err := v.repo.BranchTip(ctx, about.Tag)
	if err != nil {
		return "", err
	}
	want, name := about.BaseCommit, "where the study began"
	if champion != nil {
		want, name = v.study.commits[champion.Trial.ID], fmt.Sprintf("the champion, candidate %d", champion.Trial.ID)
	}
	looked := fmt.Sprintf("autoresearch/%s at %.7s", about.Tag, tip)
	if tip == want || tip == "" && champion == nil || v.moving(ctx, tip) {
		return looked, nil
	}
	is := fmt.Sprintf("it is at %.7s", tip)
	if tip == "" {
		is = "it is missing"
	}
	ref := lineage.BranchRef(about.Tag)
	v.report(ref, fmt.Sprintf("keep what it has under another branch if that is wanted, then `git -C %s update-ref %s %s`", lineage.Quote(v.repo.Workspace()), lineage.Quote(ref), want),
		"%s, and by the journal at %.7s, %s", is, want, name)
	return looked, nil
}

// moving reports whether a tip is right while a trial that was kept is brought
// to its end: it is still that of the champion before, or what the trial's
// candidate has become.
func (v *verifier) moving(ctx context.Context, tip string) bool {
	if v.last == nil || v.last.Decision.Verdict != search.Keep || v.last.Stage.Reached(search.StageCommitted) {
		return false
	}
	before := v.study.about.BaseCommit
	for _, r := range v.all {
		if r.Stage.Reached(search.StageCommitted) && r.Decision.Verdict == search.Keep {
			before = v.study.commits[r.Trial.Candidate]
		}
	}
	next, err := v.repo.TrialCommit(ctx, v.study.about.Tag, v.last.Trial.Candidate)
	return tip == before || tip == "" && before == v.study.about.BaseCommit || err == nil && tip == next
}

// results is about results.tsv.
func (v *verifier) results() (string, error) {
	path := filepath.Join(v.State, "results.tsv")
	rows := v.study.rowsOf(v.decided)
	what, err := lineage.Differs(path, rows)
	if err != nil {
		return "", err
	}
	if what != "" && v.last != nil && v.last.Stage == search.StageCommitted { // its row may not be there yet
		var before []search.Result
		for _, r := range v.all {
			if r.Stage.Reached(search.StageRecorded) {
				before = append(before, r.Result)
			}
		}
		if differs, err := lineage.Differs(path, v.study.rows(before)); err == nil && differs == "" {
			what = ""
		}
	}
	if len(v.all) == 0 && errors.Is(stat(path), fs.ErrNotExist) {
		what = ""
	}
	if what != "" {
		v.report(path, "start the daemon, which writes it again from the journal and keeps what differs beside it", "%s", what)
	}
	return fmt.Sprintf("%d rows, a candidate each, with its numbers", len(rows)), nil
}

func stat(path string) error {
	_, err := os.Stat(path)
	return err
}

// bundles are about the trials' folders. One that is gone was removed to make
// room, for all that can be told.
func (v *verifier) bundles() (string, error) {
	looked, gone := 0, 0
	for _, r := range v.all {
		if r.Stage == search.StageBegun || r.Trial.Proposal.Strategy == search.Imported {
			continue // it may not have its folder yet, or never had one
		}
		dir := Folder(v.State, r.Trial.ID)
		if err := stat(dir); errors.Is(err, fs.ErrNotExist) {
			gone++
			continue
		}
		whole, err := v.journal.Trial(r.Trial.ID)
		if err != nil {
			return "", err
		}
		if err := v.bundle(dir, whole.Trial); err != nil {
			return "", err
		}
		looked++
	}
	if gone > 0 {
		v.Notes = append(v.Notes, fmt.Sprintf("%d of %d bundles are not there: removed, or lost; the journal has their programs and scores, and not their logs", gone, looked+gone))
	}
	return fmt.Sprintf("%d, each with the program, constants and seed of its trial", looked), nil
}

func (v *verifier) bundle(dir string, t search.Trial) error {
	const do = "the journal has the trial, and what goes by it is right: copy the file from a backup, or remove the folder"
	same := func(name string, want []byte) error {
		have, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			v.report(filepath.Join(dir, name), do, "it is missing")
		case err != nil:
			return err
		case !bytes.Equal(have, want):
			v.report(filepath.Join(dir, name), do, "it is not what the journal has: %d bytes, and %d there", len(have), len(want))
		}
		return nil
	}
	constants, err := constantsOf(t)
	if err != nil {
		return err
	}
	if err := errors.Join(same("train.py", t.Source), same("constants.json", constants)); err != nil {
		return err
	}
	var ran struct {
		BaseCommit string `json:"base_commit"`
		Seed       uint64 `json:"seed"`
	}
	path := filepath.Join(dir, "environment.json")
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &ran)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.report(path, do, "it is missing")
	case err != nil:
		v.report(path, do, "it cannot be read: %v", err)
	case ran.BaseCommit != v.study.about.BaseCommit || ran.Seed != t.Seed:
		v.report(path, do, "it names the seed %d and commit %.7s, and the journal %d and %.7s", ran.Seed, ran.BaseCommit, t.Seed, v.study.about.BaseCommit)
	}
	return nil
}
