package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
	"autoresearchd/search/evolution"
	"autoresearchd/search/random"
)

const tag = "nov23"

const trainPy = `from prepare import STEP_BUDGET, evaluate_bpb

DEPTH = 8  # layers
TOTAL_BATCH_SIZE = 2**19
MATRIX_LR = 0.04
ADAM_BETAS = (0.8, 0.95)

print(evaluate_bpb(DEPTH))
`

// scratch is a folder that lives as long as the test, in memory where that is
// possible: what these tests prove does not rest on how long fsync takes.
func scratch(t *testing.T) string {
	t.Helper()
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "supervisor-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	dir, err = filepath.EvalSymlinks(dir)
	must(t, err)
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func gitIn(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TEMPLATE_DIR=",
		"GIT_AUTHOR_NAME=u", "GIT_AUTHOR_EMAIL=u@u", "GIT_COMMITTER_NAME=u", "GIT_COMMITTER_EMAIL=u@u",
		"GIT_AUTHOR_DATE=@946684800 +0000", "GIT_COMMITTER_DATE=@946684800 +0000")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("git %v: %w\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := gitIn(dir, args...)
	must(t, err)
	return out
}

var template = sync.OnceValues(func() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "supervisor-workspace-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if _, err := gitIn(dir, "init", "-q", "-b", "master"); err != nil {
		return nil, err
	}
	for name, content := range map[string]string{"train.py": trainPy, "prepare.py": "STEP_BUDGET = 0\n", "program.md": "# go\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	if _, err := gitIn(dir, "add", "."); err != nil {
		return nil, err
	}
	if _, err := gitIn(dir, "commit", "-q", "-m", "start"); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[rel] = nil
		if e.Type().IsRegular() {
			files[rel], err = os.ReadFile(path)
		}
		return err
	})
	return files, err
})

// newWorkspace makes a git work tree with one commit, the same in every test.
func newWorkspace(t testing.TB, dir string) string {
	t.Helper()
	files, err := template()
	must(t, err)
	work := filepath.Join(dir, "workspace")
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names) // folders before what is in them
	for _, name := range names {
		if path := filepath.Join(work, name); files[name] == nil {
			must(t, os.MkdirAll(path, 0o755))
		} else {
			must(t, os.WriteFile(path, files[name], 0o644))
		}
	}
	return work
}

// inspect reads the constants of a train.py such as trainPy.
func inspect(source []byte) trainer.Inspection {
	i := trainer.Inspection{Imports: []string{"STEP_BUDGET", "evaluate_bpb"}, Evaluates: bytes.Contains(source, []byte("evaluate_bpb("))}
	offset := 0
	for n, line := range strings.SplitAfter(string(source), "\n") {
		if strings.Contains(line, "))(") {
			i.Error = fmt.Sprintf("line %d: unmatched ')'", n+1)
			return i
		}
		if m := assignment.FindStringSubmatchIndex(line); m != nil {
			c := search.Constant{Name: line[m[2]:m[3]], Text: line[m[4]:m[5]], Line: n + 1, Start: offset + m[4], End: offset + m[5]}
			if m[6] >= 0 {
				c.Comment = line[m[6]:m[7]]
			}
			if v, ok := literal(c.Text); ok {
				c.Value = v
				i.Constants = append(i.Constants, c)
			}
		}
		offset += len(line)
	}
	return i
}

var assignment = regexp.MustCompile(`^([A-Z][A-Z0-9_]*) = (.*?)(?:  # (.*))?\n$`)

// literal reads a whole number, 2**n, a float or a tuple of these.
func literal(text string) (search.Value, bool) {
	if exponent, ok := strings.CutPrefix(text, "2**"); ok {
		n, err := strconv.Atoi(exponent)
		return search.IntValue(1 << n), err == nil
	}
	if inner, ok := strings.CutPrefix(text, "("); ok {
		var items []search.Value
		for part := range strings.SplitSeq(strings.TrimSuffix(inner, ")"), ", ") {
			item, ok := literal(part)
			if !ok {
				return search.Value{}, false
			}
			items = append(items, item)
		}
		return search.TupleValue(items...), true
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return search.IntValue(n), true
	}
	f, err := strconv.ParseFloat(text, 64)
	return search.FloatValue(f), err == nil
}

// scripted is a strategy that proposes what it was handed, and otherwise the
// next step of MATRIX_LR. Each of its instances notes what it was told.
type scripted struct {
	mu    sync.Mutex
	queue []func(search.History) (search.Proposal, error)
}

func (s *scripted) push(ask func(search.History) (search.Proposal, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, ask)
}

func (s *scripted) New(search.Environment) (search.Strategy, error) {
	return &scriptedStrategy{s: s}, nil
}

type scriptedStrategy struct {
	s    *scripted
	told []int64
}

func (p *scriptedStrategy) Ask(_ context.Context, h search.History) (search.Proposal, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if len(p.s.queue) > 0 {
		ask := p.s.queue[0]
		p.s.queue = p.s.queue[1:]
		return ask(h)
	}
	return propose(h, "MATRIX_LR", search.FloatValue(float64(4+h.Begun())/100)), nil
}

func (p *scriptedStrategy) Tell(r search.Result) {
	p.told = append(p.told, r.Trial.ID)
}

func (p *scriptedStrategy) Weights(h search.History) map[string]float64 {
	return map[string]float64{"scripted": float64(len(h.Done))}
}

func propose(h search.History, name string, v search.Value) search.Proposal {
	values := map[string]search.Value{name: v}
	return search.Proposal{Strategy: "forged", Description: describe(h.Champion.Constants, values), Parent: h.Champion.ID, Values: values}
}

func registry(s *scripted) *search.Registry {
	r := search.NewRegistry()
	r.Register("scripted", s.New, struct{}{})
	r.Register(random.Name, random.New, random.Defaults())
	r.Register(evolution.Name, evolution.New, evolution.Defaults())
	return r
}

// settings reads a configuration file of a study under dir, with overrides.
func settings(dir string, overrides ...string) (*config.Config, error) {
	path := filepath.Join(dir, "autoresearch.toml")
	text := fmt.Sprintf("[study]\ntag = %q\nworkspace = \"workspace\"\nstate = \"state\"\n[search]\nstrategy = \"scripted\"\n[judge]\nrule = \"greedy\"\n", tag)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return config.Open(path, overrides, config.Known{Strategies: registry(nil).Names(), Judges: search.JudgeNames()})
}

// again is what a trial's decision must be: it follows from what came before
// and from what a check answered.
func again(judge search.Judge, h search.History, r search.Result) search.Decision {
	answer := r.Decision.Answer
	r.Decision = judge.Judge(h, r)
	if _, ask := search.ToCheck(judge, h, r); ask && answer != nil {
		return r.Decision.Answered(*answer)
	}
	return r.Decision
}

// verify proves that a study at rest is whole: every trial done and told of
// once, and journal, git, results.tsv and the trials' folders in agreement.
func verify(t *testing.T, dir string) []journal.Record {
	t.Helper()
	state, work := filepath.Join(dir, "state"), filepath.Join(dir, "workspace")
	r, err := journal.OpenReader(state)
	must(t, err)
	defer r.Close()
	about, ok, err := r.Study()
	if err != nil || !ok || about.Tag != tag || about.Workspace != work {
		t.Fatalf("study: %+v %v %v", about, ok, err)
	}
	var records []journal.Record
	must(t, r.Replay(func(rec journal.Record) error {
		records = append(records, rec)
		return nil
	}))
	rule := "greedy"
	if slices.ContainsFunc(records, func(r journal.Record) bool { return search.IsRerun(r.Trial) }) {
		rule = search.Confirm
	}
	judge, err := search.LookupJudge(rule)
	must(t, err)
	agree(t, dir, "")
	sessions, err := r.Sessions()
	must(t, err)
	want := lineage.ResultsHeader
	refs := map[string]string{}
	folders := []string{}
	h := search.History{}
	seen := map[int64]bool{}
	first := map[int64]journal.Record{} // of each candidate
	for i, rec := range records {
		id := rec.Trial.ID
		if rec.Decided != int64(i+1) || rec.Stage != search.StageDone || seen[id] || id < 1 || id > int64(len(records)) {
			t.Errorf("record %d is trial %d, decision %d, at stage %q", i+1, id, rec.Decided, rec.Stage)
		}
		seen[id] = true
		if began := rec.Trial.StartedAt; rec.Outcome.WallSeconds > 0 && !slices.ContainsFunc(sessions, func(s journal.Session) bool {
			return !began.Before(s.Begun) && (s.Ended.IsZero() || !began.After(s.Ended)) // under a fake clock a trial can take no time
		}) {
			t.Errorf("trial %d began at %v, when none was to run: %+v", id, began, sessions)
		}
		d := again(judge, h, rec.Result)
		now := strings.NewReplacer("of trial ", "of candidate ", "champion, trial ", "champion, candidate ") // an earlier version's words
		if d.Verdict != rec.Decision.Verdict || d.Reason != now.Replace(rec.Decision.Reason) {
			t.Errorf("trial %d: the decision is %+v, what came before it gives %+v", id, rec.Decision, d)
		}
		h.Done = append(h.Done, rec.Result)
		candidate := rec.Trial.Candidate
		if _, ok := first[candidate]; !ok {
			first[candidate] = rec
		}
		if rec.Decision.Verdict == search.Keep {
			h.Champion = first[candidate].Trial
			refs["refs/heads/autoresearch/"+tag] = rec.Commit
		}
		folders = append(folders, strconv.FormatInt(id, 10))
		verifyTrial(t, state, work, about, rec)
	}
	of := search.CandidatesOf(h)
	for _, rec := range records {
		if id := rec.Trial.ID; of[id] != rec.Trial.Candidate {
			t.Errorf("trial %d is a run of candidate %d, by what came before of %d", id, rec.Trial.Candidate, of[id])
		}
	}
	for _, c := range search.Decided(h.Done) {
		commit := first[c.ID].Commit
		refs[fmt.Sprintf("refs/autoresearch/%s/trial/%d", tag, c.ID)] = commit
		want += lineage.NewRow(commit, c).String()
		says := git(t, work, "log", "-1", "--format=%B", commit)
		carried := strings.Contains(says, fmt.Sprintf("\n\ntrial %d, strategy", c.ID)) // by an older program, as it began
		if commit != about.BaseCommit && !carried && !strings.Contains(says, "\n"+string(c.Standing.Decision())+": "+lineage.Escape(c.Reason)) {
			t.Errorf("candidate %d is %s, %s; its commit says\n%s", c.ID, c.Standing, c.Reason, says)
		}
	}
	have, err := os.ReadFile(filepath.Join(state, "results.tsv"))
	if err != nil || string(have) != want {
		t.Errorf("results.tsv is\n%s\nwant\n%s%v", have, want, err)
	}
	if _, err := os.Lstat(filepath.Join(state, "results.tsv.new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("results.tsv.new is left over: %v", err)
	}
	listing := git(t, work, "for-each-ref", "--format=%(refname) %(objectname)", "refs/autoresearch", "refs/heads/autoresearch")
	for line := range strings.Lines(listing) {
		name, commit, _ := strings.Cut(strings.TrimSpace(line), " ")
		if refs[name] != commit {
			t.Errorf("%s is %s, want %q", name, commit, refs[name])
		}
		delete(refs, name)
	}
	if len(refs) > 0 {
		t.Errorf("refs are missing: %v", refs)
	}
	entries, err := os.ReadDir(filepath.Join(state, "trials"))
	if len(records) > 0 {
		must(t, err)
	}
	var present []string
	for _, e := range entries {
		present = append(present, e.Name())
	}
	slices.Sort(folders)
	if !slices.Equal(present, folders) {
		t.Errorf("folders of trials: %v, want %v", present, folders)
	}
	return records
}

// agree wants the parts of a record to agree, but for one that the next start
// makes agree.
func agree(t *testing.T, dir, but string) {
	t.Helper()
	p, err := study.Verify(t.Context(), filepath.Join(dir, "state"), func(ctx context.Context, st journal.Study) (*lineage.Repo, error) {
		return lineage.Look(ctx, st.Workspace)
	})
	must(t, err)
	for _, d := range p.Disagreements {
		if d.Check != but {
			t.Errorf("%s: %s: %s", d.Check, d.Where, d.What)
		}
	}
	for _, note := range p.Notes {
		t.Error(note)
	}
}

func verifyTrial(t *testing.T, state, work string, about journal.Study, rec journal.Record) {
	t.Helper()
	id, dir := rec.Trial.ID, study.Folder(state, rec.Trial.ID)
	if source, err := os.ReadFile(filepath.Join(dir, "train.py")); err != nil || !bytes.Equal(source, rec.Trial.Source) {
		t.Errorf("trial %d: its train.py is %q, %v, want %q", id, source, err, rec.Trial.Source)
	}
	for _, name := range []string{"constants.json", "environment.json"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !json.Valid(data) {
			t.Errorf("trial %d: %s is %q, %v", id, name, data, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "work")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("trial %d: its scratch is left over: %v", id, err)
	}
	if rec.Commit == "" {
		return // it is not decided
	}
	if stored := git(t, work, "show", rec.Commit+":train.py"); stored != strings.TrimSpace(string(rec.Trial.Source)) {
		t.Errorf("trial %d: its commit holds %q", id, stored)
	}
	parents := git(t, work, "rev-list", "--parents", "-1", rec.Commit)
	if rec.Commit != rec.ParentCommit && parents != rec.Commit+" "+rec.ParentCommit {
		t.Errorf("trial %d: commit and its parents are %s, want parent %s", id, parents, rec.ParentCommit)
	}
	if rec.Trial.Proposal.Parent == 0 && rec.ParentCommit != about.BaseCommit {
		t.Errorf("trial %d starts from %s, want the study's start %s", id, rec.ParentCommit, about.BaseCommit)
	}
}
